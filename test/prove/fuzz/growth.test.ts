import { describe, expect, it } from 'vitest';
import { EXPONENT_MAX, measureGrowth } from './growth.ts';

const worst = { name: 'letters', make: (bytes: number) => Buffer.alloc(bytes, 'a') };

/** A clock that the work itself moves, so that nothing depends on the machine. */
function growthOf(msOf: (bytes: number) => number) {
  let ms = 0;
  return measureGrowth(
    worst,
    (input) => {
      ms = msOf(input.length);
    },
    async (run) => {
      await run();
      return ms;
    },
  );
}

describe('the growth of time', () => {
  it.each([
    ['nothing', () => 0, 0],
    ['what is too quick to tell', (bytes: number) => bytes / 1e9, 0],
    ['linear time', (bytes: number) => bytes / 1e4, 1],
    ['linear time with a long beginning', (bytes: number) => 5 + bytes / 1e4, 0.75],
    ['n log n', (bytes: number) => (bytes * Math.log2(bytes)) / 1e5, 1.06],
    ['quadratic time', (bytes: number) => (bytes / 1e4) ** 2, 2],
    ['cubic time', (bytes: number) => (bytes / 1e4) ** 3, 3],
  ])('of %s is found', async (_, msOf, exponent) => {
    const growth = await growthOf(msOf);
    expect(growth.exponent).toBeCloseTo(exponent, 1);
    expect(growth.exponent > EXPONENT_MAX).toBe(exponent >= 2);
  });

  it('is judged by what there is where an input had to be the last', async () => {
    const growth = await growthOf((bytes) => 2 ** (bytes / 512));
    expect(growth.points.length).toBeLessThan(8);
    expect(growth.exponent).toBeGreaterThan(EXPONENT_MAX);
  });

  it('is measured further where it is not steady', async () => {
    const last = async (msOf: (bytes: number) => number) => (await growthOf(msOf)).points.at(-1)!;
    expect(await last((bytes) => bytes / 500)).toMatchObject({ bytes: 1 << 18 });
    expect(await last((bytes) => (bytes / 1e4) ** 2)).toMatchObject({ bytes: 1 << 19 });
  });

  it('is measured up to where the reader draws the line', async () => {
    const { points } = await measureGrowth(
      { ...worst, bytesMax: 4_096 },
      () => {},
      async () => 1,
    );
    expect(points.map(({ bytes }) => bytes)).toEqual([1_024, 2_048, 4_096]);
  });
});
