/** Reproducible randomness: a small fast generator, and sampling by popularity. */

/** Pseudo-random numbers from a seed (sfc32); the same seed and stream give the same sequence. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  /** @param stream Tells apart generators of one seed, for example one for each caller. */
  constructor(seed: number, stream = 0) {
    this.#a = mix(seed);
    this.#b = mix(seed ^ 0x9e3779b9 ^ mix(stream + 1));
    this.#c = mix(stream ^ 0x85ebca6b);
    for (let i = 0; i < 12; i++) this.next();
  }

  /** A whole number from 0 to 2^32 - 1. */
  next(): number {
    const sum = (this.#a + this.#b + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** A whole number from 0 to `limit` - 1; `limit` is at most 2^32. */
  below(limit: number): number {
    return Math.floor((this.next() / 0x1_0000_0000) * limit);
  }

  /** A number from 0 up to, not including, 1. */
  share(): number {
    return this.next() / 0x1_0000_0000;
  }
}

/** Mixes whole numbers into one of 32 bits; for choices that must not depend on any order. */
export function hashNumbers(...values: readonly number[]): number {
  let hash = 0x12345678;
  for (const value of values) hash = mix(hash ^ mix(value));
  return hash >>> 0;
}

/** The same as a share from 0 up to, not including, 1. */
export function shareOf(...values: readonly number[]): number {
  return hashNumbers(...values) / 0x1_0000_0000;
}

function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return x ^ (x >>> 15);
}

/**
 * Samples ranks 0 to `count` - 1 with Zipf popularity: rank k has the weight 1 / (k + 1)^skew.
 *
 * Constant time for each sample (Walker's alias method). `skew` 0 is uniform.
 */
export class Zipf {
  readonly count: number;
  readonly #keep: Float64Array;
  readonly #alias: Int32Array;

  constructor(count: number, skew: number) {
    this.count = count;
    this.#keep = new Float64Array(count);
    this.#alias = new Int32Array(count);
    let total = 0;
    for (let rank = 0; rank < count; rank++) total += (rank + 1) ** -skew;
    const poor: number[] = [];
    const rich: number[] = [];
    for (let rank = 0; rank < count; rank++) {
      const weight = ((rank + 1) ** -skew / total) * count;
      this.#keep[rank] = weight;
      (weight < 1 ? poor : rich).push(rank);
    }
    while (poor.length > 0 && rich.length > 0) {
      const small = poor.pop()!;
      const large = rich.pop()!;
      this.#alias[small] = large;
      this.#keep[large]! += this.#keep[small]! - 1;
      (this.#keep[large]! < 1 ? poor : rich).push(large);
    }
    // What is left is 1 but for rounding.
    for (const rank of [...poor, ...rich]) this.#keep[rank] = 1;
  }

  sample(random: Random): number {
    const column = random.below(this.count);
    return random.share() < this.#keep[column]! ? column : this.#alias[column]!;
  }
}

/** A random order of 0 to `count` - 1. */
export function shuffled(count: number, random: Random): Int32Array {
  const order = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const j = random.below(i + 1);
    order[i] = order[j]!;
    order[j] = i;
  }
  return order;
}
