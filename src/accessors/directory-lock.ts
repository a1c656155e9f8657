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
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { close, constants, fstat, open } from 'node:fs';
import {
  link,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errorCode, PullManagerError, quote, storeError } from '../errors.ts';
import { makeDirectory } from './directories.ts';

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

/** The content of `LOCK.json`. */
interface Owner {
  readonly nonce: string;
  readonly mechanism: 'flock' | 'file';
  readonly pid: number;
  /** Clock ticks from boot to the start of the process; tells apart two uses of one pid. */
  readonly startTime: string | null;
  readonly bootId: string | null;
  readonly pidNamespace: string | null;
  readonly hostname: string;
  /** When the lock was taken, ISO 8601. */
  readonly since: string;
}

/** What is in an owner's or claimant's file; `nonce` is made up where the content is not ours. */
interface Entry {
  readonly nonce: string;
  readonly owner: Owner | undefined;
}

type Verdict = 'alive' | 'dead' | 'unknown';

const FILE_MODE = 0o600;
const LOCK_FILE = 'LOCK';
const OWNER_FILE = 'LOCK.json';
const OWNER_FILE_BYTES_MAX = 4096;
const FLOCK_TIMEOUT_MS = 10_000;
/** How long a kernel lock without a living owner may last: a process is dying or letting go. */
const BUSY_WAIT_MS = 500;
const BUSY_POLL_MS = 20;
const ATTEMPTS_MAX = 64;
const CLAIM_DEPTH_MAX = 16;

const openFd = promisify(open);
const closeFd = promisify(close);
const fstatFd = promisify(fstat);

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
    if (fd !== undefined) await closeFd(fd);
    throw asStoreError(path, cause);
  }
}

/** Keeps owners away from a directory without becoming one, until it is released. */
export interface ReadLock extends AsyncDisposable {}

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
    if (fd !== undefined) await closeFd(fd);
    throw asStoreError(path, cause);
  }
  return {
    async [Symbol.asyncDispose]() {
      if (fd !== undefined) await closeFd(fd).catch(() => {});
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
    if (this.#fd !== undefined) await closeFd(this.#fd).catch(() => {});
  }
}

type LockMode = 'exclusive' | 'shared';

/** Neither truncates nor writes: the file may be somebody else's. A shared lock creates nothing. */
const OPEN_FLAGS: Readonly<Record<LockMode, number>> = {
  exclusive: constants.O_RDWR | constants.O_CREAT,
  shared: constants.O_RDONLY | (constants.O_NONBLOCK ?? 0),
};

/**
 * The descriptor that has the kernel's lock; undefined where there is no way to get one, or nothing to
 * share.
 */
async function lockInKernel(directory: string, mode: LockMode): Promise<number | undefined> {
  const lockPath = join(directory, LOCK_FILE);
  const deadline = performance.now() + BUSY_WAIT_MS;
  for (;;) {
    let fd: number;
    try {
      fd = await openFd(lockPath, OPEN_FLAGS[mode], FILE_MODE);
    } catch (cause) {
      if (mode === 'shared' && errorCode(cause) === 'ENOENT') return undefined;
      throw cause;
    }
    let outcome: FlockOutcome = 'unavailable';
    try {
      outcome = await runFlock(fd, mode);
      if (outcome === 'locked' && (await isSameFile(fd, lockPath))) return fd;
    } catch (cause) {
      await closeFd(fd);
      throw cause;
    }
    await closeFd(fd);
    if (outcome === 'unavailable') return undefined;
    const entry = await readEntry(join(directory, OWNER_FILE));
    const verdict = entry === undefined ? 'dead' : await judge(entry, undefined);
    if (outcome === 'busy' && (verdict === 'alive' || performance.now() > deadline)) {
      throw inUse(directory, entry?.owner, true);
    }
    await delay(BUSY_POLL_MS);
  }
}

/** False if somebody removed or replaced the file since it was opened: that lock keeps nobody out. */
async function isSameFile(fd: number, path: string): Promise<boolean> {
  const opened = await fstatFd(fd);
  try {
    const named = await stat(path);
    return named.ino === opened.ino && named.dev === opened.dev;
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw cause;
  }
}

type FlockOutcome = 'locked' | 'busy' | 'unavailable';

/** Has the `flock` program (util-linux, busybox) lock our descriptor, as its number 3. */
function runFlock(fd: number, mode: LockMode): Promise<FlockOutcome> {
  return new Promise((settle) => {
    let stderr = '';
    try {
      const child = spawn('flock', [mode === 'shared' ? '-s' : '-x', '-n', '3'], {
        stdio: ['ignore', 'ignore', 'pipe', fd],
        timeout: FLOCK_TIMEOUT_MS,
      });
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        stderr = `${stderr}${text}`.slice(0, OWNER_FILE_BYTES_MAX);
      });
      child.on('error', () => settle('unavailable'));
      child.on('close', (code) => {
        if (code === 0) settle('locked');
        // A silent 1 means busy. Anything else: no such option, no locks on this file system.
        else settle(code === 1 && stderr === '' ? 'busy' : 'unavailable');
      });
    } catch {
      settle('unavailable');
    }
  });
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

/** Whether the process of an entry still lives, as far as `self` can tell. */
async function judge(entry: Entry, self: Owner | undefined): Promise<Verdict> {
  const { owner } = entry;
  if (owner === undefined) return 'dead';
  // Had he lived, his kernel lock would have kept us from getting here.
  if (owner.mechanism === 'flock' && self?.mechanism === 'flock') return 'dead';
  const here = self ?? (await describeSelf('file'));
  if (owner.bootId !== here.bootId && owner.bootId !== null && here.bootId !== null) return 'dead';
  if (owner.pidNamespace !== here.pidNamespace) return 'unknown';
  if (here.bootId === null && owner.hostname !== here.hostname) return 'unknown';
  try {
    process.kill(owner.pid, 0);
  } catch (cause) {
    if (errorCode(cause) === 'ESRCH') return 'dead';
  }
  const current = await readProcess(owner.pid);
  if (current === undefined) return 'alive';
  if (current.isZombie) return 'dead';
  return owner.startTime !== null && current.startTime !== owner.startTime ? 'dead' : 'alive';
}

async function describeSelf(mechanism: 'flock' | 'file'): Promise<Owner> {
  const [current, bootId, pidNamespace] = await Promise.all([
    readProcess(process.pid),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
      (text) => text.trim(),
      () => null,
    ),
    readlink('/proc/self/ns/pid').catch(() => null),
  ]);
  return {
    nonce: randomBytes(16).toString('hex'),
    mechanism,
    pid: process.pid,
    startTime: current?.startTime ?? null,
    bootId,
    pidNamespace,
    hostname: hostname(),
    since: new Date().toISOString(),
  };
}

/** State and start of a process; undefined where the system does not tell. */
async function readProcess(
  pid: number,
): Promise<{ isZombie: boolean; startTime: string } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The second field, the command in parentheses, may itself have blanks and parentheses.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state, startTime] = [fields[0], fields[19]];
    if (state === undefined || startTime === undefined) return undefined;
    return { isZombie: state === 'Z' || state === 'X', startTime };
  } catch {
    return undefined;
  }
}

/** Undefined if there is no such file; an entry without an owner if it is not one of ours. */
async function readEntry(path: string): Promise<Entry | undefined> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw cause;
  }
  const owner = parseOwner(content);
  if (owner !== undefined) return { nonce: owner.nonce, owner };
  return { nonce: createHash('sha256').update(content).digest('hex'), owner: undefined };
}

function parseOwner(content: Buffer): Owner | undefined {
  if (content.byteLength > OWNER_FILE_BYTES_MAX) return undefined;
  let value: Partial<Record<keyof Owner, unknown>>;
  try {
    value = Object(JSON.parse(content.toString('utf8')));
  } catch {
    return undefined;
  }
  const { nonce, mechanism, pid, startTime, bootId, pidNamespace } = value;
  // The nonce becomes part of a file name, the pid an argument of kill: -1 would mean everybody.
  if (typeof nonce !== 'string' || !/^[0-9a-f]{32}$/.test(nonce)) return undefined;
  if (mechanism !== 'flock' && mechanism !== 'file') return undefined;
  if (typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 0 || pid > 0x7fffffff) {
    return undefined;
  }
  return {
    nonce,
    mechanism,
    pid,
    startTime: textOrNull(startTime),
    bootId: textOrNull(bootId),
    pidNamespace: textOrNull(pidNamespace),
    hostname: textOrNull(value.hostname) ?? '',
    since: /^[\dTZ:.-]{1,32}$/.exec(textOrNull(value.since) ?? '')?.[0] ?? 'an unknown time',
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
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

function inUse(directory: string, owner: Owner | undefined, isCertain: boolean): PullManagerError {
  const who =
    owner === undefined
      ? 'another process'
      : `process ${owner.pid} on ${quote(owner.hostname)} since ${owner.since}`;
  const ownerPath = quote(join(directory, OWNER_FILE));
  const doubt = isCertain
    ? ''
    : `, in a container that cannot be looked into from here: if it is gone, delete ${ownerPath}`;
  const message = `the store directory ${quote(directory)} is in use by ${who}${doubt}`;
  return new PullManagerError('STORE_IN_USE', message, { path: directory });
}

function asStoreError(path: string, cause: unknown): PullManagerError {
  const code = errorCode(cause);
  if (code === 'EEXIST' || code === 'ENOTDIR') {
    const message = `the store directory ${quote(path)} is a file, or lies below one`;
    return new PullManagerError('STORE_UNAVAILABLE', message, { path, cause });
  }
  return storeError(`cannot take the store directory ${quote(path)}`, cause, path);
}
