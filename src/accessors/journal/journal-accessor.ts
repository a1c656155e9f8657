/**
 * The default store: an append-only journal of batches, with all of a partition's state in memory.
 *
 * A batch is encoded, written with one system call that also flushes it, and only then applied to
 * the state that reads see. Format: docs/journal-format.md.
 */
import { closedError, invalidArgument, type PullManagerError, storeError } from '../../errors.ts';
import type { ImagePulledRecord, ImagePullIntent, PulledRecord } from '../../records/record.ts';
import type { AccessorContext, OwnedAccessor, RecordListing, RecordWrite } from '../accessor.ts';
import { BackgroundWork, Backoff } from './background.ts';
import { applyBatch, packBatch } from './batch.ts';
import { removeQuietly } from './file-io.ts';
import { encodeFrame } from './frame.ts';
import type { JournalPlan } from './journal-directory.ts';
import { Pacer } from './pacer.ts';
import { loadPartition, partitionFiles } from './partition.ts';
import type { RecoveredPartition } from './recovery.ts';
import type { SegmentPlace } from './segment.ts';
import { SegmentChain } from './segment-chain.ts';
import { writeSnapshot } from './snapshot-writer.ts';
import { JournalState } from './state.ts';

/**
 * Recovers the partition `context.workerIndex` and opens it for reading and writing, in a new
 * segment. Where the plan changes the layout and is not committed yet, it builds the partition from
 * the old layout's files.
 *
 * Blocks the thread for as long as reading takes if `context.mayBlock`, else in slices.
 *
 * @throws `STORE_UNAVAILABLE`, `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`; damaged files stay as
 * they are.
 */
export async function openJournal(
  plan: JournalPlan,
  context: AccessorContext,
): Promise<OwnedAccessor> {
  const { path, target, tuning } = plan;
  const { workerIndex: partition, mayBlock } = context;
  if (partition >= target.partitionCount) {
    throw invalidArgument('workerIndex', `must be below ${target.partitionCount}`);
  }
  const state = new JournalState();
  const background = new BackgroundWork();
  const place: SegmentPlace = {
    directory: path,
    layout: target.layout,
    partition,
    partitionCount: target.partitionCount,
    flushed: plan.durability === 'flush',
  };
  try {
    const recovered = await loadPartition(plan, place, state, new Pacer(!mayBlock));
    const chain = await SegmentChain.open({
      place,
      tuning,
      background,
      // Out of reach of whatever the dead worker may still have under way.
      number: recovered.lastNumber + (context.generation === 1 ? 1 : REPLACEMENT_GAP),
      sequence: recovered.nextSequence,
      journalBytes: recovered.journalBytes,
      segmentCount: recovered.segmentCount,
    });
    for (const obsolete of recovered.obsolete) await removeQuietly(obsolete);
    return new JournalAccessor({ plan, place, mayBlock, state, chain, background, recovered });
  } catch (cause) {
    throw storeError(`cannot open the journal in ${path}`, cause, path);
  }
}

/** More segments than a dead worker can have under way. */
const REPLACEMENT_GAP = 1000;
/** A snapshot that is late by this factor waits for nothing. */
const LATE_FACTOR = 1.5;
/** A larger buffer is given back after the batch that needed it. */
const COPY_BYTES_KEPT = 8 * 1024 * 1024;

interface JournalAccessorOptions {
  readonly plan: JournalPlan;
  readonly place: SegmentPlace;
  readonly mayBlock: boolean;
  readonly state: JournalState;
  readonly chain: SegmentChain;
  readonly background: BackgroundWork;
  readonly recovered: RecoveredPartition;
}

/** Where the replay on top of a snapshot starts, and what lies before. */
interface SnapshotStart {
  readonly number: number;
  readonly first: number;
  readonly journalBytes: number;
  readonly segmentCount: number;
}

class JournalAccessor implements OwnedAccessor {
  readonly listsOnlyOwnKeys = true;
  readonly #plan: JournalPlan;
  readonly #place: SegmentPlace;
  readonly #mayBlock: boolean;
  readonly #state: JournalState;
  readonly #chain: SegmentChain;
  readonly #background: BackgroundWork;
  readonly #snapshotBackoff: Backoff;
  /** Length of the last snapshot. */
  #snapshotBytes: number;
  #snapshotTotalBytes = 0;
  #snapshotStart: SnapshotStart | undefined;
  /** A snapshot under way; never rejects. */
  #snapshotting: Promise<void> | undefined;
  /** The last of the calls that wait for each other. */
  #queue: Promise<unknown> | undefined;
  /** Where frames wait for an asynchronous write. */
  #copy = Buffer.alloc(0);
  #closing: Promise<void> | undefined;
  #stopsSnapshot = false;

  constructor(options: JournalAccessorOptions) {
    const { tuning } = options.plan;
    this.#plan = options.plan;
    this.#place = options.place;
    this.#mayBlock = options.mayBlock;
    this.#state = options.state;
    this.#chain = options.chain;
    this.#background = options.background;
    this.#snapshotBackoff = new Backoff(tuning.retryMsMin, tuning.retryMsMax);
    this.#snapshotBytes = options.recovered.snapshotBytes;
  }

  get writtenBytes(): number {
    return this.#chain.writtenBytes + this.#snapshotTotalBytes;
  }

  get maintenance(): Promise<void> | undefined {
    return this.#background.pending;
  }

  count(): { intents: number; records: number } {
    this.#assertOpen('count');
    return { intents: this.#state.intents.size, records: this.#state.records.size };
  }

  listImagePullIntents(): RecordListing<ImagePullIntent> {
    this.#assertOpen('listImagePullIntents');
    return { records: Array.from(this.#state.intents, (image) => ({ image })), errors: [] };
  }

  imagePullIntentExists(image: string): boolean {
    this.#assertOpen('imagePullIntentExists');
    return this.#state.intents.has(image);
  }

  writeImagePullIntent(image: string): void | Promise<void> {
    return this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): void | Promise<void> {
    return this.commit([{ op: 'deleteIntent', image }]);
  }

  listImagePulledRecords(): RecordListing<ImagePulledRecord> {
    this.#assertOpen('listImagePulledRecords');
    return { records: [...this.#state.records.values()], errors: [] };
  }

  getImagePulledRecord(imageRef: string): PulledRecord | undefined {
    this.#assertOpen('getImagePulledRecord');
    return this.#state.records.get(imageRef);
  }

  writeImagePulledRecord(record: ImagePulledRecord): void | Promise<void> {
    return this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): void | Promise<void> {
    return this.commit([{ op: 'deletePulled', imageRef }]);
  }

  /**
   * Writes and flushes a batch, then makes it visible. Blocks and returns nothing where that is
   * welcome and a segment is at hand; else returns a promise.
   *
   * @throws `STORE_UNAVAILABLE` if it could not be written: nothing of it is visible, and a later
   * commit may succeed. `INVALID_ARGUMENT` for a batch that could not be read back.
   */
  commit(batch: readonly RecordWrite[]): void | Promise<void> {
    this.#assertOpen('commit');
    if (batch.length === 0) return undefined;
    if (this.#mayBlock && this.#queue === undefined && this.#commitSync(batch)) return undefined;
    return this.#enqueue(() => this.#commitAsync(batch));
  }

  /** Ends what is under way and gives the files back. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** False: there is no room at hand. */
  #commitSync(batch: readonly RecordWrite[]): boolean {
    const frame = encodeFrame(packBatch(batch));
    try {
      if (!this.#chain.appendSync(frame)) return false;
    } catch (cause) {
      throw this.#writeError(cause);
    }
    this.#committed(batch);
    return true;
  }

  async #commitAsync(batch: readonly RecordWrite[]): Promise<void> {
    const encoded = encodeFrame(packBatch(batch));
    // The encoding buffer is everybody's; this one is the queue's, which does one commit at a time.
    if (this.#copy.length < encoded.length) this.#copy = Buffer.allocUnsafeSlow(encoded.length * 2);
    const frame = this.#copy.subarray(0, encoded.length);
    encoded.copy(frame);
    if (this.#copy.length > COPY_BYTES_KEPT) this.#copy = Buffer.alloc(0);
    try {
      await this.#chain.append(frame);
    } catch (cause) {
      throw this.#writeError(cause);
    }
    this.#committed(batch);
  }

  #committed(batch: readonly RecordWrite[]): void {
    applyBatch(this.#state, batch);
    if (this.#snapshotting !== undefined || this.#closing !== undefined) return;
    // It begins with a new segment; commits should not wait until that is filled with zeros.
    if (!this.#isSnapshotDue(this.#chain.isPreparing ? LATE_FACTOR : 1)) return;
    if (this.#snapshotBackoff.isReady) this.#startSnapshot();
  }

  /** `slack`: how many times too long the journal may be. */
  #isSnapshotDue(slack: number): boolean {
    const { snapshotBytesMin, snapshotFactor, snapshotSegmentCountMax } = this.#plan.tuning;
    const { journalBytes, segmentCount } = this.#chain;
    if (segmentCount > slack * snapshotSegmentCountMax) return true;
    const bytesMax = Math.max(snapshotBytesMin, snapshotFactor * this.#snapshotBytes);
    return journalBytes > slack * bytesMax;
  }

  #startSnapshot(): void {
    this.#snapshotting = this.#snapshot()
      .then(
        () => this.#snapshotBackoff.succeeded(),
        () => this.#snapshotBackoff.failed(),
      )
      .finally(() => {
        this.#snapshotting = undefined;
      });
    this.#background.track(this.#snapshotting);
  }

  async #snapshot(): Promise<void> {
    const chain = this.#chain;
    // Kept for the next try if this one fails: each costs a segment, and an earlier one is as good.
    this.#snapshotStart ??= await this.#enqueue(() => this.#beginSnapshot());
    const begun = this.#snapshotStart;
    const bytes = await writeSnapshot({
      place: this.#place,
      number: begun.number,
      firstSequence: begun.first,
      state: this.#state,
      frameBytes: this.#plan.tuning.snapshotFrameBytes,
      isStopped: () => this.#stopsSnapshot,
    });
    if (bytes === undefined) return;
    this.#snapshotStart = undefined;
    this.#snapshotBytes = bytes;
    this.#snapshotTotalBytes += bytes;
    chain.journalBytes -= begun.journalBytes;
    chain.segmentCount -= begun.segmentCount;
    const { directory, layout, partition } = this.#place;
    for (const file of await partitionFiles(directory, layout, partition)) {
      if (file.number < begun.number) await removeQuietly(file.path);
    }
  }

  /** Ends the segments that the snapshot will stand for. */
  async #beginSnapshot(): Promise<SnapshotStart> {
    const { journalBytes, segmentCount } = this.#chain;
    await this.#chain.switchSegment(0);
    const { currentNumber: number, sequence: first } = this.#chain;
    return { number, first, journalBytes, segmentCount };
  }

  async #close(): Promise<void> {
    // Set before anything else runs: no call gets in from here on.
    await Promise.resolve();
    this.#stopsSnapshot = true;
    while (this.#queue !== undefined || this.#snapshotting !== undefined) {
      await Promise.allSettled([this.#queue, this.#snapshotting]);
    }
    // A long journal takes several times as long to read as a snapshot of it.
    const { journalBytes } = this.#chain;
    const { closingSnapshotBytesMin } = this.#plan.tuning;
    if (journalBytes > Math.max(closingSnapshotBytesMin, this.#snapshotBytes)) {
      this.#stopsSnapshot = false;
      this.#snapshotStart = undefined;
      await this.#chain.shrink();
      this.#startSnapshot();
      await this.#background.pending;
    }
    await this.#chain.close();
    await this.#background.pending;
  }

  /** Runs `task` after all tasks before it, whether they failed or not. */
  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue === undefined ? task() : this.#queue.then(task, task);
    const settled = (): void => {
      if (this.#queue === result) this.#queue = undefined;
    };
    this.#queue = result;
    result.then(settled, settled);
    return result;
  }

  #assertOpen(what: string): void {
    if (this.#closing !== undefined) throw closedError(what);
  }

  #writeError(cause: unknown): PullManagerError {
    return storeError('cannot write to the journal', cause, this.#chain.path);
  }
}
