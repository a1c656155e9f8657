import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArrivalTimes, type RateStage } from '../../src/storm/arrivals.ts';

const steady = (durationMs: number, rate: number): RateStage => ({
  durationMs,
  ratePerSecond: { from: rate, to: rate },
});
const ramp = (durationMs: number, from: number, to: number): RateStage => ({
  durationMs,
  ratePerSecond: { from, to },
});

function timesOf(
  stages: readonly RateStage[],
  spacing: 'even' | 'poisson' = 'even',
  seed = 1,
  max = 100_000,
): { timeMs: number; stage: number }[] {
  const arrivals = new ArrivalTimes(stages, { spacing, seed });
  const times: { timeMs: number; stage: number }[] = [];
  while (arrivals.timeMs !== Number.POSITIVE_INFINITY && times.length < max) {
    times.push({ timeMs: arrivals.timeMs, stage: arrivals.stage });
    arrivals.next();
  }
  return times;
}

describe('even arrivals', () => {
  it('come at the distance that the rate gives', () => {
    expect(timesOf([steady(5, 1_000)]).map(({ timeMs }) => timeMs)).toEqual([0, 1, 2, 3, 4]);
    expect(timesOf([steady(1_000, 0)])).toEqual([]);
    expect(timesOf([steady(Number.POSITIVE_INFINITY, 500)], 'even', 1, 3)).toEqual([
      { timeMs: 0, stage: 0 },
      { timeMs: 2, stage: 0 },
      { timeMs: 4, stage: 0 },
    ]);
  });

  it('go on from stage to stage, and pause where the rate is 0', () => {
    const times = timesOf([steady(2, 1_000), steady(10, 0), ramp(1_000, 0, 200)]);
    expect(times.slice(0, 3)).toEqual([
      { timeMs: 0, stage: 0 },
      { timeMs: 1, stage: 0 },
      { timeMs: 12, stage: 2 },
    ]);
    // From 0 to 200 a second in a second are 100.
    expect(times).toHaveLength(102);
  });

  it('are as many as the area under the rate, whatever it is', () => {
    const stage = fc.record({
      durationMs: fc.double({ min: 1, max: 1_000, noNaN: true }),
      ratePerSecond: fc.record({
        from: fc.oneof(fc.constant(0), fc.double({ min: 0.1, max: 5_000, noNaN: true })),
        to: fc.oneof(fc.constant(0), fc.double({ min: 0.1, max: 5_000, noNaN: true })),
      }),
    });
    fc.assert(
      fc.property(fc.array(stage, { minLength: 1, maxLength: 4 }), (stages) => {
        const times = timesOf(stages);
        const area = stages.reduce(
          (sum, { durationMs, ratePerSecond: { from, to } }) =>
            sum + (durationMs / 1_000) * ((from + to) / 2),
          0,
        );
        expect(Math.abs(times.length - area)).toBeLessThan(1.001);
        for (const [index, { timeMs }] of times.entries()) {
          expect(timeMs).toBeGreaterThanOrEqual(times[index - 1]?.timeMs ?? 0);
        }
      }),
    );
  });
});

describe('random arrivals', () => {
  const RATE = 1_000;
  const SECONDS = 50;
  const times = timesOf([steady(SECONDS * 1_000, RATE)], 'poisson', 7);

  it('are as many as the rate gives, with gaps like those of independent sources', () => {
    // Six standard deviations of a Poisson count.
    expect(Math.abs(times.length - RATE * SECONDS)).toBeLessThan(6 * Math.sqrt(RATE * SECONDS));
    const gaps = times.slice(1).map(({ timeMs }, index) => timeMs - times[index]!.timeMs);
    const mean = gaps.reduce((a, b) => a + b) / gaps.length;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
    expect(Math.sqrt(variance) / mean).toBeGreaterThan(0.95);
    expect(Math.sqrt(variance) / mean).toBeLessThan(1.05);
  });

  it('follow from the seed', () => {
    expect(timesOf([steady(1_000, RATE)], 'poisson', 7)).toEqual(
      times.slice(0, timesOf([steady(1_000, RATE)], 'poisson', 7).length),
    );
    expect(timesOf([steady(1_000, RATE)], 'poisson', 8)[0]).not.toEqual(times[0]);
  });
});

describe('what is due', () => {
  const begin = (): ArrivalTimes =>
    new ArrivalTimes([steady(10, 1_000), ramp(10, 1_000, 3_000)], { spacing: 'even', seed: 1 });

  it('is counted without going through it', () => {
    const counted = begin();
    for (let timeMs = -1; timeMs < 20; timeMs += 0.37) {
      const walked = begin();
      let count = 0;
      for (; walked.timeMs <= timeMs; walked.next()) count++;
      expect(counted.countTo(timeMs)).toBe(count);
    }
    // An impossible rate over a day must not take a day to count.
    const many = new ArrivalTimes([steady(86_400_000, 1e7)], { spacing: 'poisson', seed: 1 });
    expect(many.countTo(86_400_000) / 8.64e11).toBeCloseTo(1, 3);
  });

  it('can be left out', () => {
    const arrivals = begin();
    arrivals.skipTo(4.5);
    expect(arrivals.timeMs).toBe(5);
    arrivals.skipTo(3);
    expect(arrivals.timeMs).toBe(5);
    arrivals.skipTo(10);
    expect([arrivals.timeMs, arrivals.stage]).toEqual([10, 1]);
    arrivals.skipTo(1_000);
    expect(arrivals.timeMs).toBe(Number.POSITIVE_INFINITY);
  });
});
