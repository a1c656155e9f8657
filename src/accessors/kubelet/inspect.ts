/** Looks at the kubelet's files one by one, and takes bad ones aside. */
import { linkSync, lstatSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { errorCode, invalidArgument, quote, storeError } from '../../errors.ts';
import { flushDirectory, makeDirectory } from '../directories.ts';
import type { Finding } from '../inspection.ts';
import { currentState } from './file-state.ts';
import { isUnavailable, readRecordFile } from './found-file.ts';
import { isRecordName, type KubeletPaths, type RecordKind } from './layout.ts';
import { RECORD_PREFIX } from './record-file.ts';

/** In the order of their directories' names. */
export const KINDS: readonly RecordKind[] = ['pulled', 'intent'];
/** Files between two turns of the event loop. */
const SLICE_FILES = 64;
/** A temporary file that has not changed for so long has no writer any more. */
const WRITER_MS_MAX = 60_000;
/** Names tried for a file in quarantine. */
const NAMES_MAX = 10_000;

/** All files that are, or were to become, records; other files in the directories are nobody's matter. */
export async function* inspectFiles(
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
  kinds: readonly RecordKind[] = KINDS,
): AsyncGenerator<Finding, void, void> {
  for (const kind of kinds) {
    const directory = paths.of[kind];
    const names = readdirSync(directory).filter((name) => name.startsWith(RECORD_PREFIX));
    for (const [index, name] of names.sort().entries()) {
      if (index % SLICE_FILES === 0) await turnOfEventLoop();
      const entry = inspectFile(directory, kind, name, behaviour);
      if (entry !== undefined) yield entry;
    }
  }
}

/** Undefined: it is gone again, or about to get its name. */
function inspectFile(
  directory: string,
  kind: RecordKind,
  name: string,
  behaviour: KubeletBehaviour,
): Finding | undefined {
  const location = join(directory, name);
  if (!isRecordName(name)) {
    if (isJustWritten(location)) return undefined;
    const reason = 'it is a temporary file whose writer did not get to the end';
    return { kind, verdict: 'orphan', location, reason };
  }
  const found = readRecordFile(directory, kind, name, behaviour);
  if (found === undefined) return undefined;
  const { record, error } = found;
  const key = record === undefined ? {} : { key: record.key };
  if (error === undefined) return { kind, verdict: 'valid', location, ...key };
  const { reason = error.message, offset } = error;
  // It may be as good as ever.
  const isUnread = found.isUnread || isUnavailable(error);
  const verdict = isUnread ? 'unread' : record === undefined ? 'undecodable' : 'misfiled';
  return { kind, verdict, location, ...key, reason, ...(offset === undefined ? {} : { offset }) };
}

/** A temporary file may have a writer that is alive. */
function isJustWritten(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats === undefined || Math.abs(Date.now() - stats.mtimeMs) < WRITER_MS_MAX;
}

/**
 * Moves a bad file out of the kubelet's sight, to `.pullwarden/quarantine`; durable when it resolves.
 * One that was replaced or removed since it was found stays as it is.
 *
 * @returns where it is now; undefined: nothing bad is there any more.
 * @throws `INVALID_ARGUMENT` for a location that is not a file of these directories,
 * `STORE_UNAVAILABLE`.
 */
export async function quarantineFile(
  { of, quarantine }: KubeletPaths,
  behaviour: KubeletBehaviour,
  { kind, location }: Finding,
): Promise<string | undefined> {
  const name = basename(location);
  if (kind === 'store' || dirname(location) !== of[kind] || !name.startsWith(RECORD_PREFIX)) {
    throw invalidArgument('location', `${quote(location)} is no record file of this store`);
  }
  try {
    await makeDirectory(quarantine);
    const place = await freePath(join(quarantine, `${basename(of[kind])}-${name}`));
    const { id } = currentState(location);
    const found = inspectFile(of[kind], kind, name, behaviour);
    // One that is not read is no damage.
    const isSound = found?.verdict === 'valid' || found?.verdict === 'unread';
    if (found === undefined || isSound) return undefined;
    renameSync(location, place);
    if (currentState(place).id !== id) {
      // Somebody was faster: what was moved was never looked at.
      putBack(place, location);
      return undefined;
    }
    // First where it is to be, then where it is no longer.
    await flushDirectory(quarantine);
    await flushDirectory(of[kind]);
    return place;
  } catch (cause) {
    throw storeError(`cannot move ${quote(location)} to quarantine`, cause, location);
  }
}

/** Where yet another file has come to its old place, that one stays, and this one is kept aside. */
function putBack(place: string, location: string): void {
  try {
    linkSync(place, location);
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return;
    throw cause;
  }
  unlinkSync(place);
}

async function freePath(path: string): Promise<string> {
  for (let number = 1; number < NAMES_MAX; number++) {
    const candidate = number === 1 ? path : `${path}.${number}`;
    try {
      await lstat(candidate);
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return candidate;
      throw cause;
    }
  }
  throw invalidArgument('location', `${quote(path)} is in quarantine too many times`);
}
