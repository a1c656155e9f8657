/**
 * Where things are in an `image_manager` directory, and whether it is fit for use.
 *
 * ```
 * image_manager/
 *   pulling/sha256-…     the kubelet's: intents
 *   pulled/sha256-…      the kubelet's: pulled records
 *   .pullwarden/         ours; no kubelet looks into it
 *     LOCK, LOCK.json    whose the directory is
 *     redo/              what is durable but not in the kubelet's files yet; gone after a clean close
 *     tmp/               files before they get their name; gone after a clean close
 *     quarantine/        what people had taken aside
 * ```
 */
import type { Stats } from 'node:fs';
import { lstat, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PullManagerError, quote, storeError } from '../../errors.ts';
import { makeDirectory } from '../directories.ts';
import { RECORD_PREFIX } from './record-file.ts';

/** The two kinds of records, which are also the two directories. */
export type RecordKind = 'intent' | 'pulled';

export interface KubeletPaths {
  readonly dir: string;
  /** The kubelet's directory of each kind. */
  readonly of: Readonly<Record<RecordKind, string>>;
  readonly own: string;
  readonly redo: string;
  readonly temporary: string;
  readonly quarantine: string;
}

/** The paths below an `image_manager` directory. */
export function kubeletPaths(dir: string): KubeletPaths {
  const own = join(dir, '.pullwarden');
  return {
    dir,
    of: { intent: join(dir, 'pulling'), pulled: join(dir, 'pulled') },
    own,
    redo: join(own, 'redo'),
    temporary: join(own, 'tmp'),
    quarantine: join(own, 'quarantine'),
  };
}

/** Whether a name in one of the kubelet's directories is one that the kubelet would read. */
export function isRecordName(name: string): boolean {
  return name.startsWith(RECORD_PREFIX) && !name.endsWith('.tmp');
}

const OTHERS_WRITE = 0o002;
const ROOT = 0;

/**
 * Makes the directory (mode 0700, with its parents) where it is missing, and checks that nobody else
 * can plant records in it.
 *
 * @throws `STORE_UNAVAILABLE` naming the path and what is wrong with it.
 */
export async function prepareDirectory(path: string): Promise<void> {
  try {
    await makeDirectory(path);
    checkDirectory(path, await stat(path));
  } catch (cause) {
    if (cause instanceof PullManagerError) throw cause;
    const isInTheWay = await lstat(path).then(
      (there) => !there.isDirectory() && !there.isSymbolicLink(),
      () => false,
    );
    if (isInTheWay) throw unfit(path, 'is not a directory', cause);
    throw storeError(`cannot use the directory ${quote(path)}`, cause, path);
  }
}

/** Throws `STORE_UNAVAILABLE` where somebody else can plant records in a directory. */
export function checkDirectory(path: string, found: Pick<Stats, 'mode' | 'uid'>): void {
  const untrusted = distrusted(found);
  if (untrusted !== undefined) throw unfit(path, untrusted);
}

/** Why a file or directory proves nothing: others can write to it. Undefined: it may be trusted. */
export function distrusted({ mode, uid }: Pick<Stats, 'mode' | 'uid'>): string | undefined {
  const user = process.geteuid?.();
  // Where there are no users (Windows), modes say nothing either.
  if (user === undefined) return undefined;
  if ((mode & OTHERS_WRITE) !== 0) {
    return `can be written by everybody (mode ${(mode & 0o7777).toString(8).padStart(4, '0')})`;
  }
  // Root decides for itself whose files it trusts.
  if (user !== ROOT && uid !== ROOT && uid !== user) {
    return `belongs to user ${uid}, this process is user ${user}`;
  }
  return undefined;
}

/** Removes our directories that have nothing left in them. Never rejects. */
export async function removeEmptyDirectories({ redo, temporary }: KubeletPaths): Promise<void> {
  for (const path of [redo, temporary]) await rmdir(path).catch(() => {});
}

/** `STORE_UNAVAILABLE` of a directory, with what is wrong with it. */
export function unfit(path: string, reason: string, cause?: unknown): PullManagerError {
  const message = `the directory ${quote(path)} ${reason}`;
  return new PullManagerError('STORE_UNAVAILABLE', message, { path, reason, cause });
}
