/** The kernel's lock on a store directory, taken by the `flock` program on a descriptor of ours. */
import { spawn } from 'node:child_process';
import { close, constants, fstat, open } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errorCode } from '../errors.ts';
import { FILE_MODE, inUse, judge, OWNER_FILE, readEntry } from './lock-owner.ts';

const LOCK_FILE = 'LOCK';
const FLOCK_TIMEOUT_MS = 10_000;
const STDERR_LENGTH_MAX = 4096;
/** How long a kernel lock without a living owner may last: a process is dying or letting go. */
const BUSY_WAIT_MS = 500;
const BUSY_POLL_MS = 20;

const openFd = promisify(open);
const closeFd = promisify(close);
const fstatFd = promisify(fstat);

type LockMode = 'exclusive' | 'shared';

/** Neither truncates nor writes: the file may be somebody else's. A shared lock creates nothing. */
const OPEN_FLAGS: Readonly<Record<LockMode, number>> = {
  exclusive: constants.O_RDWR | constants.O_CREAT,
  shared: constants.O_RDONLY | (constants.O_NONBLOCK ?? 0),
};

/**
 * The descriptor that has the kernel's lock; undefined where there is no way to get one, or nothing to
 * share. Never waits for an owner.
 *
 * @throws `STORE_IN_USE`; errors of the file system.
 */
export async function lockInKernel(directory: string, mode: LockMode): Promise<number | undefined> {
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
      await closeLock(fd);
      throw cause;
    }
    await closeLock(fd);
    if (outcome === 'unavailable') return undefined;
    const entry = await readEntry(join(directory, OWNER_FILE));
    const verdict = entry === undefined ? 'dead' : await judge(entry, undefined);
    if (outcome === 'busy' && (verdict === 'alive' || performance.now() > deadline)) {
      throw inUse(directory, entry?.owner, true);
    }
    await delay(BUSY_POLL_MS);
  }
}

/** Gives a kernel's lock up. Never rejects: the descriptor is gone, whatever is said of it. */
export async function closeLock(fd: number): Promise<void> {
  await closeFd(fd).catch(() => {});
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
        stderr = `${stderr}${text}`.slice(0, STDERR_LENGTH_MAX);
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
