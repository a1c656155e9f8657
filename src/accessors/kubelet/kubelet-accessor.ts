/**
 * The store in the kubelet's own `image_manager` directory, in its files and formats.
 *
 * An owner has its keys in memory. A batch is appended to a redo log with one flush, then shown, and
 * written to the kubelet's files some time later (write-behind.ts). Where a kubelet writes there too,
 * its files are read anew (`takeForeignChanges`): between its write and that, an answer may be from
 * before. docs/kubelet-store.md says what is promised.
 */
import { basename } from 'node:path';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { closedError, PullManagerError, quote, storeError } from '../../errors.ts';
import { ownerOf, stripeOf } from '../../locks/stripe.ts';
import type { ImagePulledRecord, ImagePullIntent, PulledRecord } from '../../records/record.ts';
import { wellFormed } from '../../util/well-formed.ts';
import type {
  AccessorContext,
  Awaitable,
  OwnedAccessor,
  RecordListing,
  RecordWrite,
} from '../accessor.ts';
import type { Finding, Inspectable } from '../inspection.ts';
import { BackgroundWork } from '../journal/background.ts';
import { Pacer } from '../journal/pacer.ts';
import { FilePlacer } from './file-placer.ts';
import { PlacedFiles } from './file-state.ts';
import { filedWrite, keyOf, valueFrom } from './filed-write.ts';
import { ForeignChanges } from './foreign-changes.ts';
import { ForeignWatch } from './foreign-watch.ts';
import { type FiledRecord, readRecordFile, recordNames, type Value } from './found-file.ts';
import { inspectFiles, quarantineFile } from './inspect.ts';
import type { KubeletPlan } from './kubelet-directory.ts';
import { type KubeletPaths, kubeletPaths } from './layout.ts';
import { closeDirectories, openDirectories, type RecordDirectories } from './record-directory.ts';
import { RedoLog } from './redo-log.ts';
import { replayRedoLogs, type UnappliedKey } from './redo-replay.ts';
import { type ChangedKeys, Shelf } from './shelf.ts';
import { WriteBehind } from './write-behind.ts';

/**
 * Reads both directories and opens the part of them that the context's owner owns. A worker that
 * replaces a dead one brings what that had acknowledged to the files first. Files of an older version
 * than the one written are rewritten before it resolves, as far as they can be.
 *
 * Blocks the thread for as long as reading takes if `context.mayBlock`, else in slices.
 *
 * @throws `STORE_UNAVAILABLE`, `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`.
 */
export async function openKubelet(
  plan: KubeletPlan,
  context: AccessorContext,
): Promise<OwnedAccessor & Inspectable> {
  const paths = kubeletPaths(plan.dir);
  const { workerIndex, generation, mayBlock } = context;
  const pacer = new Pacer(!mayBlock);
  const placed = new PlacedFiles(plan.placed, workerIndex);
  let { unapplied } = plan;
  let directories: RecordDirectories | undefined;
  try {
    directories = openDirectories(paths, plan.directories);
    if (generation > 1) {
      const { behaviour } = plan;
      const inherited = unapplied.filter(({ key }) => owns(context, key));
      const options = { paths, directories, behaviour, placed, pacer, worker: workerIndex };
      unapplied = await replayRedoLogs({ ...options, generation, inherited });
    }
    const background = new BackgroundWork();
    const redo = await RedoLog.open({
      directory: paths.redo,
      partition: workerIndex,
      mayBlock,
      background,
      tuning: plan.tuning.redo,
    });
    const accessor = new KubeletAccessor({
      plan,
      context,
      paths,
      directories,
      placed,
      redo,
      background,
    });
    try {
      await accessor.load(pacer, unapplied);
    } catch (cause) {
      await accessor.close();
      throw cause;
    }
    return accessor;
  } catch (cause) {
    if (directories !== undefined) closeDirectories(directories);
    throw storeError(`cannot open the record files in ${plan.dir}`, cause, plan.dir);
  }
}

interface KubeletAccessorOptions {
  readonly plan: KubeletPlan;
  readonly context: AccessorContext;
  readonly paths: KubeletPaths;
  readonly directories: RecordDirectories;
  readonly placed: PlacedFiles;
  readonly redo: RedoLog;
  readonly background: BackgroundWork;
}

class KubeletAccessor implements OwnedAccessor, Inspectable {
  readonly listsOnlyOwnKeys = true;
  readonly timeResolutionMs = 1000;
  readonly #paths: KubeletPaths;
  readonly #directories: RecordDirectories;
  readonly #behaviour: KubeletBehaviour;
  readonly #context: AccessorContext;
  readonly #redo: RedoLog;
  readonly #background: BackgroundWork;
  readonly #placer: FilePlacer;
  readonly #intents: Shelf;
  readonly #pulled: Shelf;
  readonly #behind: WriteBehind;
  readonly #watch: ForeignWatch;
  readonly #shelves: readonly Shelf[];
  readonly #foreign: ForeignChanges;
  /** The last of the commits that wait until files have caught up. */
  #waiting: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: KubeletAccessorOptions) {
    const { plan, context, paths, directories, placed, redo, background } = options;
    const { workerIndex, workerCount, generation } = context;
    this.#paths = paths;
    this.#directories = directories;
    this.#behaviour = plan.behaviour;
    this.#context = context;
    this.#redo = redo;
    this.#background = background;
    const { behaviour } = plan;
    const prefix = `${workerIndex}-${generation}`;
    const { mayBlock } = context;
    this.#placer = new FilePlacer({ paths, directories, behaviour, placed, prefix, mayBlock });
    const isOwn = workerCount === 1 ? () => true : (key: string) => owns(context, key);
    this.#intents = new Shelf('intent', isOwn);
    this.#pulled = new Shelf('pulled', isOwn);
    const shelves = [this.#intents, this.#pulled];
    this.#shelves = shelves;
    const { wake } = context;
    const foreign = new ForeignChanges({
      shelves,
      paths,
      directories,
      behaviour,
      placed,
      redo,
      wake,
    });
    this.#foreign = foreign;
    const onForeign = (shelf: Shelf, name: string): void => foreign.suspect(shelf, name);
    const { writeBehind, watch } = plan.tuning;
    this.#behind = new WriteBehind({
      shelves,
      redo,
      placer: this.#placer,
      background,
      tuning: writeBehind,
      onForeign,
      onRetired: () => foreign.resume(),
    });
    // Before the directories are read, so that no change falls in between.
    this.#watch = new ForeignWatch({
      directories,
      shelves,
      tuning: watch,
      onSuspect: onForeign,
      onAway: (shelf) => foreign.lose(shelf),
      onBack: (shelf) => foreign.regain(shelf),
    });
  }

  /** Reads the directories. */
  async load(pacer: Pacer, unapplied: readonly UnappliedKey[]): Promise<void> {
    for (const { kind, key, path, reason, partition } of unapplied) {
      const problem = `the record file ${quote(path)} lacks what was acknowledged: ${reason}`;
      const about = kind === 'intent' ? { image: key } : { imageRef: key };
      const error = new PullManagerError('RECORD_CORRUPT', problem, { path, reason, ...about });
      (kind === 'intent' ? this.#intents : this.#pulled).markUnapplied(key, error, partition);
    }
    for (const shelf of this.#shelves) {
      const { kind } = shelf;
      const directory = this.#paths.of[kind];
      const outdated = new Map<string, FiledRecord>();
      for (const name of recordNames(directory)) {
        const found = readRecordFile(directory, kind, name, this.#behaviour);
        shelf.absorb(name, found);
        if (shelf.isUnread(name)) this.#foreign.lookAgain(shelf, name);
        const record = found?.record;
        if (record !== undefined && record.version !== this.#behaviour.writesVersion) {
          outdated.set(name, record);
        }
        await pacer.pause();
      }
      this.#directories[kind].assertInPlace();
      for (const [name, record] of outdated) shelf.rewrite(name, record, this.#redo.sequence);
    }
    // What cannot be rewritten now is tried again later.
    if (this.#behind.keys > 0) await this.#behind.flush();
    this.#behind.schedule();
  }

  get writtenBytes(): number {
    return this.#redo.writtenBytes + this.#placer.writtenBytes;
  }

  get maintenance(): Promise<void> | undefined {
    return this.#behind.pending ?? this.#background.pending;
  }

  get hasForeignChanges(): boolean {
    return this.#foreign.areThere;
  }

  /** Files that others may have changed are read anew. Call it between batches. */
  takeForeignChanges(): ChangedKeys {
    const changed = this.#foreign.take();
    this.#behind.schedule();
    return changed;
  }

  count(): { intents: number; records: number } {
    this.#assertOpen('count');
    return { intents: this.#intents.size, records: this.#pulled.size };
  }

  listImagePullIntents(): RecordListing<ImagePullIntent> {
    this.#assertOpen('listImagePullIntents');
    return this.#list(this.#intents, (image) => ({ image }));
  }

  imagePullIntentExists(image: string): boolean {
    this.#assertOpen('imagePullIntentExists');
    return this.#intents.get(wellFormed(image)) !== undefined;
  }

  writeImagePullIntent(image: string): Awaitable<void> {
    return this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): Awaitable<void> {
    return this.commit([{ op: 'deleteIntent', image }]);
  }

  listImagePulledRecords(): RecordListing<ImagePulledRecord> {
    this.#assertOpen('listImagePulledRecords');
    return this.#list(this.#pulled, (_, record) => record as PulledRecord);
  }

  getImagePulledRecord(imageRef: string): PulledRecord | undefined {
    this.#assertOpen('getImagePulledRecord');
    return this.#pulled.get(wellFormed(imageRef)) as PulledRecord | undefined;
  }

  writeImagePulledRecord(record: ImagePulledRecord): Awaitable<void> {
    return this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): Awaitable<void> {
    return this.commit([{ op: 'deletePulled', imageRef }]);
  }

  /**
   * Appends a batch to the redo log, then shows it. Waits first where the kubelet's files lag too far
   * behind.
   *
   * @throws `STORE_UNAVAILABLE` if it could not be written, or files lag too far behind because they
   * cannot be written: nothing of it is visible, and a later commit may succeed. `INVALID_ARGUMENT`
   * for what the kubelet's files cannot say, `CLOSED`.
   */
  commit(batch: readonly RecordWrite[]): Awaitable<void> {
    this.#assertOpen('commit');
    if (batch.length === 0) return undefined;
    const writes = batch.map((write) => this.#checked(write));
    if (this.#waiting === undefined && !this.#behind.isFull) return this.#append(writes);
    const turn = this.#waiting ?? Promise.resolve();
    const done = turn.then(() => this.#behind.room()).then(() => this.#append(writes));
    const settled = done.then(
      () => {},
      () => {},
    );
    this.#waiting = settled;
    void settled.then(() => {
      if (this.#waiting === settled) this.#waiting = undefined;
    });
    return done;
  }

  /** What is in the kubelet's files, once they have everything that can be written. */
  async *inspect(): AsyncGenerator<Finding, void, void> {
    this.#assertOpen('inspect');
    for (const shelf of this.#shelves) this.#directories[shelf.kind].assertInPlace();
    await this.#behind.flush();
    yield* inspectFiles(this.#paths, this.#behaviour);
  }

  async quarantine(entry: Finding): Promise<string | undefined> {
    this.#assertOpen('quarantine');
    if (entry.kind !== 'store') this.#directories[entry.kind].assertInPlace();
    const place = await quarantineFile(this.#paths, this.#behaviour, entry);
    const shelf = entry.kind === 'intent' ? this.#intents : this.#pulled;
    this.#foreign.reread(shelf, basename(entry.location));
    return place;
  }

  /** Writes the kubelet's files to the end and gives them back. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Set before anything else runs: no call gets in from here on.
    await Promise.resolve();
    while (this.#waiting !== undefined) await this.#waiting;
    // What is being appended will be acknowledged, and shown: files have to get it too.
    await this.#redo.idle();
    const isDone = await this.#behind.close(() => this.takeForeignChanges());
    this.#watch.close();
    this.#foreign.close();
    await this.#redo.close(isDone);
    await this.#background.pending;
    closeDirectories(this.#directories);
  }

  #append(writes: readonly RecordWrite[]): Awaitable<void> {
    const fileOf = (write: RecordWrite): number => this.#shelfOf(write).fileOf(keyOf(write)).id;
    const show = (sequence: number): void => {
      for (const write of writes) {
        this.#shelfOf(write).write(keyOf(write), valueFrom(write), sequence);
      }
      this.#behind.schedule();
    };
    try {
      const done = this.#redo.appendWrites(writes, fileOf, show);
      if (!(done instanceof Promise)) return undefined;
      return done.catch((cause: unknown) => {
        throw this.#writeError(cause);
      });
    } catch (cause) {
      throw this.#writeError(cause);
    }
  }

  refusalOf(write: RecordWrite): PullManagerError | undefined {
    try {
      this.#checked(write);
      return undefined;
    } catch (cause) {
      return cause as PullManagerError;
    }
  }

  /** The write as files can hold it; throws where they cannot. */
  #checked(write: RecordWrite): RecordWrite {
    const checked = filedWrite(write, this.#behaviour);
    const obstacle = this.#shelfOf(checked).obstacleOf(keyOf(checked));
    if (obstacle !== undefined) {
      throw storeError(`cannot write ${obstacle.path}`, { code: 'EISDIR' }, obstacle.path);
    }
    return checked;
  }

  #list<T>(shelf: Shelf, itemOf: (key: string, value: Value) => T): RecordListing<T> {
    const records: T[] = [];
    const errors: PullManagerError[] = shelf.troubles;
    for (const [key, value] of shelf.values()) records.push(itemOf(key, value));
    const shown = new Set<string>();
    for (const { name, error, record } of shelf.bad) {
      if (!owns(this.#context, record?.key ?? name)) continue;
      errors.push(error);
      if (record === undefined || shelf.has(record.key) || shown.has(record.key)) continue;
      // As the reference lists it; a lookup calls it damaged.
      shown.add(record.key);
      records.push(itemOf(record.key, record.value));
    }
    return { records, errors };
  }

  #shelfOf({ op }: RecordWrite): Shelf {
    return op === 'writeIntent' || op === 'deleteIntent' ? this.#intents : this.#pulled;
  }

  #assertOpen(what: string): void {
    if (this.#closing !== undefined) throw closedError(what);
  }

  #writeError(cause: unknown): PullManagerError {
    return storeError('cannot write to the redo log', cause, this.#redo.path);
  }
}

function owns({ workerIndex, workerCount, stripeCount }: AccessorContext, key: string): boolean {
  return ownerOf(stripeOf(key, stripeCount), workerCount) === workerIndex;
}
