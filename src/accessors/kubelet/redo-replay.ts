/**
 * Brings to the kubelet's files what a run that did not end in order had acknowledged.
 *
 * A kubelet may have used the directory in between. So the file of each key is looked at first: one
 * that the log knows is brought up to date exactly; to any other the proofs are added, an intent is
 * only ever added, and nothing is deleted, because an image whose record or intent went would look
 * preloaded.
 *
 * A file that cannot be written, because a directory has its name or it is immutable, keeps nobody
 * from the rest: what its key lacks goes to a log of its own, for the next replay.
 */

import { join } from 'node:path';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { errorCode } from '../../errors.ts';
import { applyChange } from '../../records/merge.ts';
import type { PulledRecord } from '../../records/record.ts';
import { RecordBuilder } from '../../records/record-builder.ts';
import { flushDirectory } from '../directories.ts';
import { BackgroundWork } from '../journal/background.ts';
import { removeQuietly } from '../journal/file-io.ts';
import { type JournalFile, listJournalFiles } from '../journal/file-names.ts';
import type { Pacer } from '../journal/pacer.ts';
import { type FileChange, FilePlacer } from './file-placer.ts';
import { NO_FILE, type PlacedFiles } from './file-state.ts';
import { writeOf } from './filed-write.ts';
import { isUnavailable, readRecordFile, type Value } from './found-file.ts';
import { filedRecord } from './join.ts';
import type { KubeletPaths, RecordKind } from './layout.ts';
import type { RecordDirectories } from './record-directory.ts';
import { recordFileName } from './record-format.ts';
import { RedoLog } from './redo-log.ts';
import { type LoggedKey, readRedoLog } from './redo-reader.ts';
import { joinValues } from './shelf.ts';

export interface ReplayOptions {
  readonly paths: KubeletPaths;
  readonly directories: RecordDirectories;
  readonly behaviour: KubeletBehaviour;
  readonly placed: PlacedFiles;
  readonly pacer: Pacer;
  /** Only this worker's log. @default those of all workers there have been */
  readonly partition?: number;
}

/** A key whose file does not have what was acknowledged. Structured-cloneable. */
export interface UnappliedKey {
  readonly kind: RecordKind;
  readonly key: string;
  readonly path: string;
  /** Why it could not be written. */
  readonly reason: string;
}

/** Partitions from here on are of no worker: logs of what could not be applied. */
const CARRIED_FROM = 1000;
/** A replacement of each worker, and the host, count in steps of their own. */
const CARRIED_STEP = 100;
/** Changes made between two flushes. */
const CHANGES_MAX = 4096;
/** Times that a change is worked out anew because its file was replaced meanwhile. */
const ATTEMPTS_MAX = 8;

/**
 * Replays redo logs into the kubelet's files and removes them. Repeating it after a crash ends in
 * the same state. Nobody else of ours may be writing to the partitions' keys.
 *
 * @returns the keys whose files could not be written: what they lack stays logged.
 * @throws `STORE_CORRUPT` where a log is damaged: it is left as it is. `STORE_UNAVAILABLE`,
 * `STORE_VERSION_UNSUPPORTED`.
 */
export async function replayRedoLogs(options: ReplayOptions): Promise<UnappliedKey[]> {
  const { paths, partition } = options;
  const partitions = new Map<number, JournalFile[]>();
  for (const file of await listJournalFiles(paths.redo)) {
    if (partition !== undefined && file.partition !== partition) continue;
    const files = partitions.get(file.partition) ?? [];
    files.push(file);
    partitions.set(file.partition, files);
  }
  const logged: LoggedKey[] = [];
  for (const files of partitions.values()) {
    for (const key of await readRedoLog(files, options.pacer)) logged.push(key);
  }
  const stuck = await applyLogged(options, logged);
  if (stuck.size > 0) await carry(options, stuck);
  for (const files of partitions.values()) {
    for (const file of files) await removeQuietly(file.path);
  }
  if (partitions.size > 0) await flushDirectory(paths.redo);
  return Array.from(stuck, ([{ kind, key }, reason]) => {
    return { kind, key, path: join(paths.of[kind], recordFileName(key)), reason };
  });
}

/** Answers the keys whose files could not be written, and why. */
async function applyLogged(
  options: ReplayOptions,
  logged: readonly LoggedKey[],
): Promise<Map<LoggedKey, string>> {
  const { paths, directories, behaviour, placed, pacer } = options;
  const prefix = `replay-${options.partition ?? 'all'}`;
  const placer = new FilePlacer({
    paths,
    directories,
    behaviour,
    placed,
    prefix,
    mayBlock: false,
  });
  const stuck = new Map<LoggedKey, string>();
  let waiting = logged;
  for (let attempt = 0; waiting.length > 0 && attempt < ATTEMPTS_MAX; attempt++) {
    const again: LoggedKey[] = [];
    for (let from = 0; from < waiting.length; from += CHANGES_MAX) {
      const changes: LoggedChange[] = [];
      for (const key of waiting.slice(from, from + CHANGES_MAX)) {
        const change = changeOf(key, paths, behaviour);
        if (change !== undefined) changes.push(change);
        await pacer.pause();
      }
      for (const prepared of await placer.prepare(changes)) {
        const { logged: key } = prepared.change;
        try {
          if (placer.place(prepared) === undefined) again.push(key);
        } catch (cause) {
          stuck.set(key, errorCode(cause) ?? 'unknown error');
          await placer.discard(prepared);
        }
        await pacer.pause();
      }
    }
    waiting = again;
  }
  for (const key of waiting) stuck.set(key, 'it is replaced again and again');
  await placer.flushNames(new Set(logged.map(({ kind }) => kind)));
  return stuck;
}

/** Logs what keys lack in a partition of its own; durable when it resolves. */
async function carry(options: ReplayOptions, stuck: ReadonlyMap<LoggedKey, string>): Promise<void> {
  const { paths, behaviour } = options;
  const taken = new Set((await listJournalFiles(paths.redo)).map(({ partition }) => partition));
  let partition = CARRIED_FROM + (options.partition ?? -1) + 1;
  while (taken.has(partition)) partition += CARRIED_STEP;
  const changes = new Map<string, LoggedChange>();
  for (const logged of stuck.keys()) {
    const change = changeOf(logged, paths, behaviour);
    if (change === undefined) continue;
    // A key may be in two logs: in one from before, which is read last, and in its worker's.
    const id = `${change.kind} ${change.key}`;
    const value = joinValues(change.value, changes.get(id)?.value);
    changes.set(id, { ...change, value });
  }
  const background = new BackgroundWork();
  const { redo: directory } = paths;
  const redo = await RedoLog.open({ directory, partition, mayBlock: false, background });
  try {
    for (const change of changes.values()) {
      const fileOf = (): number => change.expected.id;
      await redo.appendWrites([writeOf(change)], fileOf, () => {});
    }
  } finally {
    await redo.close(false);
    await background.pending;
  }
}

export interface LoggedChange extends FileChange {
  readonly logged: LoggedKey;
}

/** What has to become of a key's file; undefined: nothing. Throws `STORE_UNAVAILABLE`. */
export function changeOf(
  logged: LoggedKey,
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): LoggedChange | undefined {
  const { kind, key } = logged;
  const name = recordFileName(key);
  const found = readRecordFile(paths.of[kind], kind, name, behaviour);
  // What is in it would be lost.
  if (isUnavailable(found?.error)) throw found?.error;
  const expected = found?.state ?? NO_FILE;
  const filed = found?.error === undefined ? found?.record?.value : undefined;
  const value = filedValue(resolve(logged, expected.id, filed, found?.error !== undefined));
  if (value === KEEP || (value === filed && (value !== undefined || expected.id === 0))) {
    return undefined;
  }
  const isMisfiled = found?.error !== undefined && found.record !== undefined;
  const rescueTo = isMisfiled ? recordFileName(found.record.key) : undefined;
  return { kind, key, name, value, expected, rescueTo, logged };
}

const KEEP = Symbol('as it is');

/**
 * What a key has after the logged writes, given its file.
 *
 * @param filed - what the file has; undefined: nothing that could be read.
 */
function resolve(
  { key, writes, placed }: LoggedKey,
  fileId: number,
  filed: Value | undefined,
  isDamaged: boolean,
): Value | undefined | typeof KEEP {
  const covers = placed.get(fileId);
  if (covers !== undefined) {
    // Ours, with all writes up to there.
    return applyAll(
      key,
      filed,
      writes.filter(({ sequence }) => sequence > covers),
    );
  }
  const known = writes.findIndex((write) => write.fileId === fileId);
  const before = applyAll(key, undefined, known < 0 ? writes : writes.slice(0, known));
  if (known < 0 && isDamaged && before === undefined) return KEEP;
  const joined = joinValues(before, filed);
  return known < 0 ? joined : applyAll(key, joined, writes.slice(known));
}

function applyAll(
  key: string,
  start: Value | undefined,
  writes: LoggedKey['writes'],
): Value | undefined {
  let value = start;
  let builder: RecordBuilder | undefined;
  for (const { effect } of writes) {
    if ('value' in effect) {
      builder = undefined;
      value = effect.value;
    } else if (value === undefined) {
      value = applyChange(undefined, key, effect.change, effect.updatedAtMs);
    } else {
      builder ??= new RecordBuilder(value as PulledRecord);
      builder.change(effect.change, effect.updatedAtMs);
    }
  }
  return builder?.build() ?? value;
}

function filedValue(value: Value | undefined | typeof KEEP): Value | undefined | typeof KEEP {
  return typeof value === 'object' ? filedRecord(value) : value;
}
