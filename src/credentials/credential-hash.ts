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
  /** Compared, since a credential may have changed. */
  readonly fields: RegistryAuth;
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
    if (known !== undefined && isSame(auth, known.fields)) return known.hash;
    const fields = fieldsOf(auth);
    const hash = hashOf(fields);
    hashedBefore.set(auth, { fields, hash });
    return hash;
  } catch {
    return '';
  }
}

/** Field by field: a loop over their names takes several times as long, and every request asks. */
function isSame(a: RegistryAuth, b: RegistryAuth): boolean {
  return (
    a.username === b.username &&
    a.password === b.password &&
    a.auth === b.auth &&
    a.email === b.email &&
    a.serverAddress === b.serverAddress &&
    a.identityToken === b.identityToken &&
    a.registryToken === b.registryToken
  );
}

/** A copy of the hashed fields, each read once. */
function fieldsOf(auth: RegistryAuth): RegistryAuth {
  return Object.fromEntries(HASHED_FIELDS.map(([field]) => [field, auth[field]])) as RegistryAuth;
}

function hashOf(auth: RegistryAuth): string {
  const members: string[] = [];
  for (const [field, name] of HASHED_FIELDS) {
    const value: unknown = auth[field];
    if (value === undefined || value === '') continue;
    if (typeof value !== 'string') return '';
    members.push(`"${name}":${goString(value)}`);
  }
  return createHash('sha256')
    .update(`{${members.join(',')}}`)
    .digest('hex');
}
