/**
 * A map with a bound: when the young half is full, the old half is dropped and the young one takes
 * its place. A hit in the young half, the usual case, costs no more than in a plain map.
 */
export class BoundedCache<K, V> {
  readonly #max: () => number;
  #halfMax: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  /**
   * @param max - Entries at most; of those used lately, at least half as many are kept. A function is asked
   * whenever the young half is full.
   */
  constructor(max: number | (() => number)) {
    this.#max = typeof max === 'number' ? () => max : max;
    this.#halfMax = this.#half();
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get max(): number {
    return this.#max();
  }

  get(key: K): V | undefined {
    const found = this.#young.get(key);
    if (found !== undefined || this.#old.size === 0) return found;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    this.#old.delete(key);
    this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size < this.#halfMax) return;
    this.#halfMax = this.#half();
    if (this.#young.size < this.#halfMax) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  #half(): number {
    return Math.max(1, this.#max() >> 1);
  }
}
