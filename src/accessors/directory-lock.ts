/**
 * One owner per store directory, whoever else tries: this process, another, another container.
 *
 * | File | Meaning |
 * | --- | --- |
 * | `LOCK` | What the kernel's lock (`flock`) is on. Never replaced, its content means nothing |
 * | `LOCK.json` | Who owns the directory. Put in place whole, by `link` or `rename`, never edited |
 * | `LOCK.json.<nonce>.next` | The claim of one process to succeed the dead owner `<nonce>` |
 * | `LOCK.json.<nonce>.tmp` | An owner's entry before it is put in place |
 *
 * The kernel's lock ends with the descriptor, that is with the thread or process, at the latest, and
 * holds across containers. Node cannot take one itself, but the lock belongs to the open file, not to
 * the process: the `flock` program takes it on a descriptor that it inherits, and leaves it with us.
 * Where there is no such program, `LOCK.json` alone decides: its process is looked up, and the entry
 * of a dead one is replaced. Both ways respect each other, because both end with `LOCK.json`.
 *
 * Why two processes cannot both succeed a dead owner: only who creates `<nonce>.next` may, nonces
 * never come again, and after creating it one looks whether `LOCK.json` still has that nonce. Who
 * finds a dead claimant in the way succeeds the claimant in the same manner.
 */
import { link, readdir, realpath, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, PullManagerError, quote, storeError } from '../errors.ts';
import { makeDirectory } from './directories.ts';
import { closeLock, lockInKernel } from './kernel-lock.ts';
import {
  describeSelf,
  type Entry,
  FILE_MODE,
  inUse,
  judge,
  OWNER_FILE,
  type Owner,
  readEntry,
} from './lock-owner.ts';

/** A directory that this process owns until `release`, or until its thread or process ends. */
export interface DirectoryLock extends AsyncDisposable {
  /** The directory, absolute and without symbolic links. */
  readonly path: string;
  /** `flock`: the kernel keeps the lock. `file`: only `LOCK.json` does. */
  readonly mechanism: 'flock' | 'file';
  /** Gives the directory to whoever wants it next. Idempotent, never rejects. */
  release(): Promise<void>;
}

/** How to lock. */
export interface DirectoryLockOptions {
  /**
   * `file` leaves the kernel's lock out. It cannot judge owners in other containers, and does not
   * end with a thread, only with its process. @default 'flock', where the program is there
   */
  readonly mechanism?: 'flock' | 'file' | undefined;
}

const ATTEMPTS_MAX = 64;
const CLAIM_DEPTH_MAX = 16;

/**
 * Takes a directory, and creates it (mode 0700) where it is missing. Never waits for an owner.
 *
 * Errors: `STORE_IN_USE` naming the directory and, if known, the owner; `STORE_UNAVAILABLE` if the
 * path cannot be a directory of ours (a file, no permission, no space).
 */
export async function acquireDirectoryLock(
  path: string,
  options: DirectoryLockOptions = {},
): Promise<DirectoryLock> {
  let fd: number | undefined;
  try {
    await makeDirectory(path);
    const directory = await realpath(path);
    if (options.mechanism !== 'file') fd = await lockInKernel(directory, 'exclusive');
    const self = await describeSelf(fd === undefined ? 'file' : 'flock');
    await takeOwnership(directory, self);
    return new HeldLock(directory, self, fd);
  } catch (cause) {
    if (fd !== undefined) await closeLock(fd);
    throw asStoreError(path, cause);
  }
}

/** Keeps owners away from a directory without becoming one, until it is released. */
export interface ReadLock {
  /** Call it once. Never rejects. */
  release(): Promise<void>;
}

/**
 * Makes sure that nobody owns a directory, and leaves it exactly as it is. An owner that comes later
 * is kept out where one has been before and the kernel keeps locks; readers do not disturb each other.
 *
 * Errors: `STORE_IN_USE` naming the directory and, if known, the owner; `STORE_UNAVAILABLE`. A
 * directory that is not there has no owner.
 */
export async function acquireReadLock(path: string): Promise<ReadLock> {
  let fd: number | undefined;
  try {
    fd = await lockInKernel(path, 'shared');
    const entry = await readEntry(join(path, OWNER_FILE));
    if (entry !== undefined) {
      const self = await describeSelf(fd === undefined ? 'file' : 'flock');
      const verdict = await judge(entry, self);
      if (verdict !== 'dead') throw inUse(path, entry.owner, verdict === 'alive');
    }
  } catch (cause) {
    if (fd !== undefined) await closeLock(fd);
    throw asStoreError(path, cause);
  }
  return {
    async release() {
      if (fd !== undefined) await closeLock(fd);
    },
  };
}

class HeldLock implements DirectoryLock {
  readonly path: string;
  readonly mechanism: 'flock' | 'file';
  readonly #nonce: string;
  readonly #fd: number | undefined;
  #released: Promise<void> | undefined;

  constructor(path: string, owner: Owner, fd: number | undefined) {
    this.path = path;
    this.mechanism = owner.mechanism;
    this.#nonce = owner.nonce;
    this.#fd = fd;
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  // The entry goes before the kernel's lock: the other way round, it could be the next owner's.
  async #release(): Promise<void> {
    const ownerPath = join(this.path, OWNER_FILE);
    try {
      const entry = await readEntry(ownerPath);
      if (entry?.nonce === this.#nonce) await unlink(ownerPath);
    } catch {
      // The directory may be gone. An entry that stays is judged by the next opener.
    }
    if (this.#fd !== undefined) await closeLock(this.#fd);
  }
}

/** Puts our entry in place; throws `STORE_IN_USE` if a living owner has his there. */
async function takeOwnership(directory: string, self: Owner): Promise<void> {
  const ownerPath = join(directory, OWNER_FILE);
  const temporaryPath = `${ownerPath}.${self.nonce}.tmp`;
  await writeFile(temporaryPath, JSON.stringify(self), { mode: FILE_MODE, flag: 'wx' });
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const entry = await readEntry(ownerPath);
      const taken =
        entry === undefined
          ? await linkNew(temporaryPath, ownerPath)
          : await succeed(directory, entry, self, temporaryPath);
      if (taken) {
        await removeLeftovers(directory, self);
        return;
      }
    }
    throw inUse(directory, undefined, true);
  } finally {
    await removeFile(temporaryPath);
  }
}

/** Replaces a dead owner. False: somebody else was faster, look again. */
async function succeed(
  directory: string,
  dead: Entry,
  self: Owner,
  temporaryPath: string,
): Promise<boolean> {
  const ownerPath = join(directory, OWNER_FILE);
  let predecessor = dead;
  for (let depth = 0; depth < CLAIM_DEPTH_MAX; depth++) {
    const verdict = await judge(predecessor, self);
    if (verdict !== 'dead') throw inUse(directory, predecessor.owner, verdict === 'alive');
    const claimPath = `${ownerPath}.${predecessor.nonce}.next`;
    if (await linkNew(temporaryPath, claimPath)) {
      const current = await readEntry(ownerPath);
      if (current?.nonce !== dead.nonce) {
        // Our claim is to an entry that was replaced and cleared away before we made it.
        await removeFile(claimPath);
        return false;
      }
      await rename(temporaryPath, ownerPath);
      return true;
    }
    const rival = await readEntry(claimPath);
    if (rival === undefined) return false;
    predecessor = rival;
  }
  return false;
}

/** Gives the file another name; false if that name is taken. */
async function linkNew(existingPath: string, newPath: string): Promise<boolean> {
  try {
    await link(existingPath, newPath);
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return false;
    throw cause;
  }
}

/** What contenders left that died before they owned anything. Best effort. */
async function removeLeftovers(directory: string, self: Owner): Promise<void> {
  try {
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      const kind = /^LOCK\.json\.[0-9a-f]{32,64}\.(next|tmp)$/.exec(name)?.[1];
      // All claims are void: they name owners before us.
      if (kind === 'next') await removeFile(path);
      if (kind !== 'tmp') continue;
      const entry = await readEntry(path);
      // One without an owner may be half-written by a living contender.
      if (entry?.owner === undefined) continue;
      const verdict = await judge(entry, { ...self, mechanism: 'file' });
      if (verdict === 'dead') await removeFile(path);
    }
  } catch {
    // They do no harm.
  }
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch(() => {});
}

function asStoreError(path: string, cause: unknown): PullManagerError {
  const code = errorCode(cause);
  if (code === 'EEXIST' || code === 'ENOTDIR') {
    const message = `the store directory ${quote(path)} is a file, or lies below one`;
    return new PullManagerError('STORE_UNAVAILABLE', message, { path, cause });
  }
  return storeError(`cannot take the store directory ${quote(path)}`, cause, path);
}
