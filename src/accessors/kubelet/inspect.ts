/** Looks at the kubelet's files one by one, and takes bad ones aside. */
import { readdirSync } from 'node:fs';
import { lstat, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { errorCode, invalidArgument, quote, storeError } from '../../errors.ts';
import { flushDirectory, makeDirectory } from '../directories.ts';
import type { Finding } from '../inspection.ts';
import { readRecordFile } from './found-file.ts';
import { isRecordName, type KubeletPaths, type RecordKind } from './layout.ts';

/** In the order of their directories' names. */
const KINDS: readonly RecordKind[] = ['pulled', 'intent'];
/** Files between two turns of the event loop. */
const SLICE_FILES = 64;
const RECORD_PREFIX = 'sha256-';
/** Names tried for a file in quarantine. */
const NAMES_MAX = 10_000;

/** All files that are, or were to become, records; other files in the directories are nobody's matter. */
export async function* inspectFiles(
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): AsyncGenerator<Finding, void, void> {
  for (const kind of KINDS) {
    const directory = paths.of[kind];
    const names = readdirSync(directory).filter((name) => name.startsWith(RECORD_PREFIX));
    for (const [index, name] of names.sort().entries()) {
      if (index % SLICE_FILES === 0) await turnOfEventLoop();
      const entry = inspectFile(directory, kind, name, behaviour);
      if (entry !== undefined) yield entry;
    }
  }
}

/** Undefined: it is gone again. */
function inspectFile(
  directory: string,
  kind: RecordKind,
  name: string,
  behaviour: KubeletBehaviour,
): Finding | undefined {
  const location = join(directory, name);
  if (!isRecordName(name)) {
    const reason = 'it is a temporary file whose writer did not get to the end';
    return { kind, verdict: 'orphan', location, reason };
  }
  const found = readRecordFile(directory, kind, name, behaviour);
  if (found === undefined) return undefined;
  const { record, isUnread, error } = found;
  const key = record === undefined ? {} : { key: record.key };
  if (error === undefined) return { kind, verdict: 'valid', location, ...key };
  const { reason = error.message, offset } = error;
  const verdict = isUnread ? 'unread' : record === undefined ? 'undecodable' : 'misfiled';
  return { kind, verdict, location, ...key, reason, ...(offset === undefined ? {} : { offset }) };
}

/**
 * Moves a file out of the kubelet's sight, to `.pullwarden/quarantine`; durable when it resolves.
 *
 * @returns where it is now.
 * @throws `INVALID_ARGUMENT` for a location that is not a file of these directories,
 * `STORE_UNAVAILABLE`.
 */
export async function quarantineFile(
  { of, quarantine }: KubeletPaths,
  { kind, location }: Finding,
): Promise<string> {
  const name = basename(location);
  if (kind === 'store' || dirname(location) !== of[kind] || !name.startsWith(RECORD_PREFIX)) {
    throw invalidArgument('location', `${quote(location)} is no record file of this store`);
  }
  try {
    await makeDirectory(quarantine);
    const place = await freePath(join(quarantine, `${basename(of[kind])}-${name}`));
    await rename(location, place);
    // First where it is to be, then where it is no longer.
    await flushDirectory(quarantine);
    await flushDirectory(of[kind]);
    return place;
  } catch (cause) {
    throw storeError(`cannot move ${quote(location)} to quarantine`, cause, location);
  }
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
