/**
 * One object for equal credentials, where many records are decoded that a few tenants have proven:
 * less memory, and what decisions compare stays in the processor's cache.
 */
import { BoundedCache } from '../util/bounded-cache.ts';
import { unpackCredentials } from './codec.ts';
import type { ImagePullCredentials } from './record.ts';

const CREDENTIALS_MAX = 1 << 16;
/** In the packed form: access, secrets, accounts, time; a secret is uid, namespace, name, hash, time. */
const SECRETS = 1;
const ACCOUNTS = 2;
const SECRET_FIELDS = 5;
const HASH = 3;

/** Shares credentials that consist of one secret, the usual form. Used by one thread. */
export class CredentialPool {
  readonly #byHash = new BoundedCache<string, ImagePullCredentials>(CREDENTIALS_MAX);

  /** The frozen credentials of a packed form; throws `RECORD_CORRUPT`. */
  credentials(packed: unknown): ImagePullCredentials {
    const secret = onlySecret(packed);
    if (secret === undefined) return unpackCredentials(packed);
    const hash = secret[HASH] as string;
    const pooled = this.#byHash.get(hash);
    if (pooled !== undefined && isEqual(pooled, secret)) return pooled;
    const fresh = unpackCredentials(packed);
    // Its own copy of the hash: the packed one may keep all that was decoded with it.
    this.#byHash.set(fresh.kubernetesSecrets![0]!.credentialHash, fresh);
    return fresh;
  }
}

function onlySecret(packed: unknown): readonly unknown[] | undefined {
  if (!Array.isArray(packed) || packed[0] !== 0 || packed[ACCOUNTS] !== null) return undefined;
  const secrets: unknown = packed[SECRETS];
  if (!Array.isArray(secrets) || secrets.length !== SECRET_FIELDS) return undefined;
  const isTimeless = secrets[HASH + 1] === null && packed[HASH] === null;
  return isTimeless && typeof secrets[HASH] === 'string' ? secrets : undefined;
}

function isEqual(credentials: ImagePullCredentials, secret: readonly unknown[]): boolean {
  const known = credentials.kubernetesSecrets![0]!;
  return known.uid === secret[0] && known.namespace === secret[1] && known.name === secret[2];
}
