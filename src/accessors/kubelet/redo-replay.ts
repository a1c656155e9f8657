/**
 * Brings to the kubelet's files what a run that did not end in order had acknowledged.
 *
 * A kubelet may have used the directory in between. So the file of each key is looked at first: one
 * that the log knows is brought up to date exactly; to any other the proofs are added, an intent is
 * only ever added, and nothing is deleted, because an image whose record or intent went would look
 * preloaded.
 *
 * A file that cannot be written, because a directory has its name or it is immutable, keeps nobody
 * from the rest: what its key lacks is carried in a log of the key's own, for the next replay. When the
 * key is deleted, that log goes first.
 */

import { join } from 'node:path';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { errorCode } from '../../errors.ts';
import { applyChange } from '../../records/merge.ts';
import type { PulledRecord } from '../../records/record.ts';
import { RecordBuilder } from '../../records/record-builder.ts';
import { BackgroundWork } from '../journal/background.ts';
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
import { RedoLog, removeLogs } from './redo-log.ts';
import { type LoggedKey, readRedoLog } from './redo-reader.ts';
import { joinValues } from './shelf.ts';

export interface ReplayOptions {
  readonly paths: KubeletPaths;
  readonly directories: RecordDirectories;
  readonly behaviour: KubeletBehaviour;
  readonly placed: PlacedFiles;
  readonly pacer: Pacer;
  /** The worker that replays what its predecessor left. @default none: the host, all there is */
  readonly worker?: number;
  /** Its own: another that died while it replayed may have left temporary files. @default 1 */
  readonly generation?: number;
  /** Keys of the worker that the host could not apply. */
  readonly inherited?: readonly UnappliedKey[];
}

/** A key whose file does not have what was acknowledged. Structured-cloneable. */
export interface UnappliedKey {
  readonly kind: RecordKind;
  readonly key: string;
  readonly path: string;
  /** Why it could not be written. */
  readonly reason: string;
  /** Of the log that carries what the file lacks. */
  readonly partition: number;
}

/** Partitions from here on are of no worker, but of a key each: what could not be applied. */
const CARRIED_FROM = 1000;
/** A replacement of each worker, and the host, count in steps of their own. */
const CARRIED_STEP = 100;
/** There is one for each key. */
const CARRIED_TUNING = { segmentBytesMin: 4096, segmentBytesMax: 4096 };
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
  const { paths, pacer } = options;
  const { logged, workers, carried, obsolete } = await readRedoLogs(
    paths.redo,
    pacer,
    (partition) => isWanted(partition, options),
  );
  const stuck = await applyLogged(options, logged);
  const unapplied = stuck.size === 0 ? [] : await carry(options, stuck);
  // What a worker's log deletes must not come back without that log.
  await removeLogs(paths.redo, obsolete);
  await removeLogs(paths.redo, workers);
  await removeLogs(paths.redo, carried);
  return unapplied;
}

interface RedoLogs {
  /** A key may be twice in it: in a log that carries it, and before that in its worker's. */
  readonly logged: readonly LoggedKey[];
  /** Partitions of workers, and of keys. */
  readonly workers: ReadonlyMap<number, unknown>;
  readonly carried: ReadonlyMap<number, unknown>;
  /** Of the latter those whose keys were deleted since. */
  readonly obsolete: ReadonlySet<number>;
}

/** What the logs in a directory say that counts. Changes nothing. Throws as `readRedoLog` does. */
export async function readRedoLogs(
  directory: string,
  pacer: Pacer,
  takes: (partition: number) => boolean = () => true,
): Promise<RedoLogs> {
  const workers = new Map<number, LoggedKey[]>();
  const carried = new Map<number, LoggedKey[]>();
  for (const [partition, files] of await logFiles(directory)) {
    if (!takes(partition)) continue;
    const logs = partition < CARRIED_FROM ? workers : carried;
    logs.set(partition, await readRedoLog(files, pacer));
  }
  const logged = [...workers.values()].flat();
  const deleted = new Set(logged.filter(isDeleted).map(idOf));
  const obsolete = new Set<number>();
  for (const [partition, keys] of carried) {
    if (keys.some((key) => deleted.has(idOf(key)))) obsolete.add(partition);
    else logged.push(...keys);
  }
  return { logged, workers, carried, obsolete };
}

function isWanted(partition: number, { worker, inherited = [] }: ReplayOptions): boolean {
  if (worker === undefined || partition === worker) return true;
  if (partition < CARRIED_FROM) return false;
  return (
    (partition - CARRIED_FROM) % CARRIED_STEP === worker + 1 ||
    inherited.some((key) => key.partition === partition)
  );
}

/** The files of each partition, in their order. */
async function logFiles(directory: string): Promise<Map<number, JournalFile[]>> {
  const partitions = new Map<number, JournalFile[]>();
  for (const file of await listJournalFiles(directory)) {
    const files = partitions.get(file.partition) ?? [];
    files.push(file);
    partitions.set(file.partition, files);
  }
  return partitions;
}

function isDeleted({ writes }: LoggedKey): boolean {
  return writes.some(({ effect }) => 'value' in effect && effect.value === undefined);
}

function idOf({ kind, key }: Pick<LoggedKey, 'kind' | 'key'>): string {
  return `${kind} ${key}`;
}

/** Answers the keys whose files could not be written, and why. */
async function applyLogged(
  options: ReplayOptions,
  logged: readonly LoggedKey[],
): Promise<Map<LoggedKey, string>> {
  const { paths, directories, behaviour, placed, pacer } = options;
  const prefix = `replay-${options.worker ?? 'all'}-${options.generation ?? 1}`;
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

/** Logs what each key lacks in a partition of its own; durable when it resolves. */
async function carry(
  options: ReplayOptions,
  stuck: ReadonlyMap<LoggedKey, string>,
): Promise<UnappliedKey[]> {
  const { paths, behaviour, pacer } = options;
  const changes = await changesOf(stuck.keys(), paths, behaviour, pacer);
  const taken = new Set((await logFiles(paths.redo)).keys());
  let partition = CARRIED_FROM + (options.worker ?? -1) + 1;
  const unapplied: UnappliedKey[] = [];
  for (const change of changes) {
    while (taken.has(partition)) partition += CARRIED_STEP;
    taken.add(partition);
    await logAlone(paths.redo, partition, change);
    const { kind, key, name } = change;
    const reason = stuck.get(change.logged)!;
    unapplied.push({ kind, key, path: join(paths.of[kind], name), reason, partition });
  }
  return unapplied;
}

async function logAlone(directory: string, partition: number, change: FileChange): Promise<void> {
  const background = new BackgroundWork();
  const tuning = CARRIED_TUNING;
  const redo = await RedoLog.open({ directory, partition, mayBlock: false, background, tuning });
  try {
    const fileOf = (): number => change.expected.id;
    await redo.appendWrites([writeOf(change)], fileOf, () => {});
  } finally {
    await redo.close(false);
    await background.pending;
  }
}

export interface LoggedChange extends FileChange {
  readonly logged: LoggedKey;
}

/** What has to become of the files of keys, one change for each. Throws `STORE_UNAVAILABLE`. */
export async function changesOf(
  logged: Iterable<LoggedKey>,
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
  pacer: Pacer,
): Promise<LoggedChange[]> {
  const changes = new Map<string, LoggedChange>();
  for (const key of logged) {
    const change = changeOf(key, paths, behaviour);
    await pacer.pause();
    if (change === undefined) continue;
    const id = idOf(key);
    changes.set(id, { ...change, value: joinValues(change.value, changes.get(id)?.value) });
  }
  return [...changes.values()];
}

/** What has to become of a key's file; undefined: nothing. Throws `STORE_UNAVAILABLE`. */
function changeOf(
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
  const covers = isDamaged ? undefined : placed.get(fileId);
  if (covers !== undefined) {
    // Ours, with all writes up to there; a damaged one has none of them any more.
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
