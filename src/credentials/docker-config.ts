/**
 * Docker's configuration of credentials: `config.json`, the older `.dockercfg`, and the two types of
 * Kubernetes secrets that hold the one or the other.
 *
 * Strict where the kubelet is: JSON, types, and the base64 of every entry, also of those that are not
 * asked for. Values that no registry can be sent are refused when their entry is (`checkUsable`), so
 * that they do not keep a pod from the other registries.
 *
 * Source: kubernetes pkg/credentialprovider/config.go; docker/cli cli/config.
 */
import {
  decodeUtf8,
  fieldsOf,
  JsonInputError,
  memberPath,
  membersOf,
  parseJson,
  textOf,
} from './json-input.ts';
import type { RegistryAuth } from './pull-credential.ts';
import { redactedAuth } from './redacted-auth.ts';

/** Bytes of one of the node's files. 100,000 entries fit. */
export const DOCKER_CONFIG_BYTES_MAX: number = 16 * 2 ** 20;
/** Bytes of one secret: as many as Kubernetes allows. 10,000 entries fit. */
export const PULL_SECRET_BYTES_MAX: number = 2 ** 20;
/** UTF-16 units of one user name, password or token; servers refuse headers far shorter than this. */
export const CREDENTIAL_LENGTH_MAX: number = 64 * 2 ** 10;

/** `config.json` has the entries in `auths`; a `.dockercfg` is what `auths` holds. */
export type DockerConfigForm = 'config.json' | 'dockercfg';

/** One entry: a location and what is for it. */
export interface DockerConfigEntry {
  readonly location: string;
  readonly auth: RegistryAuth;
  /** Says where in the document it stands. */
  readonly path: () => string;
}

/** What a configuration says. */
export interface DockerConfig {
  readonly entries: readonly DockerConfigEntry[];
  /** By registry, the `X` of the program `docker-credential-X` to ask. */
  readonly helpers: readonly (readonly [registry: string, helper: string])[];
  /** The same for all other registries; empty: none. */
  readonly defaultHelper: string;
}

/** What of a configuration counts. */
export interface DockerConfigScope {
  /**
   * Whether helpers and tokens count. They do for the node's own files. In a pod's secrets they do
   * not: the kubelet does not look at them, and a tenant must not choose what is run on the node.
   */
  readonly isTrusted: boolean;
}

/** Throws `JsonInputError`. */
export function parseDockerConfig(
  bytes: Uint8Array,
  form: DockerConfigForm,
  { isTrusted }: DockerConfigScope,
): DockerConfig {
  const bytesMax = isTrusted ? DOCKER_CONFIG_BYTES_MAX : PULL_SECRET_BYTES_MAX;
  if (bytes.length > bytesMax) throw new JsonInputError(`it has more than ${bytesMax} bytes`);
  const document = parseJson(bytes);
  if (form === 'dockercfg') {
    const entries = entriesOf(membersOf(document, 'it'), 'it', isTrusted);
    return { entries, helpers: [], defaultHelper: '' };
  }
  const fields = fieldsOf(document, 'it');
  const auths = membersOf(fields.get('auths'), 'auths');
  return {
    entries: entriesOf(auths, 'auths', isTrusted),
    helpers: isTrusted ? helpersOf(fields.get('credhelpers')) : [],
    defaultHelper: isTrusted ? helperOf(fields.get('credsstore'), 'credsStore') : '',
  };
}

function entriesOf(
  members: readonly (readonly [string, unknown])[],
  parent: string,
  isTrusted: boolean,
): readonly DockerConfigEntry[] {
  return members.map(([location, value]) => {
    // Thousands of entries are read for one that is wanted: places are worked out only for errors.
    const path = () => memberPath(parent, location);
    return { location, auth: entryAuth(value, path, isTrusted), path };
  });
}

function entryAuth(value: unknown, path: () => string, isTrusted: boolean): RegistryAuth {
  const fields = fieldsOf(value, path);
  const field = (name: string) => textOf(fields.get(name), () => `${path()}.${name}`);
  const given = { username: field('username'), password: field('password'), email: field('email') };
  const auth = field('auth');
  const tokens = isTrusted
    ? { identityToken: field('identitytoken'), registryToken: field('registrytoken') }
    : {};
  if (auth === '') return redactedAuth({ ...given, ...tokens });
  return redactedAuth({ ...given, ...decodeAuth(auth, () => `${path()}.auth`), ...tokens });
}

const BASE64 = /^[A-Za-z0-9+/]*(={0,2})$/;
const BASE64_GROUP = 4;

/**
 * User and password of an `auth` field: base64, with or without padding, of `user:password`, split at
 * the first colon.
 */
function decodeAuth(
  text: string,
  path: () => string,
): { readonly username: string; readonly password: string } {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new JsonInputError(`${path()} is not base64`);
  const pair = decodeUtf8(bytes);
  if (pair === undefined) throw new JsonInputError(`${path()} is not base64 of UTF-8`);
  const colon = pair.indexOf(':');
  if (colon === -1) throw new JsonInputError(`${path()} is not base64 of user:password`);
  return { username: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

/** The bytes, or `undefined` where Go would not decode it: line breaks are skipped, nothing else is. */
export function decodeBase64(text: string): Buffer | undefined {
  const compact = text.replaceAll(/[\r\n]/g, '');
  const match = BASE64.exec(compact);
  if (match === null) return undefined;
  const rest = compact.length % BASE64_GROUP;
  // With padding whole groups, without it anything but a single character over.
  if (match[1] === '' ? rest === 1 : rest !== 0) return undefined;
  return Buffer.from(compact, 'base64');
}

function helpersOf(value: unknown): readonly (readonly [string, string])[] {
  return membersOf(value, 'credHelpers').map(
    ([registry, helper]) =>
      [registry, helperOf(helper, memberPath('credHelpers', registry))] as const,
  );
}

/** A part of a file name: nothing that leads elsewhere. */
const HELPER_NAME = /^[A-Za-z0-9][\w.-]{0,127}$/;

function helperOf(value: unknown, path: string): string {
  const name = textOf(value, path);
  if (name !== '' && !HELPER_NAME.test(name)) {
    throw new JsonInputError(`${path} is not the name of a credential helper`);
  }
  return name;
}

const CONTROLS = /\p{Cc}/u;

/**
 * Checks that a credential can be sent: user names and passwords have no control characters (RFC 7617),
 * nothing is longer than `CREDENTIAL_LENGTH_MAX`. Throws `JsonInputError`; `place` names the credential.
 */
export function checkUsable(auth: RegistryAuth, place: string): void {
  for (const [name, value] of Object.entries(auth) as [string, string][]) {
    if (value.length > CREDENTIAL_LENGTH_MAX) {
      throw new JsonInputError(
        `the ${name} of ${place} has more than ${CREDENTIAL_LENGTH_MAX} characters`,
      );
    }
    if (CONTROLS.test(value)) {
      throw new JsonInputError(
        `the ${name} of ${place} has a control character, for example a line break`,
      );
    }
  }
}
