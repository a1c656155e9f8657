/** The pull secrets of a pod: what they hold for an image. */
import { invalidArgument, quote } from '../errors.ts';
import {
  checkUsable,
  type DockerConfigForm,
  decodeBase64,
  parseDockerConfig,
} from './docker-config.ts';
import { JsonInputError, readingCredentials } from './json-input.ts';
import { Keyring } from './keyring.ts';
import { PULL_SECRET_KEYS, type PullSecret } from './pod-identity.ts';
import type { PullCredential } from './pull-credential.ts';

interface Entry {
  readonly credential: PullCredential;
  readonly path: () => string;
  readonly index: number;
}

/**
 * The credentials that secrets hold for an image, in the order of the keyring; every secret is checked
 * whole.
 *
 * @throws `INVALID_ARGUMENT`, `CREDENTIALS_INVALID`, both naming the secret.
 */
export function secretCredentials(
  secrets: readonly PullSecret[],
  imageName: string,
): readonly PullCredential[] {
  const keyring = new Keyring<Entry>();
  for (const [index, secret] of secrets.entries()) {
    checkSecret(secret, index);
    reading(secrets, index, () => addEntries(keyring, secret, index));
  }
  return keyring.lookup(imageName).map(({ credential, path, index }) => {
    reading(secrets, index, () => checkUsable(credential.auth, path()));
    return credential;
  });
}

function addEntries(keyring: Keyring<Entry>, secret: PullSecret, index: number): void {
  const { uid, namespace, name, type } = secret;
  const key = PULL_SECRET_KEYS.get(type);
  if (key === undefined || !Object.hasOwn(secret.data, key)) return;
  const bytes = bytesOf(secret.data[key], key);
  if (bytes.length === 0) return;
  const form: DockerConfigForm = key === '.dockercfg' ? 'dockercfg' : 'config.json';
  const source = { kind: 'secret', uid, namespace, name } as const;
  for (const entry of parseDockerConfig(bytes, form, { isTrusted: false }).entries) {
    const { location, auth, path } = entry;
    keyring.add(location, { credential: { auth, source }, path, index });
  }
}

function bytesOf(value: unknown, key: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== 'string') throw new JsonInputError(`data[${quote(key)}] must be base64`);
  const bytes = decodeBase64(value);
  if (bytes === undefined) throw new JsonInputError(`data[${quote(key)}] is not base64`);
  return bytes;
}

function checkSecret(secret: PullSecret, index: number): void {
  const argument = `secrets[${index}]`;
  if (typeof secret !== 'object' || secret === null) {
    throw invalidArgument(argument, 'must be an object');
  }
  for (const field of ['uid', 'namespace', 'name', 'type'] as const) {
    if (typeof secret[field] !== 'string') {
      throw invalidArgument(`${argument}.${field}`, 'must be a string');
    }
  }
  if (typeof secret.data !== 'object' || secret.data === null) {
    throw invalidArgument(`${argument}.data`, 'must be an object');
  }
}

function reading<T>(secrets: readonly PullSecret[], index: number, read: () => T): T {
  const { namespace, name } = secrets[index]!;
  const what = `the pull secret ${quote(`${namespace}/${name}`)}`;
  return readingCredentials(what, { argument: `secrets[${index}]` }, read);
}
