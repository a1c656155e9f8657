/**
 * What a store keeps, looked at piece by piece, as `records verify` needs it: also what no lookup
 * and no listing can return.
 */
import { errorCode, PULL_MANAGER_ERROR_CODES, type PullManagerError } from '../errors.ts';

/** One thing that was looked at: an entry of a store, or a file because of which it is damaged. */
export interface Finding {
  /** `store`: no entry, but what entries are kept in. */
  readonly kind: 'intent' | 'pulled' | 'store';
  /**
   * `valid`; `undecodable`: present, but no record; `misfiled`: a record, under another one's key;
   * `orphan`: a temporary file that a crash left; `unread`: of a version that the claimed level does
   * not read, or the disk or process had trouble reading it, so no damage and never taken out;
   * `remark`: unusual, but neither wrong nor lost.
   */
  readonly verdict: 'valid' | 'undecodable' | 'misfiled' | 'orphan' | 'unread' | 'remark';
  /** Where it is, as one would look for it: a file's path, the hexadecimal key in a database. */
  readonly location: string;
  /** The image of an intent, the imageRef of a pulled record; absent where it cannot be read. */
  readonly key?: string;
  /** What is wrong, in one sentence without any of the content; absent where nothing is. */
  readonly reason?: string;
  /** 0-based byte at which decoding failed, where that is known. */
  readonly offset?: number;
  /** Where the entry is after `quarantine`. */
  readonly quarantinedTo?: string;
}

/** A store that can be looked at piece by piece. */
export interface Inspectable {
  /** Everything the store keeps, in the order of its locations. */
  inspect(): AsyncIterable<Finding>;
  /**
   * Takes a bad entry out of the store and keeps it aside; answers where it is now, undefined if it
   * is not bad any more and was left. The store then answers as if the entry had never been, so only
   * people call this, never the engine. Absent where entries cannot be taken out one by one.
   */
  quarantine?(entry: Finding): Promise<string | undefined>;
}

/**
 * The finding that a store cannot be opened because of damage; throws an error that says anything
 * else.
 *
 * @param location - where the error names no file.
 */
export function damageOf(error: unknown, location: string): Finding {
  if (errorCode(error) !== PULL_MANAGER_ERROR_CODES.STORE_CORRUPT) throw error;
  const { path = location, offset, reason, message } = error as PullManagerError;
  const where = offset === undefined ? {} : { offset };
  return {
    kind: 'store',
    verdict: 'undecodable',
    location: path,
    reason: reason ?? message,
    ...where,
  };
}
