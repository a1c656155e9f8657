/**
 * The redo log: writes that are durable before the kubelet's files have them. Segments and frames
 * are the journal's (docs/journal-format.md); what is in them is this.
 *
 * | Frame | Payload |
 * | --- | --- |
 * | writes | `[1, doneUpTo, files, batch]`: a batch as in the journal; for each write the id of the file behind its key at that time |
 * | placing | `[2, doneUpTo, covers, kind, key, id, kind, key, id, …]`: files that are about to get their names, with all writes up to the sequence `covers` in them; none: only `doneUpTo` is news |
 *
 * `doneUpTo`: writes up to that sequence are in the kubelet's files, for good.
 */
import { unlink } from 'node:fs/promises';
import { errorCode } from '../../errors.ts';
import { packText } from '../../records/codec.ts';
import type { Awaitable, RecordWrite } from '../accessor.ts';
import { flushDirectory } from '../directories.ts';
import type { BackgroundWork } from '../journal/background.ts';
import { packBatch } from '../journal/batch.ts';
import { removeQuietly } from '../journal/file-io.ts';
import { listJournalFiles } from '../journal/file-names.ts';
import { encodeFrame } from '../journal/frame.ts';
import { SegmentChain } from '../journal/segment-chain.ts';
import { DEFAULT_TUNING, type JournalTuning } from '../journal/tuning.ts';
import type { RecordKind } from './layout.ts';

export const REDO_WRITES = 1;
export const REDO_PLACING = 2;
/** Segments of one layout; partitions are workers. */
export const REDO_LAYOUT = 1;

/** A file that is about to get its name. */
export interface PlacedKey {
  readonly kind: RecordKind;
  readonly key: string;
  readonly id: number;
}

interface LiveSegment {
  readonly number: number;
  /** Sequence of its first frame. */
  readonly first: number;
  /** Bytes of all frames before it. */
  readonly bytesBefore: number;
}

export interface RedoLogOptions {
  readonly directory: string;
  readonly partition: number;
  readonly mayBlock: boolean;
  readonly background: BackgroundWork;
  readonly tuning?: Partial<JournalTuning> | undefined;
}

/**
 * Removes the logs of partitions, for good when it resolves. In ascending order, so that no crash leaves
 * a gap.
 */
export async function removeLogs(
  directory: string,
  partitions: { readonly size: number; has(partition: number): boolean },
): Promise<void> {
  if (partitions.size === 0) return;
  for (const { partition, path } of await listJournalFiles(directory)) {
    if (!partitions.has(partition)) continue;
    await unlink(path).catch((cause: unknown) => {
      if (errorCode(cause) !== 'ENOENT') throw cause;
    });
  }
  await flushDirectory(directory);
}

/** Appends one frame after another. Used by one thread. */
export class RedoLog {
  readonly #directory: string;
  readonly #partition: number;
  readonly #mayBlock: boolean;
  readonly #chain: SegmentChain;
  /** Segments that hold frames, oldest first, with the sequence of their first one. */
  readonly #segments: LiveSegment[] = [];
  #doneUpTo: number;
  /** The `doneUpTo` that is durable: a replay does not bring back what was written until then. */
  #retiredUpTo: number;
  /** Sequence of the last writes. */
  #lastWrites: number;
  /** The last of the appends that wait for each other. */
  #queue: Promise<unknown> | undefined;

  private constructor(options: RedoLogOptions, chain: SegmentChain) {
    this.#directory = options.directory;
    this.#partition = options.partition;
    this.#mayBlock = options.mayBlock;
    this.#chain = chain;
    this.#doneUpTo = chain.sequence - 1;
    this.#retiredUpTo = this.#doneUpTo;
    this.#lastWrites = this.#doneUpTo;
    this.#segments.push({ number: chain.currentNumber, first: chain.sequence, bytesBefore: 0 });
  }

  /** Begins a log in a partition that has none. */
  static async open(options: RedoLogOptions): Promise<RedoLog> {
    const { directory, partition, background } = options;
    const chain = await SegmentChain.open({
      place: { directory, layout: REDO_LAYOUT, partition, partitionCount: 1, flushed: true },
      tuning: { ...DEFAULT_TUNING, ...options.tuning },
      background,
      number: 1,
      sequence: 1,
      journalBytes: 0,
      segmentCount: 0,
    });
    return new RedoLog(options, chain);
  }

  /** Sequence of the last frame. */
  get sequence(): number {
    return this.#chain.sequence - 1;
  }

  /** Bytes of frames since the oldest segment that is still needed. */
  get liveBytes(): number {
    return this.#chain.journalBytes - this.#segments[0]!.bytesBefore;
  }

  /** Up to which sequence a replay passes over writes. */
  get retiredUpTo(): number {
    return this.#retiredUpTo;
  }

  /** Sequence of the first frame of the newest segment; older ones go when nothing needs them. */
  get newestFrom(): number {
    return this.#segments.at(-1)!.first;
  }

  /** Whether a replay would begin with writes, be they in the kubelet's files or not. */
  get isInUse(): boolean {
    return this.#lastWrites > this.#retiredUpTo;
  }

  get writtenBytes(): number {
    return this.#chain.writtenBytes;
  }

  /** The file that takes the next frame. */
  get path(): string {
    return this.#chain.path;
  }

  /**
   * Appends a batch, durable when it returns or resolves; `done` is called with its sequence before
   * anything else is appended.
   *
   * @param fileOf - the id of the file behind the key of a write, at the time of the append.
   */
  appendWrites(
    batch: readonly RecordWrite[],
    fileOf: (write: RecordWrite) => number,
    done: (sequence: number) => void,
  ): Awaitable<void> {
    const fields = packBatch(batch);
    return this.#appendBatch(() => [batch.map(fileOf), fields], done);
  }

  /** As `appendWrites`, for writes that are worked out when it is their turn. */
  appendAnew(
    batchOf: () => readonly RecordWrite[],
    fileOf: (write: RecordWrite) => number,
    done: (sequence: number) => void,
  ): Awaitable<void> {
    return this.#appendBatch(() => {
      const batch = batchOf();
      return [batch.map(fileOf), packBatch(batch)];
    }, done);
  }

  appendPlacing(covers: number, placed: readonly PlacedKey[]): Awaitable<void> {
    const payload: unknown[] = [REDO_PLACING, this.#doneUpTo, covers];
    for (const { kind, key, id } of placed) payload.push(kind, packText(key, 'key'), id);
    return this.#append(
      () => payload,
      () => {},
    );
  }

  /**
   * Notes that writes up to that sequence are in the kubelet's files, for good when it resolves, and
   * drops what has no others.
   */
  async retire(doneUpTo: number): Promise<void> {
    this.#doneUpTo = Math.max(this.#doneUpTo, doneUpTo);
    if (this.#retiredUpTo < Math.min(this.#doneUpTo, this.#lastWrites)) {
      const retired = this.#doneUpTo;
      await this.appendPlacing(0, []);
      this.#retiredUpTo = retired;
    }
    let count = 0;
    while ((this.#segments[count + 1]?.first ?? Number.POSITIVE_INFINITY) <= this.#doneUpTo + 1)
      count++;
    if (count === 0) return;
    this.#segments.splice(0, count);
    await this.#remove(this.#segments[0]!.number);
  }

  /** Removes other logs beside this one, for good when it resolves. */
  removeOthers(partitions: ReadonlySet<number>): Promise<void> {
    return removeLogs(this.#directory, partitions);
  }

  /** Resolves when no append is under way. Never rejects. */
  async idle(): Promise<void> {
    while (this.#queue !== undefined) await Promise.allSettled([this.#queue]);
  }

  /** Gives the files back; removes them where nothing in them is needed any more. Never rejects. */
  async close(isDone: boolean): Promise<void> {
    await this.idle();
    await this.#chain.close();
    if (isDone) await this.#remove(Number.POSITIVE_INFINITY).catch(() => {});
  }

  /** In ascending order, so that no crash leaves a gap. */
  async #remove(below: number): Promise<void> {
    for (const file of await listJournalFiles(this.#directory)) {
      if (file.partition === this.#partition && file.number < below) await removeQuietly(file.path);
    }
    if (below === Number.POSITIVE_INFINITY) await flushDirectory(this.#directory);
  }

  #appendBatch(fields: () => unknown[], done: (sequence: number) => void): Awaitable<void> {
    return this.#append(
      () => [REDO_WRITES, this.#doneUpTo, ...fields()],
      (sequence) => {
        this.#lastWrites = sequence;
        done(sequence);
      },
    );
  }

  #append(payload: () => unknown[], done: (sequence: number) => void): Awaitable<void> {
    if (this.#mayBlock && this.#queue === undefined) {
      const { sequence, journalBytes: before } = this.#chain;
      if (this.#chain.appendSync(encodeFrame(payload()))) {
        this.#appended(sequence, before, done);
        return undefined;
      }
    }
    return this.#enqueue(async () => {
      const { sequence, journalBytes: before } = this.#chain;
      // The encoding buffer is everybody's.
      await this.#chain.append(Buffer.from(encodeFrame(payload())));
      this.#appended(sequence, before, done);
    });
  }

  #appended(sequence: number, bytesBefore: number, done: (sequence: number) => void): void {
    const number = this.#chain.currentNumber;
    if (number !== this.#segments.at(-1)!.number) {
      this.#segments.push({ number, first: sequence, bytesBefore });
    }
    done(sequence);
  }

  /** Runs `task` after all tasks before it, whether they failed or not. */
  #enqueue(task: () => Promise<void>): Promise<void> {
    const result = this.#queue === undefined ? task() : this.#queue.then(task, task);
    const settled = (): void => {
      if (this.#queue === result) this.#queue = undefined;
    };
    this.#queue = result;
    result.then(settled, settled);
    return result;
  }
}
