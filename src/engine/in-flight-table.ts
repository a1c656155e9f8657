/**
 * How many pulls of each image are in flight, in shared memory, so that the replacement of a dead
 * worker counts on where it stopped.
 *
 * One table per worker, written by its owner only: open addressing with linear probing. An entry is
 * three words: hash, check, count + 1 (0: never used; 1: no pull any more, may be reused). Two images
 * with equal hashes (2^-64) would share a count, which errs on the safe side: an intent stays longer.
 *
 * A table that overflows, or whose owner died while it was being rebuilt, is no longer `isComplete`:
 * a later owner then knows only lower bounds, and must not take a count of zero for "none".
 */
import type { Key } from '../protocol/key.ts';
import { LINE_WORDS } from '../protocol/shared-state.ts';

const ENTRIES = 1 << 17;
const ENTRY_WORDS = 3;
/** Used entries, live or not, at which the table is rebuilt, and live ones at which it overflows. */
const USED_MAX = ENTRIES * 0.75;
const LIVE_MAX = ENTRIES * 0.5;
const TABLE_WORDS = LINE_WORDS + ENTRIES * ENTRY_WORDS;

const INCOMPLETE = 0;
const USED = 1;
const LIVE = 2;

/** The counts of one worker's images. */
export class InFlightTable {
  /** False where counts may have been lost: see above. Constant, since only a predecessor loses. */
  readonly isComplete: boolean;
  readonly #words: Int32Array;
  /** Counts that the full table has no room for. They die with the thread. */
  readonly #overflow = new Map<string, number>();

  constructor(buffer: SharedArrayBuffer, workerIndex: number) {
    this.#words = new Int32Array(buffer, workerIndex * TABLE_WORDS * 4, TABLE_WORDS);
    this.isComplete = this.#words[INCOMPLETE] === 0;
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
      words[LIVE] = words[LIVE]! + Math.sign(count) - Math.sign(words[at + 2]! - 1);
      words[at + 2] = count + 1;
      return;
    }
    if (count === 0) {
      this.#overflow.delete(key.text);
      return;
    }
    if (this.#overflow.has(key.text) || words[LIVE]! >= LIVE_MAX) {
      words[INCOMPLETE] = 1;
      this.#overflow.set(key.text, count);
      return;
    }
    if (words[USED]! >= USED_MAX) this.#rebuild();
    this.#insert(key.hash, key.check, count);
  }

  /** Index of the entry's words, or -1. */
  #find(hash: number, check: number): number {
    const words = this.#words;
    for (let i = slotOf(hash); ; i = (i + 1) & (ENTRIES - 1)) {
      const at = LINE_WORDS + i * ENTRY_WORDS;
      if (words[at + 2] === 0) return -1;
      if (words[at] === hash && words[at + 1] === check) return at;
    }
  }

  #insert(hash: number, check: number, count: number): void {
    const words = this.#words;
    let i = slotOf(hash);
    let at = LINE_WORDS + i * ENTRY_WORDS;
    while (words[at + 2]! > 1) {
      i = (i + 1) & (ENTRIES - 1);
      at = LINE_WORDS + i * ENTRY_WORDS;
    }
    if (words[at + 2] === 0) words[USED] = words[USED]! + 1;
    words[LIVE] = words[LIVE]! + 1;
    words[at] = hash;
    words[at + 1] = check;
    // Last: an owner that dies before this store leaves an entry that does not count.
    words[at + 2] = count + 1;
  }

  /** Drops the entries without pulls. */
  #rebuild(): void {
    const words = this.#words;
    const live: [hash: number, check: number, count: number][] = [];
    for (let at = LINE_WORDS; at < TABLE_WORDS; at += ENTRY_WORDS) {
      if (words[at + 2]! > 1) live.push([words[at]!, words[at + 1]!, words[at + 2]! - 1]);
    }
    const wasIncomplete = words[INCOMPLETE]!;
    words[INCOMPLETE] = 1;
    words.fill(0, LINE_WORDS);
    words[USED] = 0;
    words[LIVE] = 0;
    for (const [hash, check, count] of live) this.#insert(hash, check, count);
    words[INCOMPLETE] = wasIncomplete;
  }
}

/** FNV's low bits choose stripe and version slot already; spread what is left. */
function slotOf(hash: number): number {
  return (Math.imul(hash, 0x9e3779b1) >>> 15) & (ENTRIES - 1);
}
