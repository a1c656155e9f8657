/**
 * How many pulls of each image are in flight, in shared memory, so that the replacement of a dead
 * worker counts on where it stopped.
 *
 * One table per worker, written by its owner only: open addressing with linear probing. An entry is
 * three words: hash, check, count + 1 (0: never used; 1: no pull any more, may be reused). Two images
 * with equal hashes (2^-64) would share a count, which errs on the safe side: an intent stays longer.
 *
 * The memory has two halves, of which one is in use. When that is full, the entries with pulls are
 * copied to the other, sized for them, which takes over in one store: an owner may die at any moment.
 * A node has few pulls in flight at a time, so its half stays small, and in the processor's cache.
 *
 * A table that overflows is no longer `isComplete`: a later owner then knows only lower bounds, and
 * must not take a count of zero for "none".
 */
import type { Key } from '../protocol/key.ts';
import { LINE_WORDS } from '../protocol/shared-state.ts';

/** Entries that a half has room for, least and most, as logarithms. */
const CAPACITY_LOG2_MIN = 12;
const CAPACITY_LOG2_MAX = 19;
const ENTRY_WORDS = 3;
const HALF_WORDS = (1 << CAPACITY_LOG2_MAX) * ENTRY_WORDS;
const TABLE_WORDS = LINE_WORDS + 2 * HALF_WORDS;
/** Share of used entries, with pulls or not, at which a half is full. */
const LOAD_FACTOR_MAX = 0.75;
/** Entries a new half has for each that it takes over, as long as that is possible. */
const ROOM = 4;
/** Entries with pulls at which the table overflows. */
const LIVE_MAX = (1 << CAPACITY_LOG2_MAX) / 2;

/** Words of the table's head. */
const INCOMPLETE = 0;
/** Which half counts: 0 or 1. */
const CURRENT = 1;
/** Word at which the first half's head begins; the second's follows it. */
const HEADS = 4;
const HEAD_WORDS = 4;
/** Words of a half's head. The capacity is what its logarithm is above the least. */
const CAPACITY_LOG2 = 0;
const USED = 1;
const LIVE = 2;

/** The counts of one worker's images. */
export class InFlightTable {
  /** False where counts may have been lost: see above. Constant, since only a predecessor loses. */
  readonly isComplete: boolean;
  readonly #words: Int32Array;
  /** The half that counts: its head, its first entry, and how a hash finds its place there. */
  #head = 0;
  #first = 0;
  #shift = 0;
  #mask = 0;
  /** Counts that the full table has no room for. They die with the thread. */
  readonly #overflow = new Map<string, number>();

  constructor(buffer: SharedArrayBuffer, workerIndex: number) {
    this.#words = new Int32Array(buffer, workerIndex * TABLE_WORDS * 4, TABLE_WORDS);
    this.isComplete = this.#words[INCOMPLETE] === 0;
    this.#use(Atomics.load(this.#words, CURRENT));
  }

  /** Memory for the tables of an engine. Untouched pages cost nothing. */
  static allocate(workerCount: number): SharedArrayBuffer {
    return new SharedArrayBuffer(workerCount * TABLE_WORDS * 4);
  }

  get(key: Key): number {
    const at = this.#find(key.hash, key.check);
    if (at >= 0) return this.#words[at + 2]! - 1;
    return this.#overflow.size === 0 ? 0 : (this.#overflow.get(key.text) ?? 0);
  }

  set(key: Key, count: number): void {
    const words = this.#words;
    const at = this.#find(key.hash, key.check);
    if (at >= 0) {
      const change = Math.sign(count) - Math.sign(words[at + 2]! - 1);
      // An owner that dies in between leaves one too many: the next half is sized by it.
      if (change > 0) words[this.#head + LIVE]!++;
      words[at + 2] = count + 1;
      if (change < 0) words[this.#head + LIVE]!--;
      return;
    }
    if (count === 0) {
      this.#overflow.delete(key.text);
      return;
    }
    if (this.#overflow.has(key.text) || words[this.#head + LIVE]! >= LIVE_MAX) {
      words[INCOMPLETE] = 1;
      this.#overflow.set(key.text, count);
      return;
    }
    if (words[this.#head + USED]! >= (this.#mask + 1) * LOAD_FACTOR_MAX) this.#rehash();
    this.#insert(key.hash, key.check, count);
  }

  #use(half: number): void {
    this.#head = HEADS + half * HEAD_WORDS;
    this.#first = LINE_WORDS + half * HALF_WORDS;
    const log = CAPACITY_LOG2_MIN + this.#words[this.#head + CAPACITY_LOG2]!;
    // FNV's low bits choose stripe and version slot already; the upper ones of a product are spread.
    this.#shift = 32 - log;
    this.#mask = (1 << log) - 1;
  }

  #slotOf(hash: number): number {
    return Math.imul(hash, 0x9e3779b1) >>> this.#shift;
  }

  /** Index of the entry's words, or -1. */
  #find(hash: number, check: number): number {
    const words = this.#words;
    const mask = this.#mask;
    for (let i = this.#slotOf(hash); ; i = (i + 1) & mask) {
      const at = this.#first + i * ENTRY_WORDS;
      if (words[at + 2] === 0) return -1;
      if (words[at] === hash && words[at + 1] === check) return at;
    }
  }

  #insert(hash: number, check: number, count: number): void {
    const words = this.#words;
    let i = this.#slotOf(hash);
    let at = this.#first + i * ENTRY_WORDS;
    while (words[at + 2]! > 1) {
      i = (i + 1) & this.#mask;
      at = this.#first + i * ENTRY_WORDS;
    }
    if (words[at + 2] === 0) words[this.#head + USED]!++;
    words[this.#head + LIVE]!++;
    words[at] = hash;
    words[at + 1] = check;
    // Last: an owner that dies before this store leaves an entry that does not count.
    words[at + 2] = count + 1;
  }

  /** Goes on in the other half, with the entries that have pulls. */
  #rehash(): void {
    const words = this.#words;
    const from = this.#first;
    const end = from + (this.#mask + 1) * ENTRY_WORDS;
    const live = words[this.#head + LIVE]!;
    const half = 1 - Atomics.load(words, CURRENT);
    const head = HEADS + half * HEAD_WORDS;
    let log = CAPACITY_LOG2_MIN;
    while (log < CAPACITY_LOG2_MAX && 1 << log < live * ROOM) log++;
    words[head + CAPACITY_LOG2] = log - CAPACITY_LOG2_MIN;
    words[head + USED] = 0;
    words[head + LIVE] = 0;
    this.#use(half);
    words.fill(0, this.#first, this.#first + (this.#mask + 1) * ENTRY_WORDS);
    for (let at = from; at < end; at += ENTRY_WORDS) {
      if (words[at + 2]! > 1) this.#insert(words[at]!, words[at + 1]!, words[at + 2]! - 1);
    }
    Atomics.store(words, CURRENT, half);
  }
}
