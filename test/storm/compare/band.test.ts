import { describe, expect, it } from 'vitest';
import { median, shiftBetween, shiftOfPairs } from '../../../src/storm/compare/band.ts';

/** All ways to choose `count` of the numbers below `size`. */
function* choices(size: number, count: number, from = 0): Generator<number[]> {
  if (count === 0) {
    yield [];
    return;
  }
  for (let first = from; first <= size - count; first++) {
    for (const rest of choices(size, count - 1, first + 1)) yield [first, ...rest];
  }
}

/** How many of all rankings of two equal samples have a band without 0, and how many have none. */
function missesOf(aCount: number, bCount: number, errorShare: number) {
  let misses = 0;
  let all = 0;
  let bandless = 0;
  for (const a of choices(aCount + bCount, aCount)) {
    const b = Array.from({ length: aCount + bCount }, (_, i) => i).filter((i) => !a.includes(i));
    const { band } = shiftBetween(a, b, errorShare);
    all++;
    if (band === undefined) bandless++;
    else if (band.low > 0 || band.high < 0) misses++;
  }
  return { misses, all, bandless };
}

describe('the band of a shift', () => {
  // The numbers of rankings follow from the tables of the Mann-Whitney test: U of at most 2, 0, 5.
  it.each([
    { a: 5, b: 5, errorShare: 0.05, misses: 8, all: 252 },
    { a: 4, b: 4, errorShare: 0.05, misses: 2, all: 70 },
    { a: 6, b: 6, errorShare: 0.05, misses: 38, all: 924 },
    { a: 3, b: 7, errorShare: 0.05, misses: 4, all: 120 },
  ])('misses no more often than it may: $a against $b', ({ a, b, errorShare, misses, all }) => {
    const counted = missesOf(a, b, errorShare);
    expect(counted).toEqual({ misses, all, bandless: 0 });
    expect(counted.misses / counted.all).toBeLessThanOrEqual(errorShare);
  });

  it('is none where there are too few values', () => {
    expect(missesOf(3, 3, 0.05)).toMatchObject({ bandless: 20 });
    expect(missesOf(4, 4, 0.025)).toMatchObject({ bandless: 70 });
  });

  it('holds the shift that was put in', () => {
    const a = [1, 2, 3, 4, 5];
    const { estimate, band } = shiftBetween(
      a,
      a.map((value) => value + 10),
      0.05,
    );
    expect(estimate).toBe(10);
    expect(band).toEqual({ low: 7, high: 13 });
  });

  it('is not moved by one wild value', () => {
    const { estimate } = shiftBetween([1, 2, 3, 4, 5], [1, 2, 3, 4, 1_000_000], 0.05);
    expect(estimate).toBe(0);
  });

  it('comes from as many values as are looked at', () => {
    const a = Array.from({ length: 200 }, (_, i) => i);
    const { estimate, band } = shiftBetween(
      a,
      a.map((value) => value + 20),
      0.05,
    );
    expect(estimate).toBe(20);
    // The normal approximation of the test: 20 000 ± 1.96 √(200 · 200 · 401 / 12).
    expect(band!.low).toBeGreaterThan(7);
    expect(band!.high).toBeLessThan(33);
  });
});

describe('the band of pairs', () => {
  /** How many of all signs of differences of equal builds have a band without 0. */
  const missesOfPairs = (count: number, errorShare: number) => {
    let misses = 0;
    let bandless = 0;
    for (let signs = 0; signs < 2 ** count; signs++) {
      // No two sums of these are equal.
      const differences = Array.from({ length: count }, (_, i) =>
        (signs >> i) & 1 ? -(i + 1 + 1 / (i + 7)) : i + 1 + 1 / (i + 7),
      );
      const { band } = shiftOfPairs(differences, errorShare);
      if (band === undefined) bandless++;
      else if (band.low > 0 || band.high < 0) misses++;
    }
    return { misses, bandless };
  };

  // From the tables of the test of Wilcoxon: W of at most 0, 3 and 8.
  it.each([
    { count: 6, misses: 2 },
    { count: 8, misses: 10 },
    { count: 10, misses: 50 },
  ])('misses no more often than it may: $count', ({ count, misses }) => {
    expect(missesOfPairs(count, 0.05)).toEqual({ misses, bandless: 0 });
    expect(misses / 2 ** count).toBeLessThanOrEqual(0.05);
  });

  it('is none where there are too few', () => {
    expect(missesOfPairs(5, 0.05)).toEqual({ misses: 0, bandless: 32 });
  });

  it('holds the shift that was put in', () => {
    const { estimate, band } = shiftOfPairs([9, 10, 11, 10, 9.5, 10.5], 0.05);
    expect(estimate).toBe(10);
    expect(band).toEqual({ low: 9, high: 11 });
  });
});

describe('the median', () => {
  it('is the middle value, or between the two', () => {
    expect(median([1, 2, 9])).toBe(2);
    expect(median([1, 2, 4, 9])).toBe(3);
  });
});
