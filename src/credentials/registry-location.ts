/**
 * Locations of registries as docker configurations and credential providers name them:
 * `registry.example.com:5000/team`, with or without `https://`, with `*` in the labels of the host.
 *
 * What counts as host, port and path, and which texts are no location at all, is what Go's URL parser
 * says, because the kubelet leaves it to that.
 *
 * Source: Go net/url (Parse), net (SplitHostPort); kubernetes pkg/credentialprovider/keyring.go
 * (ParseSchemelessURL, SplitURL).
 */
import { isIPv6 } from 'node:net';

/** Longer texts are no location; image names in use are far shorter. */
export const LOCATION_LENGTH_MAX = 4096;

/** A location, taken apart. */
export interface RegistryLocation {
  /** Without its port; an IPv6 address without its brackets where a port follows. */
  readonly host: string;
  /** The parts of the host between its dots. */
  readonly labels: readonly string[];
  /** Digits; empty where there is none. */
  readonly port: string;
  /** From the first slash, percent-decoded; empty where there is none. */
  readonly path: string;
}

const SCHEME = /^https?:\/\//;
/** What Docker Hub and others have as the root of their API; the same as no path. */
const API_ROOT = /^\/v[12]\//;
const CONTROLS = /\p{Cc}/u;
const HOST_CHARACTERS = /^[A-Za-z0-9\-._~!$&'()*+,;=:[\]<>"%\u0080-\uffff]*$/;
const USER_CHARACTERS = /^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/;
const ESCAPES = /%([0-9A-Fa-f]{2})?/g;
/** In a host only bytes of other alphabets may be escaped. */
const ASCII_ESCAPE = /%[0-7]/;
const PORT = /^\d*$/;

/**
 * The key under which a configured location is filed: host and path, without scheme, user and the
 * leading `/v1/` or `/v2/`. `undefined` where the text is no location.
 */
export function locationKey(configured: string): string | undefined {
  const parsed = parseUrl(configured.replace(SCHEME, ''));
  if (parsed === undefined) return undefined;
  const path = parsed.path.replace(API_ROOT, '/');
  return path === '/' ? parsed.authority : parsed.authority + path;
}

/** A location without scheme, taken apart; `undefined` where the text is none. */
export function parseLocation(text: string): RegistryLocation | undefined {
  const parsed = parseUrl(text);
  if (parsed === undefined) return undefined;
  const { host, port } = splitPort(parsed.authority);
  return { host, labels: host.split('.'), port, path: parsed.path };
}

function splitPort(authority: string): { readonly host: string; readonly port: string } {
  const colon = authority.lastIndexOf(':');
  // The colons of an address without a port are within its brackets.
  if (colon === -1 || authority.endsWith(']')) return { host: authority, port: '' };
  const port = authority.slice(colon + 1);
  if (authority.startsWith('[')) return { host: authority.slice(1, colon - 1), port };
  // A bracket that was never opened: not a host and a port, says Go.
  if (authority.includes(']')) return { host: authority, port: '' };
  return { host: authority.slice(0, colon), port };
}

interface ParsedUrl {
  /** Host and port. */
  readonly authority: string;
  readonly path: string;
}

function parseUrl(text: string): ParsedUrl | undefined {
  if (text.length > LOCATION_LENGTH_MAX) return undefined;
  const [beforeFragment, fragment] = cut(text, '#');
  if (CONTROLS.test(beforeFragment) || decoded(fragment) === undefined) return undefined;
  const [whole] = cut(beforeFragment, '?');
  const slash = whole.indexOf('/');
  const start = slash === -1 ? whole : whole.slice(0, slash);
  const path = slash === -1 ? '' : decoded(whole.slice(slash));
  const at = start.lastIndexOf('@');
  const user = start.slice(0, Math.max(at, 0));
  if (!USER_CHARACTERS.test(user) || decoded(user) === undefined) return undefined;
  const authority = parseAuthority(start.slice(at + 1));
  return authority === undefined || path === undefined ? undefined : { authority, path };
}

function parseAuthority(text: string): string | undefined {
  if (!HOST_CHARACTERS.test(text) || ASCII_ESCAPE.test(text)) return undefined;
  const bracket = text.lastIndexOf('[');
  if (bracket > 0) return undefined;
  if (bracket === 0) {
    const end = text.lastIndexOf(']');
    const isAddress = end !== -1 && !text.includes('%') && isIPv6(text.slice(1, end));
    return isAddress && /^(:\d*)?$/.test(text.slice(end + 1)) ? text : undefined;
  }
  const [, port] = cut(text, ':');
  return PORT.test(port) ? decoded(text) : undefined;
}

/** Percent-decoded; bytes of other alphabets, which no image name has, come out as Latin-1. */
function decoded(text: string): string | undefined {
  if (!text.includes('%')) return text;
  let isValid = true;
  const plain = text.replaceAll(ESCAPES, (_, digits: string | undefined) => {
    if (digits === undefined) isValid = false;
    return String.fromCharCode(Number.parseInt(digits ?? '0', 16));
  });
  return isValid ? plain : undefined;
}

function cut(text: string, separator: string): [before: string, after: string] {
  const index = text.indexOf(separator);
  return index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}
