import { describe, expect, it } from 'vitest';
import { hashNumbers, Random, shuffled, Zipf } from '../../src/util/random.ts';

describe('Random', () => {
  it('gives the same sequence for the same seed and stream, and another for any other', () => {
    const take = (seed: number, stream: number): number[] => {
      const random = new Random(seed, stream);
      return Array.from({ length: 8 }, () => random.next());
    };
    expect(take(1, 2)).toEqual(take(1, 2));
    expect(take(1, 2)).not.toEqual(take(1, 3));
    expect(take(1, 2)).not.toEqual(take(2, 2));
    expect(take(0, 0)).not.toEqual(take(0, 1));
  });

  it('spreads evenly', () => {
    const random = new Random(42);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) counts[random.below(10)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });

  it('never reaches its limit', () => {
    const random = new Random(7);
    for (let i = 0; i < 10_000; i++) {
      expect(random.below(3)).toBeLessThan(3);
      expect(random.share()).toBeLessThan(1);
    }
  });
});

describe('Zipf', () => {
  it('gives each rank its share', () => {
    const zipf = new Zipf(1_000, 1);
    const random = new Random(1);
    const counts = new Array<number>(1_000).fill(0);
    for (let i = 0; i < 200_000; i++) counts[zipf.sample(random)]!++;
    const harmonic = Array.from({ length: 1_000 }, (_, k) => 1 / (k + 1)).reduce((a, b) => a + b);
    for (const rank of [0, 1, 9]) {
      const expected = 200_000 / (rank + 1) / harmonic;
      expect(Math.abs(counts[rank]! - expected)).toBeLessThan(5 * Math.sqrt(expected));
    }
  });

  it.each([0, 0.5, 1, 10])('stays in range with a skew of %d', (skew) => {
    const random = new Random(3);
    const zipf = new Zipf(5, skew);
    const seen = new Set(Array.from({ length: 5_000 }, () => zipf.sample(random)));
    expect([...seen].every((rank) => rank >= 0 && rank < 5)).toBe(true);
    expect(seen.has(0)).toBe(true);
  });
});

it('shuffled keeps every number once', () => {
  expect([...shuffled(100, new Random(1))].sort((a, b) => a - b)).toEqual([...Array(100).keys()]);
});

it('hashNumbers depends on every number and their order', () => {
  expect(hashNumbers(1, 2)).toBe(hashNumbers(1, 2));
  expect(hashNumbers(1, 2)).not.toBe(hashNumbers(2, 1));
  expect(hashNumbers(1, 2)).not.toBe(hashNumbers(1, 2, 0));
});
