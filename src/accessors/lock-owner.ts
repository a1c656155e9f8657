/** Who owns a store directory: the entry in it, and whether its process still lives. */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errorCode, PullManagerError, quote } from '../errors.ts';

/** The content of `LOCK.json`. */
export interface Owner {
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
export interface Entry {
  readonly nonce: string;
  readonly owner: Owner | undefined;
}

/** `unknown`: in a container that cannot be looked into from here. */
export type Verdict = 'alive' | 'dead' | 'unknown';

/** Of the files of a lock: the owner's alone. */
export const FILE_MODE = 0o600;
/** Holds the entry of the owner. */
export const OWNER_FILE = 'LOCK.json';
const OWNER_FILE_BYTES_MAX = 4096;

/** Whether the process of an entry still lives, as far as `self` can tell. */
export async function judge(entry: Entry, self: Owner | undefined): Promise<Verdict> {
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

/** This process as an owner, with a new nonce. */
export async function describeSelf(mechanism: 'flock' | 'file'): Promise<Owner> {
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
export async function readEntry(path: string): Promise<Entry | undefined> {
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

/** The error that somebody else owns the directory; not `isCertain` if that cannot be looked up. */
export function inUse(
  directory: string,
  owner: Owner | undefined,
  isCertain: boolean,
): PullManagerError {
  const who =
    owner === undefined
      ? 'another process'
      : `process ${owner.pid} on ${quote(owner.hostname)} since ${owner.since}`;
  const ownerPath = quote(join(directory, OWNER_FILE));
  const doubt = isCertain
    ? ''
    : `, in a container that cannot be looked into from here: if it is gone, delete ${ownerPath}`;
  const reason = `is in use by ${who}${doubt}`;
  const message = `the store directory ${quote(directory)} ${reason}`;
  return new PullManagerError('STORE_IN_USE', message, { path: directory, reason });
}
