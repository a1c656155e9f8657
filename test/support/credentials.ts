/** Credentials for tests. */
import type { ImagePullSecret, ImagePullServiceAccount } from '../../src/records/record.ts';

export function secret(name: string, fields: Partial<ImagePullSecret> = {}): ImagePullSecret {
  return {
    uid: `uid-${name}`,
    namespace: `namespace-${name}`,
    name: `pull-${name}`,
    credentialHash: `hash-${name}`,
    ...fields,
  };
}

export function account(
  name: string,
  fields: Partial<ImagePullServiceAccount> = {},
): ImagePullServiceAccount {
  return { uid: `uid-${name}`, namespace: `namespace-${name}`, name: `account-${name}`, ...fields };
}

/** So many different secrets, in the order in which they are recorded. */
export function secrets(count: number): ImagePullSecret[] {
  return Array.from({ length: count }, (_, i) => secret(String(i).padStart(6, '0')));
}

let serial = 0;

/** A text that no other test has used. */
export function unique(text: string): string {
  return `${text}${(serial++).toString(36)}`;
}
