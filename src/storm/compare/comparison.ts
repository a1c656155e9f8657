/**
 * The comparison of two builds as one plain object: what `pullwarden compare --json` prints, and what
 * its reports are made from. `docs/ci.md` describes it for users.
 *
 * Changes are relative and point from A to B: 0.2 is "B is a fifth more than A".
 */
import type { Environment, MetricUnit } from '../result-schema.ts';

/** Version of the comparison's shape; rises where a field goes or changes its meaning. */
export const COMPARISON_SCHEMA = 'pullwarden.comparison/1';

/** Which way a metric gets better. */
export type Better = 'higher' | 'lower';

/**
 * What is said of a metric.
 *
 * `regression` and `improvement`: the change is beyond the limit, and its band excludes that there is
 * none. `unchanged`: the whole band is within the limit. `noise`: neither can be told from these runs.
 * `untold`: there are too few runs for a band, or nothing to compare.
 */
export type Verdict = 'regression' | 'improvement' | 'unchanged' | 'noise' | 'untold';

/** The values of one metric on one side, in the order of the runs. */
export interface Sample {
  readonly values: readonly number[];
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One metric of both sides. */
export interface MetricComparison {
  /** The name that thresholds use, for example `decide.p99`. */
  readonly metric: string;
  /** What the values are counted in. */
  readonly unit: MetricUnit;
  readonly better: Better;
  /** Whether a regression of it fails the comparison. */
  readonly isGating: boolean;
  readonly a: Sample;
  readonly b: Sample;
  /** The estimate of the relative change; undefined where A is 0. */
  readonly change: number | undefined;
  /** Where the true change lies with the confidence of the comparison; undefined with too few runs. */
  readonly band: { readonly low: number; readonly high: number } | undefined;
  readonly verdict: Verdict;
}

/** What a side is of. */
export interface ComparedSide {
  /** As the command line names it. */
  readonly label: string;
  readonly machine: Environment;
  /** ISO 8601, of the first of its results. */
  readonly startedAt: string;
  readonly runCount: number;
}

/** The comparison of two builds on one scenario. */
export interface Comparison {
  readonly schema: typeof COMPARISON_SCHEMA;
  readonly scenario: string;
  readonly a: ComparedSide;
  readonly b: ComparedSide;
  /** A change for the worse up to this share is accepted. */
  readonly maxRegression: number;
  /** Share of repetitions in which a band holds the true change. */
  readonly confidence: number;
  /** Whether the sides were measured in turns. They are compared turn by turn where those suffice. */
  readonly inTurns: boolean;
  /** Gating metrics first. */
  readonly metrics: readonly MetricComparison[];
  /** What a reader has to know, for example that the machines differ and `--force` was given. */
  readonly warnings: readonly string[];
  /** Names of gating metrics that got worse. */
  readonly regressions: readonly string[];
  readonly passed: boolean;
}
