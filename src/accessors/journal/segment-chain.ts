/**
 * The segments of a partition as one place to append to: a current one, and a spare one made ahead
 * of need by asynchronous calls, because filling a segment with zeros takes longer than a commit
 * may.
 */
import { type BackgroundWork, Backoff } from './background.ts';
import { Segment, type SegmentPlace, segmentBytesFor } from './segment.ts';
import type { JournalTuning } from './tuning.ts';

export interface SegmentChainOptions {
  readonly place: SegmentPlace;
  readonly tuning: JournalTuning;
  readonly background: BackgroundWork;
  /** Of the first segment. */
  readonly number: number;
  /** Of the first batch. */
  readonly sequence: number;
  /** Batches and segments that there are already, for the next snapshot's sake. */
  readonly journalBytes: number;
  readonly segmentCount: number;
}

/** Appends batches; one at a time, used by one thread. */
export class SegmentChain {
  /** Sequence of the next batch. */
  sequence: number;
  /** Batches since the last snapshot, in bytes. */
  journalBytes: number;
  /** Segments since the last snapshot. */
  segmentCount: number;
  /** Bytes written since the chain was opened. */
  writtenBytes = 0;
  readonly #place: SegmentPlace;
  readonly #tuning: JournalTuning;
  readonly #background: BackgroundWork;
  readonly #backoff: Backoff;
  #current: Segment;
  #spare: Segment | undefined;
  /** A spare segment in the making; never rejects. */
  #preparing: Promise<void> | undefined;
  #nextNumber: number;
  /** Length of the next segment, unless a batch needs more. */
  #nextBytes: number;

  private constructor(options: SegmentChainOptions, current: Segment) {
    const { tuning } = options;
    this.sequence = options.sequence;
    this.journalBytes = options.journalBytes;
    this.segmentCount = options.segmentCount + 1;
    this.#place = options.place;
    this.#tuning = tuning;
    this.#background = options.background;
    this.#backoff = new Backoff(tuning.retryMsMin, tuning.retryMsMax);
    this.#current = current;
    this.#nextNumber = current.number + 1;
    this.#nextBytes = Math.min(tuning.segmentBytesMax, current.fileBytes * 2);
  }

  /** Begins a new segment, which fences out whoever may still write to those before. */
  static async open(options: SegmentChainOptions): Promise<SegmentChain> {
    const { place, tuning, number, sequence } = options;
    const first = await Segment.create(place, number, tuning.segmentBytesMin);
    try {
      await first.begin(sequence);
    } catch (error) {
      await first.discard();
      throw error;
    }
    return new SegmentChain(options, first);
  }

  /** Number of the segment that takes the next batch. */
  get currentNumber(): number {
    return this.#current.number;
  }

  /** Whether the next segment is being made. */
  get isPreparing(): boolean {
    return this.#preparing !== undefined;
  }

  /** The file that takes the next batch. */
  get path(): string {
    return this.#current.path;
  }

  /**
   * Appends a frame and blocks until it is durable. False: there is no segment at hand that has
   * room, nothing was done, use `append`. Throws if it could not be written.
   */
  appendSync(frame: Buffer): boolean {
    let bytes = frame;
    if (!this.#hasRoom(frame.length)) {
      const spare = this.#spare;
      if (spare === undefined || spare.fileBytes < segmentBytesFor(frame.length)) return false;
      this.#spare = undefined;
      // The header of the segment is encoded in the same buffer.
      bytes = Buffer.from(frame);
      try {
        spare.beginSync(this.sequence);
      } catch (error) {
        this.#distrust();
        this.#background.track(spare.discard());
        throw error;
      }
      this.#replaceCurrent(spare);
    }
    this.#current.seal(bytes, this.sequence);
    this.#current.writeSync(bytes);
    this.#appended(bytes.length);
    return true;
  }

  /** Appends a frame, which stays as it is until then; durable when it resolves. */
  async append(frame: Buffer): Promise<void> {
    if (!this.#hasRoom(frame.length)) await this.switchSegment(frame.length);
    this.#current.seal(frame, this.sequence);
    await this.#current.write(frame);
    this.#appended(frame.length);
  }

  /** Makes a new segment, with room for a frame of `frameBytes`, the current one. */
  async switchSegment(frameBytes: number): Promise<void> {
    await this.#preparing;
    let segment = this.#spare;
    this.#spare = undefined;
    if (segment !== undefined && segment.fileBytes < segmentBytesFor(frameBytes)) {
      await segment.discard();
      segment = undefined;
    }
    segment ??= await this.#create(segmentBytesFor(frameBytes));
    try {
      await segment.begin(this.sequence);
    } catch (error) {
      this.#distrust();
      await segment.discard();
      throw error;
    }
    this.#replaceCurrent(segment);
  }

  /**
   * The header of the next segment may have reached the disk in spite of its error, and would then
   * fence out what the current one got from here on. So it gets nothing more: the segment after that
   * begins with the same sequence number, and makes the failed one obsolete.
   */
  #distrust(): void {
    this.#current.hasFailed = true;
  }

  /** Makes the next segment one of the smallest size. */
  async shrink(): Promise<void> {
    await this.#preparing;
    await this.#spare?.discard();
    this.#spare = undefined;
    this.#nextBytes = this.#tuning.segmentBytesMin;
  }

  /** Marks the end, gives the files back and removes the spare one. */
  async close(): Promise<void> {
    await this.shrink();
    try {
      if (!this.#current.hasFailed) await this.#current.finish(this.sequence);
    } catch {
      // Everything acknowledged is durable; without the mark this is a crash like any other.
    }
    this.#current.release();
  }

  #hasRoom(frameBytes: number): boolean {
    return !this.#current.hasFailed && this.#current.fits(frameBytes);
  }

  #replaceCurrent(segment: Segment): void {
    this.#current.release();
    this.#current = segment;
    this.segmentCount++;
    this.#nextBytes = Math.min(
      this.#tuning.segmentBytesMax,
      Math.max(this.#tuning.segmentBytesMin, segment.fileBytes * 2),
    );
  }

  #appended(bytes: number): void {
    this.sequence++;
    this.journalBytes += bytes;
    this.writtenBytes += bytes;
    if (this.#spare !== undefined || this.#preparing !== undefined || !this.#backoff.isReady)
      return;
    this.#preparing = this.#prepareSpare();
    this.#background.track(this.#preparing);
  }

  async #prepareSpare(): Promise<void> {
    try {
      this.#spare = await this.#create(0);
    } catch {
      // Tried again later, and at the latest by the commit that needs it, which then reports it.
    } finally {
      this.#preparing = undefined;
    }
  }

  async #create(bytesLeast: number): Promise<Segment> {
    const bytes = Math.max(this.#nextBytes, bytesLeast);
    try {
      const segment = await Segment.create(this.#place, this.#nextNumber++, bytes);
      this.#backoff.succeeded();
      return segment;
    } catch (error) {
      this.#backoff.failed();
      // Where there is no room for much there may be some for little.
      this.#nextBytes = this.#tuning.segmentBytesMin;
      throw error;
    }
  }
}
