/** A comparison that never was, but might have been. */
import {
  COMPARISON_SCHEMA,
  type Comparison,
  type MetricComparison,
  type Sample,
} from '../../src/storm/compare/comparison.ts';
import type { StormResult } from '../../src/storm/result-schema.ts';

/** A comparison in which the decisions got slower; `own` fields replace those of it. */
export function madeUpComparison(
  a: StormResult,
  b: StormResult,
  own: Partial<Comparison> = {},
): Comparison {
  const metrics: MetricComparison[] = [
    {
      metric: 'decide.p99',
      unit: 'ns',
      better: 'lower',
      isGating: true,
      a: sample(67_000),
      b: sample(82_000),
      change: 0.224,
      band: { low: 0.17, high: 0.29 },
      verdict: 'regression',
    },
    {
      metric: 'operationsPerSecond',
      unit: 'count',
      better: 'higher',
      isGating: true,
      a: sample(29_000),
      b: sample(28_600),
      change: -0.014,
      band: { low: -0.05, high: 0.02 },
      verdict: 'unchanged',
    },
    {
      metric: 'commit.p99',
      unit: 'ns',
      better: 'lower',
      isGating: false,
      a: sample(1.2e6),
      b: sample(0.9e6),
      change: -0.25,
      band: { low: -0.31, high: -0.18 },
      verdict: 'improvement',
    },
    {
      metric: 'lag.p99',
      unit: 'ns',
      better: 'lower',
      isGating: false,
      a: sample(300_000),
      b: sample(330_000),
      change: 0.1,
      band: { low: -0.3, high: 0.4 },
      verdict: 'noise',
    },
    {
      metric: 'errors',
      unit: 'count',
      better: 'lower',
      isGating: false,
      a: sample(0),
      b: sample(0),
      change: undefined,
      band: undefined,
      verdict: 'untold',
    },
  ];
  const side = (label: string, { machine, startedAt }: StormResult): Comparison['a'] => {
    return { label, machine, startedAt, runCount: 5 };
  };
  return {
    schema: COMPARISON_SCHEMA,
    scenario: a.scenario,
    a: side('before.json', a),
    b: side('after.json', b),
    maxRegression: 0.1,
    confidence: 0.95,
    inTurns: false,
    metrics,
    warnings: ['the machines differ: cores 2 and 4'],
    regressions: ['decide.p99'],
    passed: false,
    ...own,
  };
}

function sample(median: number): Sample {
  const values = [0.95, 0.98, 1, 1.03, 1.06].map((factor) => median * factor);
  return { values, median, min: values[0]!, max: values[4]! };
}
