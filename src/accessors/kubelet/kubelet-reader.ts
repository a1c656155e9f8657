/**
 * A kubelet's directory as it is, for who only looks: nothing in it is changed or made.
 *
 * What an earlier run had acknowledged and not brought to the kubelet's files is worked out in memory,
 * as the next opening would. Records of other versions are read as they are.
 */
import { statSync } from 'node:fs';
import {
  type CompatibilityLevel,
  KUBELET_BEHAVIOUR,
  type KubeletBehaviour,
} from '../../compatibility.ts';
import { errorCode, PullManagerError, quote, storeError } from '../../errors.ts';
import type { PulledRecord } from '../../records/record.ts';
import { wellFormed } from '../../util/well-formed.ts';
import type { PullRecordsAccessor } from '../accessor.ts';
import { acquireReadLock } from '../directory-lock.ts';
import type { Finding } from '../inspection.ts';
import { Pacer } from '../journal/pacer.ts';
import {
  type FoundFile,
  isUnavailable,
  readRecordFile,
  recordNames,
  type Value,
} from './found-file.ts';
import { inspectFiles, KINDS } from './inspect.ts';
import { checkDirectory, type KubeletPaths, kubeletPaths, type RecordKind } from './layout.ts';
import { recordFileName } from './record-format.ts';
import { changesOf, type LoggedChange, readRedoLogs } from './redo-replay.ts';

/** What can be asked of a directory that is only read. */
export interface KubeletReader
  extends Pick<
    PullRecordsAccessor,
    | 'listImagePullIntents'
    | 'imagePullIntentExists'
    | 'listImagePulledRecords'
    | 'getImagePulledRecord'
  > {
  readonly timeResolutionMs: number;
}

const TIME_RESOLUTION_MS = 1000;

/**
 * Reads a whole directory into memory and gives it to `work`; no engine can take the directory before
 * that is done.
 *
 * @param dir - the `image_manager` directory; one without `pulling` or `pulled` has none of these.
 * @throws `STORE_IN_USE`, `STORE_UNAVAILABLE` naming the path, `STORE_CORRUPT` where the redo log is
 * damaged.
 */
export async function withKubeletReader<T>(
  dir: string,
  compatibility: CompatibilityLevel,
  work: (reader: KubeletReader) => Promise<T>,
): Promise<T> {
  const paths = kubeletPaths(dir);
  const behaviour = KUBELET_BEHAVIOUR[compatibility];
  return unowned(paths, async () => work(await readDirectory(paths, behaviour)));
}

/** Gives what is in the directory's files to `work`, piece by piece. Errors: as `withKubeletReader`. */
export async function withKubeletInspection<T>(
  dir: string,
  compatibility: CompatibilityLevel,
  work: (findings: () => AsyncIterable<Finding>) => Promise<T>,
): Promise<T> {
  const paths = kubeletPaths(dir);
  return unowned(paths, () =>
    work(() => inspectDirectory(paths, KUBELET_BEHAVIOUR[compatibility])),
  );
}

async function unowned<T>({ own }: KubeletPaths, work: () => Promise<T>): Promise<T> {
  const lock = await acquireReadLock(own);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

/**
 * The keys whose files do not have what was acknowledged, by kind. The caller holds the lock and has
 * closed every accessor.
 *
 * @throws as `withKubeletReader`.
 */
export async function unfiledKeys(
  dir: string,
  compatibility: CompatibilityLevel,
): Promise<readonly Pick<LoggedChange, 'kind' | 'key'>[]> {
  try {
    return await unfiledChanges(kubeletPaths(dir), KUBELET_BEHAVIOUR[compatibility]);
  } catch (cause) {
    throw storeError(`cannot read the record files in ${quote(dir)}`, cause, dir);
  }
}

async function readDirectory(
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): Promise<KubeletReader> {
  const pacer = new Pacer(true);
  const contents = { intent: new Content('intent'), pulled: new Content('pulled') };
  try {
    for (const kind of KINDS) {
      const directory = paths.of[kind];
      if (!isThere(directory)) continue;
      for (const name of recordNames(directory)) {
        const found = readRecordFile(directory, kind, name, behaviour);
        if (found !== undefined) contents[kind].add(found);
        await pacer.pause();
      }
    }
    for (const change of await unfiledChanges(paths, behaviour)) contents[change.kind].file(change);
  } catch (cause) {
    throw storeError(`cannot read the record files in ${quote(paths.dir)}`, cause, paths.dir);
  }
  const { intent, pulled } = contents;
  return {
    timeResolutionMs: TIME_RESOLUTION_MS,
    listImagePullIntents: () => ({
      records: Array.from(intent.values.keys(), (image) => ({ image })),
      errors: intent.errors,
    }),
    imagePullIntentExists: (image) => intent.get(wellFormed(image)) !== undefined,
    listImagePulledRecords: () => ({
      records: [...pulled.values.values()] as PulledRecord[],
      errors: pulled.errors,
    }),
    getImagePulledRecord: (imageRef) =>
      pulled.get(wellFormed(imageRef)) as PulledRecord | undefined,
  };
}

/** One of the kubelet's directories in memory. */
class Content {
  /** By key; only what is under the key's own name, or would be. */
  readonly values = new Map<string, Value>();
  readonly #kind: RecordKind;
  /** Files that are no records, or those of other keys, by name. */
  readonly #bad = new Map<string, FoundFile>();
  /** The same, by the keys whose records they hold. */
  readonly #misfiled = new Map<string, FoundFile>();

  constructor(kind: RecordKind) {
    this.#kind = kind;
  }

  /** Of all files that are bad, in the order of their names. */
  get errors(): PullManagerError[] {
    return Array.from(this.#bad.values(), ({ error }) => error!);
  }

  add(found: FoundFile): void {
    const { name, record, error } = found;
    if (error === undefined) {
      this.values.set(record!.key, record!.value);
      return;
    }
    this.#bad.set(name, found);
    if (record !== undefined) this.#misfiled.set(record.key, found);
  }

  /** Takes what the file of a key is to become. */
  file({ key, name, value }: LoggedChange): void {
    const bad = this.#bad.get(name);
    // No engine could put it there.
    if (bad?.isDirectory === true) return;
    if (value === undefined) this.values.delete(key);
    else this.values.set(key, value);
    // What is another key's proof says something of that key still.
    if (bad?.record === undefined) this.#bad.delete(name);
  }

  /** Throws for a key that is damaged, or cannot be read: neither has it a value, nor is it absent. */
  get(key: string): Value | undefined {
    const value = this.values.get(key);
    if (value !== undefined) return value;
    const error = (this.#misfiled.get(key) ?? this.#bad.get(recordFileName(key)))?.error;
    if (error === undefined) return undefined;
    if (isUnavailable(error)) throw error;
    const { message, path, reason, offset } = error;
    const about = this.#kind === 'intent' ? { image: key } : { imageRef: key };
    throw new PullManagerError('RECORD_CORRUPT', message, { path, reason, offset, ...about });
  }
}

async function* inspectDirectory(
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): AsyncGenerator<Finding, void, void> {
  const there = KINDS.filter((kind) => isThere(paths.of[kind]));
  yield* inspectFiles(paths, behaviour, there);
  const { length } = await unfiledChanges(paths, behaviour);
  if (length === 0) return;
  const what = length === 1 ? 'one file lacks' : `${length} files lack`;
  const reason = `${what} what was acknowledged; the next engine brings it there`;
  yield { kind: 'store', verdict: 'remark', location: paths.redo, reason };
}

/** What the files would become when the redo logs of all workers are replayed. */
async function unfiledChanges(
  paths: KubeletPaths,
  behaviour: KubeletBehaviour,
): Promise<LoggedChange[]> {
  if (!isThere(paths.redo)) return [];
  const pacer = new Pacer(true);
  const { logged } = await readRedoLogs(paths.redo, pacer);
  return changesOf(logged, paths, behaviour, pacer);
}

/** Whether there is such a directory. Throws `STORE_UNAVAILABLE` where it is not fit for use. */
function isThere(path: string): boolean {
  try {
    const found = statSync(path);
    checkDirectory(path, found);
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw storeError(`cannot use the directory ${quote(path)}`, cause, path);
  }
}
