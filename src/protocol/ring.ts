/**
 * A single-producer, single-consumer ring of 32-bit words in shared memory.
 *
 * A frame is contiguous: a header word (`opcode | wordCount << 8`, header included) and its words.
 * Where a frame does not fit before the end, a SKIP frame fills the rest. Positions count words and
 * wrap at 2^32; a ring's size is a power of two.
 *
 * A frame that cannot be one says that the producer went wrong. What comes after it means nothing, so
 * the consumer gives up: without a length it would read the same word for ever, or what is not the
 * ring's.
 */
import { PullManagerError } from '../errors.ts';
import type { SharedState } from './shared-state.ts';

/** Fills the words before the end of the ring; carries nothing. */
export const SKIP = 0;

const OPCODE_BITS = 8;
const OPCODE_MASK = (1 << OPCODE_BITS) - 1;

export interface RingPlace {
  readonly state: SharedState;
  /** First word of the ring. */
  readonly at: number;
  /** Word that holds the producer's position. */
  readonly tailAt: number;
  /** Word that holds the consumer's position. */
  readonly headAt: number;
}

/** Bytes that fill `byteLength` bytes, in words. */
export function wordsFor(byteLength: number): number {
  return (byteLength + 3) >> 2;
}

/** What is in a ring was not put there by a producer in order; `ENGINE_UNAVAILABLE`. */
export function outOfStep(cause?: unknown): PullManagerError {
  return new PullManagerError('ENGINE_UNAVAILABLE', 'a link is out of step', { cause });
}

/** The producing end. Frames are visible to the consumer only after `publish`. */
export class RingWriter {
  readonly words: Int32Array;
  /** The same memory as bytes; byte offset of a word is four times its index. */
  readonly bytes: Buffer;
  readonly #place: RingPlace;
  readonly #mask: number;
  #tail = 0;
  #published = 0;
  #knownHead = 0;

  constructor(place: RingPlace) {
    this.#place = place;
    this.words = place.state.words;
    this.bytes = Buffer.from(place.state.buffer);
    this.#mask = place.state.ringWords - 1;
  }

  /** The largest frame, in words: two of them always fit, so a waiting producer gets on. */
  get frameWordsMax(): number {
    return (this.#mask + 1) >> 2;
  }

  get hasUnpublished(): boolean {
    return this.#tail !== this.#published;
  }

  /** Whether enough is waiting that the consumer should not be kept from it until the tick ends. */
  get isHalfFull(): boolean {
    return ((this.#tail - this.#knownHead) | 0) > this.#mask >> 1;
  }

  /**
   * Makes room for a frame of `wordCount` words, header included, and writes the header. Answers the
   * index of the word after the header, or -1 if there is no room now.
   */
  begin(opcode: number, wordCount: number): number {
    const capacity = this.#mask + 1;
    const offset = this.#tail & this.#mask;
    const toEnd = capacity - offset;
    const needed = wordCount <= toEnd ? wordCount : toEnd + wordCount;
    if (((this.#tail - this.#knownHead) | 0) + needed > capacity) {
      this.#knownHead = Atomics.load(this.words, this.#place.headAt);
      if (((this.#tail - this.#knownHead) | 0) + needed > capacity) return -1;
    }
    let at = this.#place.at + offset;
    if (wordCount > toEnd) {
      this.words[at] = SKIP | (toEnd << OPCODE_BITS);
      at = this.#place.at;
    }
    this.#tail = (this.#tail + needed) | 0;
    this.words[at] = opcode | (wordCount << OPCODE_BITS);
    return at + 1;
  }

  /** Shows the consumer all frames so far. The store is what makes their words visible. */
  publish(): void {
    if (this.#tail === this.#published) return;
    Atomics.store(this.words, this.#place.tailAt, this.#tail);
    this.#published = this.#tail;
  }

  /** Starts over at position 0, where the other side has emptied the ring. */
  restart(): void {
    this.#tail = 0;
    this.#published = 0;
    this.#knownHead = 0;
  }

  /** Empties the ring. Only while no consumer is looking at it. */
  reset(): void {
    this.restart();
    Atomics.store(this.words, this.#place.tailAt, 0);
    Atomics.store(this.words, this.#place.headAt, 0);
  }
}

/** The consuming end. */
export class RingReader {
  readonly words: Int32Array;
  readonly bytes: Buffer;
  /** After `next`: index of the word after the header. */
  bodyAt = 0;
  /** After `next`: index of the word after the frame. */
  endAt = 0;
  readonly #place: RingPlace;
  readonly #mask: number;
  #head = 0;
  #knownTail = 0;

  constructor(place: RingPlace) {
    this.#place = place;
    this.words = place.state.words;
    this.bytes = Buffer.from(place.state.buffer);
    this.#mask = place.state.ringWords - 1;
  }

  /** Whether the producer has published frames that were not read yet. */
  hasMore(): boolean {
    if (this.#head !== this.#knownTail) return true;
    this.#knownTail = Atomics.load(this.words, this.#place.tailAt);
    return this.#head !== this.#knownTail;
  }

  /**
   * Moves on to the next frame and answers its opcode, or -1 if there is none.
   *
   * @throws `ENGINE_UNAVAILABLE` for what is no frame.
   */
  next(): number {
    while (this.hasMore()) {
      const offset = this.#head & this.#mask;
      const at = this.#place.at + offset;
      const header = this.words[at]!;
      const wordCount = header >>> OPCODE_BITS;
      const published = (this.#knownTail - this.#head) >>> 0;
      const isWhole =
        wordCount > 0 && wordCount <= published && offset + wordCount <= this.#mask + 1;
      if (!isWhole || published > this.#mask + 1) throw outOfStep();
      this.#head = (this.#head + wordCount) | 0;
      const opcode = header & OPCODE_MASK;
      if (opcode === SKIP) continue;
      this.bodyAt = at + 1;
      this.endAt = at + wordCount;
      return opcode;
    }
    return -1;
  }

  /** Gives the words of all frames read so far back to the producer. */
  release(): void {
    Atomics.store(this.words, this.#place.headAt, this.#head);
  }

  /** Starts over at position 0, after the producer's `reset`. */
  reset(): void {
    this.#head = 0;
    this.#knownTail = 0;
  }
}
