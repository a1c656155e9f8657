/**
 * One of the kubelet's two directories, as it was when the store was opened. Whether its files are
 * there says something about records only while it is: where it was moved away, removed or replaced,
 * a file that is not found was not deleted, and nothing is written.
 */
import { closeSync, fstatSync, fsync, fsyncSync, openSync, type Stats, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { errorCode, PullManagerError, quote } from '../../errors.ts';
import type { KubeletPaths, RecordKind } from './layout.ts';

/** Tells one directory from another that has its name later. Structured-cloneable. */
export interface DirectoryId {
  readonly dev: number;
  readonly ino: number;
}

/** Why nothing in a directory is believed. */
interface Obstacle {
  readonly reason: string;
  /** False: it could not be looked at. */
  readonly isCertain: boolean;
}

const flush = promisify(fsync);

/** Used by one thread. Its descriptor keeps the inode number from being given to another. */
export class RecordDirectory {
  readonly path: string;
  readonly id: DirectoryId;
  readonly #fd: number | undefined;
  #isClosed = false;

  /**
   * @param expected - the directory that it has to be. @default the one that is there
   * @throws `STORE_UNAVAILABLE` if it is not there, or another one.
   */
  constructor(path: string, expected?: DirectoryId) {
    this.path = path;
    // Windows opens no directories.
    if (process.platform !== 'win32') this.#fd = openSync(path, 'r');
    try {
      const { dev, ino } = this.#fd === undefined ? statSync(path) : fstatSync(this.#fd);
      this.id = { dev, ino };
      if (expected !== undefined && !isSame(expected, this.id)) {
        throw this.#error('was replaced while the store was open');
      }
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** Whether it still has its name. Blocks for a few microseconds. */
  get isInPlace(): boolean {
    return this.#obstacle() === undefined;
  }

  /** Throws `STORE_UNAVAILABLE` if it has lost its name, or that cannot be told. */
  assertInPlace(): void {
    const obstacle = this.#obstacle();
    if (obstacle !== undefined) throw this.#error(obstacle.reason);
  }

  /** Throws `STORE_UNAVAILABLE` if it is seen to have lost its name. */
  assertNotReplaced(): void {
    const obstacle = this.#obstacle();
    if (obstacle?.isCertain === true) throw this.#error(obstacle.reason);
  }

  /** Makes the names in it durable. */
  async flush(): Promise<void> {
    if (this.#fd !== undefined) await flush(this.#fd);
  }

  /** As `flush`; blocks. */
  flushSync(): void {
    if (this.#fd !== undefined) fsyncSync(this.#fd);
  }

  /** Never throws: nothing was written through the descriptor, and it is gone whatever is said. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      if (this.#fd !== undefined) closeSync(this.#fd);
    } catch {
      // What else is to be closed must be.
    }
  }

  #obstacle(): Obstacle | undefined {
    let found: Stats | undefined;
    try {
      found = statSync(this.path, { throwIfNoEntry: false });
    } catch (cause) {
      const reason = `cannot be looked into (${errorCode(cause) ?? 'unknown error'})`;
      return { reason, isCertain: false };
    }
    if (found === undefined) {
      return { reason: 'was removed or renamed while the store was open', isCertain: true };
    }
    if (isSame(found, this.id)) return undefined;
    return { reason: 'was replaced while the store was open', isCertain: true };
  }

  #error(reason: string): PullManagerError {
    const { path } = this;
    const message = `the directory ${quote(path)} ${reason}`;
    return new PullManagerError('STORE_UNAVAILABLE', message, { path, reason });
  }
}

function isSame(a: DirectoryId, b: DirectoryId): boolean {
  return a.ino === b.ino && a.dev === b.dev;
}

export type RecordDirectories = Readonly<Record<RecordKind, RecordDirectory>>;
export type DirectoryIds = Readonly<Record<RecordKind, DirectoryId>>;

/** Opens both. Throws as the constructor of `RecordDirectory` does. */
export function openDirectories({ of }: KubeletPaths, expected?: DirectoryIds): RecordDirectories {
  const intent = new RecordDirectory(of.intent, expected?.intent);
  try {
    return { intent, pulled: new RecordDirectory(of.pulled, expected?.pulled) };
  } catch (cause) {
    intent.close();
    throw cause;
  }
}

export function closeDirectories({ intent, pulled }: RecordDirectories): void {
  intent.close();
  pulled.close();
}
