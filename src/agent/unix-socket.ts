/**
 * The path of a unix socket that is the owner's alone: mode 0600 from the first instant, exclusive
 * while its server lives, free as soon as it is dead.
 *
 * The server listens in a directory of its own, which nobody else can enter, and the socket gets its
 * name by `link` only after its mode was set. A link replaces nothing, so of two agents that start at
 * once one finds the other's socket. A socket that refuses connections was left by a dead process: it
 * is moved away, and put back if it turns out to be another one than was asked.
 */
import { chmod, link, lstat, mkdtemp, rename, rmdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { errorCode, invalidArgument, PullManagerError, quote } from '../errors.ts';

const SOCKET_MODE = 0o600;
/** Of `sun_path` in the address of a unix socket, which ends with a NUL: 104 or, on Linux, 108. */
const PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103;
const DIRECTORY_PREFIX = '.pullwarden-';
const MKDTEMP_SUFFIX_LENGTH = 6;
const NAME = 's';
const ASIDE = 'dead';
const PROBE_TIMEOUT_MS = 2_000;
const ATTEMPTS_MAX = 16;

/** A socket's path that a server has. */
export interface ListeningSocket {
  /** Absolute. */
  readonly path: string;
  /** Removes the path, if it is still this server's. Never rejects. */
  remove(): Promise<void>;
}

interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
}

/**
 * Makes a server listen on a path. On failure the server is closed.
 *
 * Errors: `INVALID_ARGUMENT` for a path that cannot be one of a socket; `SOCKET_IN_USE` where a
 * process listens there; `SOCKET_UNAVAILABLE` where it cannot be made or something else is there.
 */
export async function listenOn(server: Server, path: string): Promise<ListeningSocket> {
  const target = pathOf(path);
  let directory: string | undefined;
  try {
    directory = await mkdtemp(join(dirname(target), DIRECTORY_PREFIX));
    const own = join(directory, NAME);
    await listen(server, own);
    await chmod(own, SOCKET_MODE);
    const { dev, ino } = await lstat(own);
    await takeName(own, target, directory);
    await unlink(own);
    await rmdir(directory);
    return { path: target, remove: () => removeOwn(target, { dev, ino }) };
  } catch (cause) {
    server.close();
    if (directory !== undefined) await clearAway(directory);
    if (cause instanceof PullManagerError) throw cause;
    const detail = errorCode(cause) ?? 'unknown error';
    throw unavailable(target, `cannot listen on ${quote(target)}: ${detail}`, cause);
  }
}

function pathOf(path: string): string {
  if (path === '' || path.includes('\0')) {
    throw invalidArgument('socket', `must be a path, not ${quote(path)}`);
  }
  const target = resolve(path);
  const temporary = join(
    dirname(target),
    DIRECTORY_PREFIX + 'X'.repeat(MKDTEMP_SUFFIX_LENGTH),
    NAME,
  );
  const excess = Math.max(Buffer.byteLength(target), Buffer.byteLength(temporary)) - PATH_BYTES_MAX;
  if (excess <= 0) return target;
  throw invalidArgument('socket', `is ${excess} bytes too long for a socket: ${quote(path)}`);
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

async function takeName(own: string, target: string, directory: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      await link(own, target);
      return;
    } catch (cause) {
      if (errorCode(cause) !== 'EEXIST') throw cause;
    }
    await moveDeadAway(target, join(directory, ASIDE));
  }
  throw unavailable(target, `${quote(target)} is taken again and again`, undefined);
}

/** Frees the path of a socket that nobody listens on; throws where somebody does. */
async function moveDeadAway(target: string, aside: string): Promise<void> {
  const found = await identityOf(target);
  if (found === undefined) return;
  if (!found.isSocket) {
    const message = `${quote(target)} is there already and is no socket: give another path, or remove it`;
    throw unavailable(target, message, undefined);
  }
  if (await isAlive(target)) {
    const message = `another process listens on ${quote(target)}: stop it, or give another path`;
    throw new PullManagerError('SOCKET_IN_USE', message, { path: target });
  }
  try {
    await rename(target, aside);
  } catch (cause) {
    // Somebody else has moved it away.
    if (errorCode(cause) === 'ENOENT') return;
    throw cause;
  }
  const moved = await identityOf(aside);
  const isSame = moved?.ino === found.ino && moved.dev === found.dev;
  // Another agent took the path in between: what was moved is alive, and must be found again.
  if (!isSame) await link(aside, target).catch(() => {});
  await unlink(aside);
}

async function identityOf(
  path: string,
): Promise<(FileIdentity & { isSocket: boolean }) | undefined> {
  try {
    const stats = await lstat(path);
    return { dev: stats.dev, ino: stats.ino, isSocket: stats.isSocket() };
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw cause;
  }
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

async function removeOwn(target: string, own: FileIdentity): Promise<void> {
  try {
    const found = await identityOf(target);
    if (found?.ino === own.ino && found.dev === own.dev) await unlink(target);
  } catch {
    // The next agent finds it dead.
  }
}

async function clearAway(directory: string): Promise<void> {
  for (const name of [NAME, ASIDE]) await unlink(join(directory, name)).catch(() => {});
  await rmdir(directory).catch(() => {});
}

function unavailable(path: string, message: string, cause: unknown): PullManagerError {
  return new PullManagerError('SOCKET_UNAVAILABLE', message, { path, cause });
}
