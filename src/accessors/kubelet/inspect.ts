/** Looks at the kubelet's files one by one, and takes bad ones aside. */
import { lstatSync, readdirSync } from 'node:fs';
import { link, lstat, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { errorCode, invalidArgument, quote, storeError } from '../../errors.ts';
import { flushDirectory, makeDirectory } from '../directories.ts';
import type { InspectedEntry } from '../inspection.ts';
import { readRecordFile } from './found-file.ts';
import { isRecordName, type KubeletPaths, type RecordKind } from './layout.ts';
import { RECORD_PREFIX, recordFileName } from './record-file.ts';

/** In the order of their directories' names. */
const KINDS: readonly RecordKind[] = ['pulled', 'intent'];
/** Files between two turns of the event loop. */
const SLICE_FILES = 64;
/** How old a temporary file has to be for its writer to be gone. */
const ORPHAN_AGE_MS = 60_000;
/** Names tried for a file in quarantine. */
const NAMES_MAX = 10_000;

/** All files that are, or were to become, records; other files in the directories are nobody's matter. */
export async function* inspectFiles(
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): AsyncGenerator<InspectedEntry, void, void> {
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

/** Undefined: it is gone again, or not to be judged yet. */
function inspectFile(
  directory: string,
  kind: RecordKind,
  name: string,
  behaviour: KubeletBehaviour,
): InspectedEntry | undefined {
  const location = join(directory, name);
  if (!isRecordName(name)) {
    const stats = lstatSync(location, { throwIfNoEntry: false });
    // A kubelet may be just writing it.
    if (stats === undefined || Date.now() - stats.mtimeMs < ORPHAN_AGE_MS) return undefined;
    const reason = 'it is a temporary file whose writer did not get to the end';
    return { kind, verdict: 'orphan', location, reason };
  }
  const found = readRecordFile(directory, kind, name, behaviour);
  if (found === undefined) return undefined;
  const { record, error } = found;
  const key = record === undefined ? {} : { key: record.key };
  if (error === undefined) return { kind, verdict: 'valid', location, ...key };
  const { reason = error.message, offset } = error;
  const verdict = record === undefined ? 'undecodable' : 'misfiled';
  return { kind, verdict, location, ...key, reason, ...(offset === undefined ? {} : { offset }) };
}

/**
 * Moves a file out of the kubelet's sight, to `.pullwarden/quarantine`; durable when it resolves.
 * One that is good by now, or gone, stays.
 *
 * @returns where it is now; undefined: it was not moved.
 * @throws `INVALID_ARGUMENT` for a location that is not a file of these directories,
 * `STORE_UNAVAILABLE`.
 */
export async function quarantineFile(
  { of, quarantine }: KubeletPaths,
  { kind, location }: InspectedEntry,
  behaviour: KubeletBehaviour,
): Promise<string | undefined> {
  const name = basename(location);
  if (dirname(location) !== of[kind] || !name.startsWith(RECORD_PREFIX)) {
    throw invalidArgument('location', `${quote(location)} is no record file of this store`);
  }
  const isBad = (): boolean => {
    const now = inspectFile(of[kind], kind, name, behaviour);
    return now !== undefined && now.verdict !== 'valid';
  };
  try {
    if (!isBad()) return undefined;
    await makeDirectory(quarantine);
    const place = await freePath(join(quarantine, `${basename(of[kind])}-${name}`));
    await rename(location, place);
    if (isGood(place, kind, name, behaviour)) {
      // Replaced between the look and the rename: it goes back, unless there is a newer one again.
      await link(place, location).catch((cause: unknown) => {
        if (errorCode(cause) !== 'EEXIST') throw cause;
      });
      await flushDirectory(of[kind]);
      await unlink(place);
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

/** Whether a file is the record that belongs under `name`, wherever it is now. */
function isGood(
  path: string,
  kind: RecordKind,
  name: string,
  behaviour: KubeletBehaviour,
): boolean {
  if (!isRecordName(name)) return false;
  const found = readRecordFile(dirname(path), kind, basename(path), behaviour);
  return found?.record !== undefined && recordFileName(found.record.key) === name;
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
