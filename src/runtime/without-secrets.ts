/** Texts of a runtime or a registry, made fit for a message or a log. */
import type { RegistryAuth } from '../credentials/pull-credential.ts';

const REDACTED = '[redacted]';
/** Longer texts are withheld: cutting them first might cut a secret, whose rest would be shown. */
const TEXT_LENGTH_MAX = 16_384;
/** What of a text is shown. */
const SHOWN_LENGTH_MAX = 1024;
/** A shorter secret is in many words: where it was taken out, the gaps would spell it. */
const REPLACEABLE_LENGTH_MIN = 4;

/** What could change a terminal's state, a line's direction, or is not Unicode. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
/** What `encodeURIComponent` leaves as it is and other encoders do not. */
const LEFT_BY_ENCODE_URI = /[!'()*]/g;

/** `Authorization: Basic …` and its like, as headers, as JSON and as Go prints them. */
const HEADER_VALUE =
  /(?:(?:proxy-)?authorization|x-registry-(?:auth|config)|(?:set-)?cookie)["'\]]*\s*[:=]\s*["'[]*(?<secret>(?:(?:basic|bearer|digest|negotiate)\s+)?[^\s"',;\]]+)/dgi;
/** A word of lower-case letters is prose, as in "no basic auth credentials". */
const SCHEME_VALUE =
  /\b(?:[Bb]asic|BASIC|[Bb]earer|BEARER)\s+(?![a-z]+\.?(?![\w+/.~=-]))(?<secret>[\w+/.~=-]{8,})/dg;
const JSON_VALUE =
  /["'](?:pass(?:word)?|secret|(?:identity|registry|access|refresh|id)?_?token|client_secret|auth)["']\s*:\s*["'](?<secret>(?:[^"'\\]|\\.)+)/dgi;
const USER_INFO = /:\/\/(?<secret>[^\s/?#"']+)@/dg;
/** What a signed address or a token request carries; the names that are needed to understand it stay. */
const QUERY_VALUE = /[?&](?!(?:scope|service|ns|n|last)=)[\w.~-]+=(?<secret>[^&\s"'<>]+)/dgi;
const VALUES = [HEADER_VALUE, SCHEME_VALUE, JSON_VALUE, USER_INFO, QUERY_VALUE];

/**
 * A text of a runtime without what must not be shown: each secret of `auth` (password, `auth`, both
 * tokens, and `username:password`) as it is and encoded (base64, URL, JSON), values of headers like
 * `Authorization`, user information in URLs and values of their queries. Unprintable characters are
 * escaped, and at most 1,024 characters are kept.
 *
 * A text that contains a secret of less than 4 characters, or has more than 16,384 characters, is
 * withheld as a whole.
 */
export function withoutSecrets(text: string, auth?: RegistryAuth): string {
  if (text.length > TEXT_LENGTH_MAX) return `[${text.length} characters left out]`;
  const forms = secretForms(auth).filter((form) => form.length <= text.length);
  if (forms.some((form) => form.length < REPLACEABLE_LENGTH_MIN && text.includes(form))) {
    return '[left out: it contains a credential]';
  }
  const known = forms.filter((form) => form.length >= REPLACEABLE_LENGTH_MIN);
  // All are found in the text as it came: what one takes out may be a part of another.
  return shown(redacted(text, [...placesOfForms(text, known), ...placesOfValues(text)]));
}

type Place = readonly [start: number, end: number];

/** Not by an expression: secrets may be too long for one. */
function* placesOfForms(text: string, forms: readonly string[]): Generator<Place> {
  // Hexadecimal digits of encoded characters come in both cases.
  const searched = lowerCase(text);
  for (const form of forms) {
    const wanted = lowerCase(form);
    let start = searched.indexOf(wanted);
    while (start !== -1) {
      const end = start + wanted.length;
      yield [start, end];
      start = searched.indexOf(wanted, end);
    }
  }
}

/** Of ASCII alone, so that the length stays. */
function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}

function* placesOfValues(text: string): Generator<Place> {
  for (const pattern of VALUES) {
    for (const { indices } of text.matchAll(pattern)) yield indices!.groups!.secret!;
  }
}

/** The text with one mark for all places that touch each other. */
function redacted(text: string, places: Place[]): string {
  places.sort(([a], [b]) => a - b);
  let kept = '';
  let shownTo = 0;
  for (const [start, end] of places) {
    if (start > shownTo || shownTo === 0) kept += text.slice(shownTo, start) + REDACTED;
    shownTo = Math.max(shownTo, end);
  }
  return kept + text.slice(shownTo);
}

function shown(text: string): string {
  const isLong = text.length > SHOWN_LENGTH_MAX;
  const escaped = (isLong ? text.slice(0, SHOWN_LENGTH_MAX) : text).replace(
    UNPRINTABLE,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
  return isLong ? `${escaped}… (${text.length} characters)` : escaped;
}

/** The secrets of a credential, in the forms in which a runtime or a registry may repeat them. */
function secretForms(auth: RegistryAuth | undefined): string[] {
  if (auth === undefined) return [];
  const { username = '', password = '', auth: encoded = '', identityToken, registryToken } = auth;
  const secrets = [password, encoded, identityToken ?? '', registryToken ?? ''];
  if (password !== '') secrets.push(`${username}:${password}`);
  const decoded = Buffer.from(encoded, 'base64').toString();
  const colon = decoded.indexOf(':');
  if (colon !== -1) secrets.push(decoded, decoded.slice(colon + 1));
  const forms = new Set<string>();
  for (const secret of secrets) {
    if (secret !== '') for (const form of formsOf(secret)) forms.add(form);
  }
  return [...forms];
}

function formsOf(secret: string): string[] {
  const base64 = Buffer.from(secret).toString('base64');
  const json = JSON.stringify(secret).slice(1, -1);
  const uri = encodeURIComponent(Buffer.from(secret).toString());
  const strictUri = uri.replace(
    LEFT_BY_ENCODE_URI,
    (character) => `%${character.charCodeAt(0).toString(16)}`,
  );
  return [
    secret,
    base64,
    base64.replace(/=+$/, ''),
    Buffer.from(secret).toString('base64url'),
    encodeURIComponent(base64),
    json,
    json.replace(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`),
    uri,
    strictUri,
    strictUri.replaceAll('%20', '+'),
  ];
}
