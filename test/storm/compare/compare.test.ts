import { describe, expect, it } from 'vitest';
import { type CompareOptions, compareResults } from '../../../src/storm/compare/compare.ts';
import type { Comparison, Verdict } from '../../../src/storm/compare/comparison.ts';
import { Random } from '../../../src/util/random.ts';
import { inTurns, noisy, resultOf } from './kit.ts';

const METRIC = 'decide.p50';
const FIVE = [100, 101, 102, 103, 104];

function compared(
  a: readonly number[],
  b: readonly number[],
  { metric = METRIC, ...options }: CompareOptions & { readonly metric?: string } = {},
) {
  const [ofA, ofB] = inTurns(metric, a, b);
  const comparison = compareResults(ofA, ofB, { metrics: [metric], ...options });
  return { comparison, verdict: comparison.metrics[0]!.verdict, passed: comparison.passed };
}

const times = (factor: number): number[] => FIVE.map((value) => value * factor);

describe('a comparison says', () => {
  const cases: [name: string, b: number[], metric: string, verdict: Verdict, passed: boolean][] = [
    ['a time that grew', times(1.2), 'decide.p50', 'regression', false],
    ['a time that shrank', times(0.8), 'decide.p50', 'improvement', true],
    ['a throughput that shrank', times(0.8), 'operationsPerSecond', 'regression', false],
    ['a throughput that grew', times(1.2), 'operationsPerSecond', 'improvement', true],
    ['what stayed', times(1), 'decide.p50', 'unchanged', true],
    ['a change within the limit', times(1.05), 'decide.p50', 'unchanged', true],
    ['a growth that may be chance', [98, 180, 100, 160, 170], 'decide.p50', 'noise', true],
    ['too few runs', times(1.5).slice(0, 2), 'decide.p50', 'untold', false],
    ['a time of nothing', [0, 120, 121, 122, 123], 'decide.p50', 'untold', false],
  ];
  it.each(cases)('%s', (_name, b, metric, verdict, passed) => {
    const outcome = compared(FIVE, b, { metric });
    expect(outcome.verdict).toBe(verdict);
    expect(outcome.passed).toBe(passed);
    expect(outcome.comparison.regressions).toEqual(verdict === 'regression' ? [metric] : []);
  });

  it('how much it changed, and between which bounds', () => {
    const { comparison } = compared(FIVE, times(1.2));
    const { change, band, a, b } = comparison.metrics[0]!;
    expect(change).toBeCloseTo(0.2, 2);
    expect(band!.low).toBeGreaterThan(0.15);
    expect(band!.high).toBeLessThan(0.25);
    expect(a).toMatchObject({ median: 102, min: 100, max: 104 });
    expect(b.median).toBeCloseTo(122.4);
  });

  it('so with the limit that is given', () => {
    expect(compared(FIVE, times(1.2), { maxRegression: 0.3 }).verdict).toBe('unchanged');
    expect(compared(FIVE, times(1.08), { maxRegression: 0.05 }).verdict).toBe('regression');
  });

  it('that there are too few runs, and fails', () => {
    const { comparison } = compared(FIVE.slice(0, 3), times(2).slice(0, 3));
    expect(comparison.passed).toBe(false);
    expect(comparison.regressions).toEqual([]);
    expect(comparison.warnings.join()).toContain('too few runs to tell a change of decide.p50');
  });

  it('only of gating metrics that they failed it', () => {
    const [a, b] = inTurns('decide.p99', FIVE, times(2));
    const runs = (values: readonly number[], i: number) => [
      { 'decide.p99': values[i]!, 'decide.p50': 7 + i / 100 },
    ];
    const ofA = a.map((result, i) => ({ ...result, runs: runs(FIVE, i) }));
    const ofB = b.map((result, i) => ({ ...result, runs: runs(times(2), i) }));
    const comparison = compareResults(ofA, ofB, { metrics: ['decide.p50'] });
    expect(comparison.metrics.map(({ metric, isGating }) => [metric, isGating])).toEqual([
      ['decide.p50', true],
      ['decide.p99', false],
    ]);
    expect(comparison.metrics[1]!.verdict).toBe('regression');
    expect(comparison.passed).toBe(true);
  });
});

describe('a comparison refuses', () => {
  it.each([
    {
      name: 'another scenario',
      fields: { scenarioHash: 'def', scenario: 'gc' },
      said: 'B is of another storm than A: scenario "mixed" and "gc"',
      isForceable: false,
    },
    {
      name: 'another kind of load',
      fields: {
        scenarioHash: 'def',
        load: { model: 'closed', concurrency: { from: 64, to: 64 } } as const,
      },
      said: 'B is of another storm than A: load "{',
      isForceable: false,
    },
    {
      name: 'other settings',
      fields: { scenarioHash: 'def', store: 'lmdb', workers: 0 },
      said: 'B is of another storm than A: store "journal" and "lmdb", workers "1" and "0"',
    },
    {
      name: 'other settings that are not in a result',
      fields: { scenarioHash: 'def' },
      said: 'B is of another storm than A: in parameters that a result does not show',
    },
    {
      name: 'another processor',
      fields: { machine: { cpu: 'Other CPU' } },
      said: 'B was measured on another machine than A: cpu "Test CPU" and "Other CPU"',
    },
    { name: 'other cores', fields: { machine: { cores: 4 } }, said: 'cores "2" and "4"' },
    {
      name: 'another platform',
      fields: { machine: { platform: 'darwin 24.0 arm64' } },
      said: 'platform "linux x64" and "darwin arm64"',
    },
    {
      name: 'another major version of Node',
      fields: { machine: { node: 'v22.1.0' } },
      said: 'Node major "20" and "22"',
    },
  ])('$name', ({ fields, said, isForceable = true }) => {
    const a = [resultOf(METRIC, FIVE)];
    const b = [resultOf(METRIC, FIVE, fields)];
    expect(() => compareResults(a, b, { metrics: [METRIC] })).toThrow(said);
    const force = (): Comparison => compareResults(a, b, { metrics: [METRIC], force: true });
    if (isForceable) expect(force().warnings.join()).toContain(said.split(' than A: ').at(-1));
    else expect(force).toThrow(said);
  });

  it('what is no metric, is neither better nor worse, or was not measured', () => {
    const sides = inTurns(METRIC, FIVE, FIVE);
    const choose = (metric: string) => () => compareResults(...sides, { metrics: [metric] });
    expect(choose('decide.p5O')).toThrow('is no metric (did you mean "decide.p50"?)');
    expect(choose('records')).toThrow('is neither better nor worse for being more');
    expect(choose('decide.p99')).toThrow('decide.p99 was measured on neither side');
  });

  it('no pattern that covers what was measured', () => {
    const [a, b] = inTurns(METRIC, FIVE, FIVE);
    const wildcard = `*.${METRIC.split('.').at(-1)}`;
    const { metrics } = compareResults(a, b, { metrics: [wildcard] });
    expect(metrics.filter(({ isGating }) => isGating)).toMatchObject([{ metric: METRIC }]);
    for (const bad of ['', '**(a|b)[', '!(x)', '*'.repeat(40)]) {
      expect(() => compareResults(a, b, { metrics: [bad] })).toThrow(/is no metric/);
    }
  });

  it('a side that is the other one', () => {
    const [a, b] = inTurns(METRIC, FIVE, FIVE);
    expect(() => compareResults(a, a, { metrics: [METRIC] })).toThrow(
      'B holds a measurement that A holds too',
    );
    expect(() => compareResults(a, [...b, a[2]!], { metrics: [METRIC] })).toThrow('that A holds');
  });

  it('nothing for another patch of Node or of the system', () => {
    const machine = { node: 'v20.99.0', platform: 'linux 6.1.99 x64', memoryBytes: 1 };
    const b = resultOf(METRIC, FIVE, { machine });
    const comparison = compareResults([resultOf(METRIC, FIVE)], [b], { metrics: [METRIC] });
    expect(comparison.passed).toBe(true);
  });
});

describe('a comparison of turns', () => {
  // A machine that slows down to a third in the middle, and builds that differ by a fifth.
  const drift = [1, 1.1, 1.3, 1.7, 2.2, 2.6, 3, 3.1];

  it('sees through a machine that gets slower', () => {
    const a = drift.map((factor) => 100 * factor);
    const b = a.map((value, i) => value * (1.19 + (i % 3) / 100));
    const { comparison, verdict } = compared(a, b);
    expect(comparison.inTurns).toBe(true);
    expect(verdict).toBe('regression');
    expect(comparison.metrics[0]!.change).toBeCloseTo(0.2, 2);
    const apart = compareResults([resultOf(METRIC, a)], [resultOf(METRIC, b)], {
      metrics: [METRIC],
    });
    expect(apart.inTurns).toBe(false);
    expect(apart.metrics[0]!.verdict).toBe('noise');
  });

  it('needs sides that alternate', () => {
    const sides = inTurns(METRIC, drift, drift);
    const [a, b] = [[...sides[0]], [...sides[1]]];
    expect(compareResults(a.toReversed(), b, { metrics: [METRIC] }).inTurns).toBe(true);
    // Turns may begin with either side.
    [a[1], b[1]] = [
      { ...a[1]!, startedAt: b[1]!.startedAt },
      { ...b[1]!, startedAt: a[1]!.startedAt },
    ];
    expect(compareResults(a, b, { metrics: [METRIC] }).inTurns).toBe(true);
    a[1] = { ...a[1], startedAt: a[4]!.startedAt };
    expect(compareResults(a, b, { metrics: [METRIC] }).inTurns).toBe(false);
    expect(compareResults(a, b.slice(1), { metrics: [METRIC] }).inTurns).toBe(false);
  });
});

describe('a comparison warns', () => {
  it('of seeds that differ, and of sides that were not measured in turns', () => {
    const a = [resultOf(METRIC, FIVE)];
    const later = '2026-01-01T01:00:00.000Z';
    const b = [resultOf(METRIC, FIVE, { seed: 2, startedAt: later })];
    const { warnings } = compareResults(a, b, { metrics: [METRIC] });
    expect(warnings).toEqual([
      'the seeds differ: the operations were not the same',
      'A and B were not measured in turns: what changed on the machine in between looks like a change',
    ]);
    expect(compared(FIVE, FIVE).comparison.warnings).toEqual([]);
  });
});

describe('under noise', () => {
  const rounds = 600;
  const count = (slower: number, deviation: number, runs: number): number => {
    const random = new Random(runs, slower * 100);
    let failed = 0;
    for (let round = 0; round < rounds; round++) {
      const a = noisy(random, runs, 100, deviation);
      const b = noisy(random, runs, 100 * slower, deviation);
      if (!compared(a, b).passed) failed++;
    }
    return failed;
  };

  it.each([
    { deviation: 0.02, runs: 5 },
    { deviation: 0.1, runs: 5 },
    { deviation: 0.5, runs: 5 },
    { deviation: 0.1, runs: 10 },
  ])('equal builds pass: deviation $deviation, $runs runs', ({ deviation, runs }) => {
    expect(count(1, deviation, runs) / rounds).toBeLessThanOrEqual(0.03);
  });

  it.each([
    { deviation: 0.05, runs: 5 },
    { deviation: 0.1, runs: 12 },
  ])('a fifth slower is found: deviation $deviation, $runs runs', ({ deviation, runs }) => {
    expect(count(1.2, deviation, runs) / rounds).toBeGreaterThanOrEqual(0.9);
  });
});
