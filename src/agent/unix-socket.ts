/**
 * The path of a unix socket that is its owner's alone: mode 0600 from the first instant, of one server
 * at a time, and free as soon as that is dead.
 *
 * Beside `PATH` there is the directory `PATH.lock`, which nobody else can enter and which one server
 * at a time can lock. In there the socket is made and gets its mode; only then it is moved to its
 * place, over one that a dead server has left. A socket on which somebody listens who knows nothing of
 * the lock is left alone.
 */
import { chmod, lstat, rename, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { acquireDirectoryLock, type DirectoryLock } from '../accessors/directory-lock.ts';
import {
  errorCode,
  invalidArgument,
  PULL_MANAGER_ERROR_CODES,
  PullManagerError,
  quote,
} from '../errors.ts';

const SOCKET_MODE = 0o600;
/** What the group and everybody else may do. */
const MODE_OF_OTHERS = 0o077;
const LOCK_SUFFIX = '.lock';
/** Of the socket until it is in its place; short, because the length of its path is limited. */
const NEW_NAME = 's';
/** Of `sun_path` in the address of a unix socket, which ends with a NUL: 104 or, on Linux, 108. */
const ADDRESS_BYTES_MAX = process.platform === 'linux' ? 107 : 103;
const PATH_BYTES_MAX = ADDRESS_BYTES_MAX - `${LOCK_SUFFIX}/${NEW_NAME}`.length;
const PROBE_TIMEOUT_MS = 2_000;

/** A socket's path that a server has. */
export interface ListeningSocket {
  /** Absolute. */
  readonly path: string;
  /**
   * Removes the socket, closes the server for new connections, and lets others have the path. Never
   * rejects.
   */
  stop(): Promise<void>;
}

/**
 * Makes a server listen on a path of at most 100 bytes (96 where systems allow less); directories that
 * are missing are made, with mode 0700. On failure the server does not listen.
 *
 * Errors: `INVALID_ARGUMENT` for a path that cannot be a socket's; `SOCKET_IN_USE` where a process
 * listens there; `SOCKET_UNAVAILABLE` where it cannot be made or something else is there.
 */
export async function listenOn(server: Server, path: string): Promise<ListeningSocket> {
  const target = socketPathOf(path);
  const lock = await lockOf(target);
  try {
    const made = join(lock.path, NEW_NAME);
    await refuseOthers(target);
    await unlinkIfThere(made);
    await listen(server, made);
    await chmod(made, SOCKET_MODE);
    await rename(made, target);
  } catch (cause) {
    server.close();
    await lock.release();
    throw asSocketError(target, cause);
  }
  const stop = async (): Promise<void> => {
    // One that stays is found dead by the next server.
    await unlinkIfThere(target).catch(() => {});
    // Before the lock goes: closing also removes what has the name that the socket was made under.
    server.close();
    await lock.release();
  };
  let stopped: Promise<void> | undefined;
  return {
    path: target,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** The absolute path of a socket; throws `INVALID_ARGUMENT` where it cannot be one's. */
export function socketPathOf(path: string): string {
  if (path === '' || path.includes('\0')) {
    throw invalidArgument('socket', `must be a path, not ${quote(path)}`);
  }
  const target = resolve(path);
  const excess = Buffer.byteLength(target) - PATH_BYTES_MAX;
  if (excess <= 0) return target;
  const problem = `is ${excess} bytes too long for a socket, give a shorter path: ${quote(path)}`;
  throw invalidArgument('socket', problem);
}

async function lockOf(target: string): Promise<DirectoryLock> {
  const directory = `${target}${LOCK_SUFFIX}`;
  const lock = await acquire(target, directory);
  // Who can write there could put a socket of their own in place of ours before it is moved.
  const stats = await lstat(directory).catch(() => undefined);
  const isOurs = stats?.isDirectory() === true && stats.uid === process.getuid?.();
  if (isOurs && (stats.mode & MODE_OF_OTHERS) === 0) return lock;
  await lock.release();
  const message = `${quote(directory)} must be a directory that its owner alone, the user of this process, can enter`;
  throw new PullManagerError('SOCKET_UNAVAILABLE', message, { path: target });
}

async function acquire(target: string, directory: string): Promise<DirectoryLock> {
  try {
    return await acquireDirectoryLock(directory);
  } catch (cause) {
    if (errorCode(cause) !== PULL_MANAGER_ERROR_CODES.STORE_IN_USE) {
      throw asSocketError(target, (cause as Error).cause ?? cause);
    }
    const { reason } = cause as PullManagerError;
    const message = `another agent has ${quote(target)}: its lock ${quote(directory)} ${reason}`;
    throw new PullManagerError('SOCKET_IN_USE', message, { path: target, cause });
  }
}

/** Throws where the path is taken by anything but a socket that nobody listens on. */
async function refuseOthers(target: string): Promise<void> {
  const stats = await lstat(target).catch((cause: unknown) => {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw cause;
  });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    const message = `${quote(target)} is there already and is no socket: give another path, or remove it`;
    throw new PullManagerError('SOCKET_UNAVAILABLE', message, { path: target });
  }
  if (!(await isAlive(target))) return;
  const message = `another process listens on ${quote(target)}: stop it, or give another path`;
  throw new PullManagerError('SOCKET_IN_USE', message, { path: target });
}

/** Whether somebody listens. Only a refusal says that nobody does: a full queue is life. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((succeed, fail) => {
    const socket = connect(path);
    const timer = setTimeout(() => end(() => succeed(true)), PROBE_TIMEOUT_MS);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      settle();
    };
    socket.on('connect', () => end(() => succeed(true)));
    socket.on('error', (error) => {
      const code = errorCode(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') end(() => succeed(false));
      else if (code === 'EAGAIN') end(() => succeed(true));
      else end(() => fail(error));
    });
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((succeed, fail) => {
    server.once('error', fail);
    server.listen(path, () => {
      server.removeListener('error', fail);
      succeed();
    });
  });
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (errorCode(cause) !== 'ENOENT') throw cause;
  }
}

function asSocketError(path: string, cause: unknown): PullManagerError {
  if (cause instanceof PullManagerError) return cause;
  const message = `cannot listen on ${quote(path)}: ${errorCode(cause) ?? 'unknown error'}`;
  return new PullManagerError('SOCKET_UNAVAILABLE', message, { path, cause });
}
