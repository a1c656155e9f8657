/** Compares the runs of two builds, metric by metric. */
import { invalidArgument } from '../../errors.ts';
import type { StormResult } from '../result-schema.ts';
import { median, type Shift, shiftBetween, shiftOfPairs, VALUES_MAX } from './band.ts';
import {
  type Better,
  COMPARISON_SCHEMA,
  type ComparedSide,
  type Comparison,
  type MetricComparison,
  type Sample,
  type Verdict,
} from './comparison.ts';
import { comparedMetrics, gatingMetrics } from './gating.ts';
import { isOneMeasurement, machineDifference, stormDifference } from './read-results.ts';
import { areMixed, type Turn, turnsOf } from './turns.ts';

/** How to compare. */
export interface CompareOptions {
  /** A change for the worse up to this share is accepted. @default 0.1 */
  readonly maxRegression?: number;
  /** Names or patterns of the metrics that fail the comparison. @default those of the load */
  readonly metrics?: readonly string[];
  /**
   * Compare all the same what was measured on different machines, or of one scenario with different
   * settings. @default false
   */
  readonly force?: boolean;
  /** What the sides are called. @default A and B */
  readonly labels?: readonly [a: string, b: string];
}

export const MAX_REGRESSION_DEFAULT = 0.1;
/** All bands of gating metrics together hold in this share of repetitions. */
const CONFIDENCE = 0.95;

/**
 * Compares B with A. Both have results of one storm and one machine each, as `readResults` gives
 * them. Results that alternate are compared pair by pair where there are enough, which six are for one
 * gating metric; else each run of each result counts as one measurement.
 *
 * @throws `INVALID_ARGUMENT` where the scenarios differ; where `force` is not set, also where the
 * settings or the machines do.
 */
export function compareResults(
  a: readonly StormResult[],
  b: readonly StormResult[],
  options: CompareOptions = {},
): Comparison {
  const { maxRegression = MAX_REGRESSION_DEFAULT, labels = ['A', 'B'] } = options;
  const warnings = differences(a, b, options.force === true);
  const known = comparedMetrics(a[0]!);
  const isMeasured = (metric: string): boolean =>
    [a, b].some((side) => sampleOf(side, metric) !== undefined);
  const gating = gatingMetrics(options.metrics ?? [], known, a[0]!.load, isMeasured);
  // Of several bands more may miss: each has a share of the error that all may have together.
  const errorShare = (1 - CONFIDENCE) / gating.length;
  const turns = turnsOf(a, b)?.slice(0, VALUES_MAX);
  const compared = known.flatMap(({ name: metric, unit, better }): MetricComparison[] => {
    const [ofA, ofB] = [sampleOf(a, metric), sampleOf(b, metric)];
    if (ofA === undefined || ofB === undefined) return [];
    const isGating = gating.includes(metric);
    const inTurns = turns === undefined ? NO_CHANGE : changeInTurns(turns, metric, errorShare);
    const { estimate, band } =
      inTurns.band === undefined ? changeBetween(ofA, ofB, errorShare) : inTurns;
    const verdict = verdictOf(better, maxRegression, estimate, band);
    return [{ metric, unit, better, isGating, a: ofA, b: ofB, change: estimate, band, verdict }];
  });
  const metrics = [...compared].sort((x, y) => Number(y.isGating) - Number(x.isGating));
  for (const name of gating) {
    if (!metrics.some(({ metric }) => metric === name)) {
      throw invalidArgument(name, 'was measured on neither side, or on one only');
    }
  }
  const failing = metrics.filter(({ isGating }) => isGating);
  const untold = failing.filter(({ verdict }) => verdict === 'untold').map(({ metric }) => metric);
  if (untold.length > 0) {
    warnings.push(
      `too few runs to tell a change of ${untold.join(', ')} from noise: take 5 or more`,
    );
  }
  const regressions = failing
    .filter(({ verdict }) => verdict === 'regression')
    .map(({ metric }) => metric);
  return {
    schema: COMPARISON_SCHEMA,
    scenario: a[0]!.scenario,
    a: sideOf(a, labels[0]),
    b: sideOf(b, labels[1]),
    maxRegression,
    confidence: CONFIDENCE,
    inTurns: turns !== undefined,
    metrics,
    warnings,
    regressions,
    passed: regressions.length === 0 && untold.length === 0,
  };
}

/** Warnings about what a comparison may see through; throws for what it must not. */
function differences(
  a: readonly StormResult[],
  b: readonly StormResult[],
  isForced: boolean,
): string[] {
  const [ofA, ofB] = [a[0]!, b[0]!];
  const warnings: string[] = [];
  const warn = (problem: string): void => {
    if (!isForced) throw invalidArgument('B', `${problem} (--force compares all the same)`);
    warnings.push(`B ${problem}`);
  };
  if (ofA.scenarioHash !== ofB.scenarioHash) {
    const problem = `is of another storm than A: ${stormDifference(ofA, ofB)}`;
    const isOneKind = ofA.scenario === ofB.scenario && ofA.load.model === ofB.load.model;
    // What different scenarios measure has only its name in common.
    if (!isOneKind) throw invalidArgument('B', problem);
    warn(problem);
  }
  if (a.some((one) => b.some((other) => isOneMeasurement(one, other)))) {
    throw invalidArgument('B', 'holds a measurement that A holds too: measure each side by itself');
  }
  const machines = machineDifference(ofA.machine, ofB.machine);
  if (machines !== undefined) warn(`was measured on another machine than A: ${machines}`);
  const seeds = new Set([...a, ...b].map(({ seed }) => seed));
  if (seeds.size > 1) warnings.push('the seeds differ: the operations were not the same');
  if (!areMixed(a, b)) {
    warnings.push(
      'A and B were not measured in turns: what changed on the machine in between looks like a change',
    );
  }
  return warnings;
}

function sampleOf(results: readonly StormResult[], metric: string): Sample | undefined {
  const values = results
    .flatMap(({ runs }) => runs.map((run) => run[metric]))
    .filter((value) => value !== undefined)
    .slice(0, VALUES_MAX);
  // Zero times are those of operations that never ran.
  if (values.every((value) => value === 0)) return undefined;
  const sorted = values.toSorted((x, y) => x - y);
  return { values, median: median(sorted), min: sorted[0]!, max: sorted.at(-1)! };
}

/** A relative change; undefined where there is something to divide by that is 0. */
interface Change {
  readonly estimate: number | undefined;
  readonly band: Shift['band'];
}

const NO_CHANGE: Change = { estimate: undefined, band: undefined };

function changeBetween(a: Sample, b: Sample, errorShare: number): Change {
  if (a.min <= 0 || b.min <= 0) return NO_CHANGE;
  return changeOf(shiftBetween(a.values.map(Math.log), b.values.map(Math.log), errorShare));
}

function changeInTurns(turns: readonly Turn[], metric: string, errorShare: number): Change {
  const factors = turns.map(({ a, b }) => {
    return (sampleOf([b], metric)?.median ?? 0) / (sampleOf([a], metric)?.median ?? 0);
  });
  if (!factors.every((factor) => factor > 0 && factor < Number.POSITIVE_INFINITY)) return NO_CHANGE;
  return changeOf(shiftOfPairs(factors.map(Math.log), errorShare));
}

/** What differs by a factor is compared as a factor. */
function changeOf({ estimate, band }: Shift): Change {
  return {
    estimate: Math.expm1(estimate),
    band: band && { low: Math.expm1(band.low), high: Math.expm1(band.high) },
  };
}

function verdictOf(
  better: Better,
  limit: number,
  change: number | undefined,
  band: Shift['band'],
): Verdict {
  if (change === undefined || band === undefined) return 'untold';
  const isSure = band.low > 0 || band.high < 0;
  if (isSure && Math.abs(change) > limit) {
    return change > 0 === (better === 'higher') ? 'improvement' : 'regression';
  }
  return band.low >= -limit && band.high <= limit ? 'unchanged' : 'noise';
}

function sideOf(results: readonly StormResult[], label: string): ComparedSide {
  const [first] = results;
  const runCount = results.reduce((count, { runs }) => count + runs.length, 0);
  return { label, machine: first!.machine, startedAt: first!.startedAt, runCount };
}
