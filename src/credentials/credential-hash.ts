/**
 * The hash under which records know a credential.
 *
 * Source: kubernetes pkg/credentialprovider/keyring.go, hashAuthConfig.
 */
import { createHash } from 'node:crypto';
import { goString } from '../util/go-json.ts';
import type { RegistryAuth } from './pull-credential.ts';

/** The fields of a credential and their names in the hashed text, in the hashed order. */
const HASHED_FIELDS = [
  ['username', 'username'],
  ['password', 'password'],
  ['auth', 'auth'],
  ['email', 'email'],
  ['serverAddress', 'serveraddress'],
  ['identityToken', 'identitytoken'],
  ['registryToken', 'registrytoken'],
] as const satisfies readonly (readonly [keyof RegistryAuth, string])[];

/** What was hashed last of a credential. Pods come again and again with the same one. */
interface Hashed {
  /** In the order of `HASHED_FIELDS`; compared, since a credential may have changed. */
  readonly values: readonly unknown[];
  readonly hash: string;
}

/** Goes with the credential, and so keeps no secret for longer. */
const hashedBefore = new WeakMap<RegistryAuth, Hashed>();

/**
 * SHA-256, in lower-case hexadecimal, of a credential as the kubelet encodes it: JSON of the fields
 * that are not empty. Unsalted, and without the registry's host, as the records of a kubelet are.
 *
 * Never throws: the empty text, which matches no record, where a field is no text. A lone surrogate
 * counts as U+FFFD, as it does once the text is UTF-8.
 *
 * ```ts
 * credentialHash({ username: 'user', password: 'password' }); // 'a55436fc…c691d'
 * ```
 */
export function credentialHash(auth: RegistryAuth): string {
  try {
    const known = hashedBefore.get(auth);
    if (known !== undefined && isUnchanged(auth, known)) return known.hash;
    const values = HASHED_FIELDS.map(([field]): unknown => auth[field]);
    const hash = hashOf(values);
    hashedBefore.set(auth, { values, hash });
    return hash;
  } catch {
    return '';
  }
}

function isUnchanged(auth: RegistryAuth, { values }: Hashed): boolean {
  for (let i = 0; i < HASHED_FIELDS.length; i++) {
    if (auth[HASHED_FIELDS[i]![0]] !== values[i]) return false;
  }
  return true;
}

function hashOf(values: readonly unknown[]): string {
  const members: string[] = [];
  for (const [i, [, name]] of HASHED_FIELDS.entries()) {
    const value = values[i];
    if (value === undefined || value === '') continue;
    if (typeof value !== 'string') return '';
    members.push(`"${name}":${goString(value)}`);
  }
  return createHash('sha256')
    .update(`{${members.join(',')}}`)
    .digest('hex');
}
