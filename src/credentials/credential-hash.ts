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
  const members: string[] = [];
  try {
    for (const [field, name] of HASHED_FIELDS) {
      const value: unknown = auth[field];
      if (value === undefined || value === '') continue;
      if (typeof value !== 'string') return '';
      members.push(`"${name}":${goString(value)}`);
    }
    return createHash('sha256')
      .update(`{${members.join(',')}}`)
      .digest('hex');
  } catch {
    return '';
  }
}
