/**
 * What one map of the write-through cache remembers of the keys of a store: the values of the keys
 * used last, which keys are absent, and whether it holds everything there is.
 *
 * Calls of one key may overlap if the store answers with promises. A value is remembered only if
 * nothing else was going on with its key from the call of the store to its answer, so that no
 * remembered value is ever older than what an ended call has shown or written.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager, the cache of pull records (from v1.34).
 */

import { settle } from '../util/settle.ts';
import { wellFormed } from '../util/well-formed.ts';
import type { Awaitable } from './accessor.ts';

/** How one of the two maps of a cache is doing. */
export interface CacheUsage {
  /** Keys remembered, as present or as absent. */
  readonly entries: number;
  /** Most keys remembered. */
  readonly size: number;
  /** Whether the map is known to hold every key of the store: then a key it lacks is absent. */
  readonly authoritative: boolean;
  /** Lookups answered without asking the store, since the cache was opened. */
  readonly hits: number;
  /** Lookups that asked the store, since the cache was opened. */
  readonly misses: number;
}

/** The store said that there is nothing under the key. */
const ABSENT = Symbol('absent');
/** Of this key nothing is known, although the map may be authoritative for all others. */
const UNKNOWN = Symbol('unknown');

/** The writes of one key that are under way. */
interface Writing {
  count: number;
  /** Whether what the key holds when they have all ended cannot be told from them. */
  isContested: boolean;
}

/** A bounded map, least recently used first, in front of one kind of key of a store. */
export class KeyCache<T> {
  readonly #size: number;
  /** In order of use. */
  readonly #entries = new Map<string, T | typeof ABSENT | typeof UNKNOWN>();
  /** Writes that have begun and not ended, by key. */
  readonly #writing = new Map<string, Writing>();
  /** The lookup of each key whose answer may be remembered, if nothing happens to the key before. */
  readonly #loading = new Map<string, object>();
  /** Raised whenever a write ends or a key is forgotten. */
  #epoch = 0;
  #isAuthoritative = false;
  #hits = 0;
  #misses = 0;

  constructor(size: number) {
    this.#size = size;
  }

  get usage(): CacheUsage {
    return {
      entries: this.#entries.size,
      size: this.#size,
      authoritative: this.#isAuthoritative,
      hits: this.#hits,
      misses: this.#misses,
    };
  }

  /** What the key holds, from the map or else from the store. Errors of `load` are not remembered. */
  get(key: string, load: () => Awaitable<T | undefined>): Awaitable<T | undefined> {
    const isCacheable = wellFormed(key) === key;
    const known = isCacheable ? this.#lookUp(key) : UNKNOWN;
    if (known !== UNKNOWN) {
      this.#hits++;
      return known === ABSENT ? undefined : known;
    }
    this.#misses++;
    if (!isCacheable || this.#writing.has(key)) return load();
    const lookup = {};
    this.#loading.set(key, lookup);
    return settle(
      load,
      (value) => {
        if (this.#endLoading(key, lookup)) this.#put(key, value ?? ABSENT);
        return value;
      },
      (cause) => {
        this.#endLoading(key, lookup);
        throw cause;
      },
    );
  }

  /** Call before the store is told to write or delete the key; then one of the two below. */
  beginWrite(text: string): void {
    // Stores differ in what they take a lone surrogate for: maybe for the key that this one becomes.
    const key = wellFormed(text);
    this.#loading.delete(key);
    const writing = this.#writing.get(key);
    if (writing === undefined) this.#writing.set(key, { count: 1, isContested: key !== text });
    else {
      writing.count++;
      writing.isContested = true;
    }
  }

  /** The store has written the key: it holds `value` now, or nothing. */
  endWrite(text: string, value: T | undefined): void {
    const key = wellFormed(text);
    // Of writes that overlap nobody knows which was the last.
    if (this.#endWriting(key)) this.#drop(key);
    else this.#put(key, value ?? ABSENT);
  }

  /** The store has failed to write the key, or has written it and failed then. */
  failWrite(text: string): void {
    const key = wellFormed(text);
    this.#endWriting(key);
    this.#drop(key);
  }

  /** Call before the store is asked for a listing; what it answers is for `endListing`. */
  beginListing(): number {
    return this.#epoch;
  }

  /**
   * Takes what the store has listed, if the map does not hold everything already. Where a write has
   * ended meanwhile the listing may be older than the map, and changes nothing.
   */
  endListing(epoch: number, entries: readonly (readonly [string, T])[], isComplete: boolean): void {
    if (epoch !== this.#epoch || this.#isAuthoritative) return;
    // Not strictly less, as in the reference: a full map that lacks nothing holds everything, and
    // the next key it has no room for takes the flag away.
    this.#isAuthoritative = isComplete && entries.length <= this.#size;
    if (!this.#isAuthoritative && this.#entries.size > 0) return;
    this.#entries.clear();
    this.#loading.clear();
    for (const [key, value] of entries.slice(0, this.#size)) {
      if (wellFormed(key) === key) this.#entries.set(key, value);
    }
  }

  /** Forgets what is known of the key, whatever is going on with it. */
  forget(text: string): void {
    const key = wellFormed(text);
    this.#epoch++;
    this.#loading.delete(key);
    const writing = this.#writing.get(key);
    if (writing !== undefined) writing.isContested = true;
    this.#drop(key);
  }

  /** Forgets everything; only another listing can make the map authoritative again. */
  forgetAll(): void {
    this.#epoch++;
    this.#loading.clear();
    for (const writing of this.#writing.values()) writing.isContested = true;
    this.#entries.clear();
    this.#isAuthoritative = false;
  }

  #lookUp(key: string): T | typeof ABSENT | typeof UNKNOWN {
    const known = this.#entries.get(key);
    if (known === undefined) return this.#isAuthoritative ? ABSENT : UNKNOWN;
    this.#entries.delete(key);
    this.#entries.set(key, known);
    return known;
  }

  /** Whether the lookup is still the one whose answer may be remembered. */
  #endLoading(key: string, lookup: object): boolean {
    if (this.#loading.get(key) !== lookup) return false;
    return this.#loading.delete(key);
  }

  /** Whether the write that ends here leaves the key as something that only the store knows. */
  #endWriting(key: string): boolean {
    const writing = this.#writing.get(key)!;
    this.#epoch++;
    if (--writing.count === 0) this.#writing.delete(key);
    return writing.isContested;
  }

  #put(key: string, value: T | typeof ABSENT | typeof UNKNOWN): void {
    this.#entries.delete(key);
    // Absence needs no room where every key that is not there is absent.
    if (value === ABSENT && this.#isAuthoritative) return;
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#size) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      break;
    }
    this.#isAuthoritative = false;
  }

  #drop(key: string): void {
    if (this.#isAuthoritative) this.#put(key, UNKNOWN);
    else this.#entries.delete(key);
  }
}
