/**
 * Brings to the kubelet's files what a run that did not end in order had acknowledged.
 *
 * A kubelet may have used the directory in between. So the file of each key is looked at first: one
 * that the log knows is brought up to date exactly; to any other the proofs are added, an intent is
 * only ever added, and nothing is deleted, because an image whose record or intent went would look
 * preloaded.
 */
import type { KubeletBehaviour } from '../../compatibility.ts';
import { flushDirectory } from '../directories.ts';
import { removeQuietly } from '../journal/file-io.ts';
import { type JournalFile, listJournalFiles } from '../journal/file-names.ts';
import type { Pacer } from '../journal/pacer.ts';
import { type FileChange, FilePlacer } from './file-placer.ts';
import { NO_FILE, type PlacedFiles } from './file-state.ts';
import { readRecordFile, type Value } from './found-file.ts';
import { filedRecord } from './join.ts';
import type { KubeletPaths } from './layout.ts';
import type { RecordDirectories } from './record-directory.ts';
import { recordFileName } from './record-format.ts';
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

/** Changes made between two flushes. */
const CHANGES_MAX = 4096;
/** Times that a change is worked out anew because its file was replaced meanwhile. */
const ATTEMPTS_MAX = 8;

/**
 * Replays redo logs into the kubelet's files and removes them. Repeating it after a crash ends in
 * the same state. Nobody else of ours may be writing to the partitions' keys.
 *
 * @throws `STORE_CORRUPT` where a log is damaged: it is left as it is. `STORE_UNAVAILABLE`.
 */
export async function replayRedoLogs(options: ReplayOptions): Promise<void> {
  const { paths, partition } = options;
  const partitions = new Map<number, JournalFile[]>();
  for (const file of await listJournalFiles(paths.redo)) {
    if (partition !== undefined && file.partition !== partition) continue;
    const files = partitions.get(file.partition) ?? [];
    files.push(file);
    partitions.set(file.partition, files);
  }
  const logged: LoggedKey[] = [];
  for (const files of partitions.values()) logged.push(...(await readRedoLog(files)));
  await applyLogged(options, logged);
  for (const files of partitions.values()) {
    for (const file of files) await removeQuietly(file.path);
  }
  if (partitions.size > 0) await flushDirectory(paths.redo);
}

async function applyLogged(options: ReplayOptions, logged: readonly LoggedKey[]): Promise<void> {
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
        if (placer.place(prepared) === undefined) again.push(prepared.change.logged);
        await pacer.pause();
      }
    }
    waiting = again;
  }
  await placer.flushNames(new Set(logged.map(({ kind }) => kind)));
}

interface LoggedChange extends FileChange {
  readonly logged: LoggedKey;
}

/** What has to become of a key's file; undefined: nothing. */
function changeOf(
  logged: LoggedKey,
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): LoggedChange | undefined {
  const { kind, key } = logged;
  const name = recordFileName(key);
  const found = readRecordFile(paths.of[kind], kind, name, behaviour);
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
  { writes, placed }: LoggedKey,
  fileId: number,
  filed: Value | undefined,
  isDamaged: boolean,
): Value | undefined | typeof KEEP {
  const covers = placed.get(fileId);
  if (covers !== undefined) {
    // Ours, with all writes up to there.
    return applyAll(
      filed,
      writes.filter(({ sequence }) => sequence > covers),
    );
  }
  const known = writes.findIndex((write) => write.fileId === fileId);
  const before = applyAll(undefined, known < 0 ? writes : writes.slice(0, known));
  if (known < 0 && isDamaged && before === undefined) return KEEP;
  const joined = joinValues(before, filed);
  return known < 0 ? joined : applyAll(joined, writes.slice(known));
}

function applyAll(start: Value | undefined, writes: LoggedKey['writes']): Value | undefined {
  let value = start;
  for (const write of writes) value = write.apply(value);
  return value;
}

function filedValue(value: Value | undefined | typeof KEEP): Value | undefined | typeof KEEP {
  return typeof value === 'object' ? filedRecord(value) : value;
}
