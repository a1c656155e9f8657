/** Thresholds: rules about the metrics of a storm, for example `decide.p99<2ms`. */
import picomatch from 'picomatch';
import { invalidArgument, quote } from '../errors.ts';
import { nearest, suggestion } from '../util/suggest.ts';
import { type MetricScope, type Metrics, metricUnits } from './metrics.ts';
import type { MetricUnit, ThresholdResult } from './result-schema.ts';

export type { ThresholdResult };

/** A rule that was parsed. */
export interface Threshold {
  /** As it was written. */
  readonly rule: string;
  /** The metric or pattern in it. */
  readonly name: string;
  /** Names of the metrics that it is about; more than one where it has a pattern. */
  readonly metrics: readonly string[];
  readonly comparison: Comparison;
  /** In the unit of the metrics, which all have the same. */
  readonly limit: number;
  readonly unit: MetricUnit;
}

const COMPARISONS = ['<=', '>=', '==', '!=', '<', '>'] as const;
type Comparison = (typeof COMPARISONS)[number];

const UNITS: Readonly<Record<MetricUnit, Readonly<Record<string, number>>>> = {
  ns: { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9 },
  count: { '': 1, k: 1e3, M: 1e6 },
  share: { '': 1, '%': 0.01 },
  bytes: { '': 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9 },
};

const RULE =
  /^\s*([^\s<>=!]+)\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:_\d+)*(?:\.\d+)?)\s*([a-zA-Zµ%]*)\s*$/;

/** Wildcards and alternatives; groups and many wildcards can take for ever to match nothing. */
export const PATTERN: RegExp = /^(?=.*[*?{])(?!(?:.*\*){5})[\w.*?{},-]{1,128}$/;

/**
 * Parses a rule: metric, comparison, number, unit. The metric may be a pattern, as in `*.p99<5ms`,
 * which stands for those of the whole storm unless it begins with `stage.`: `*` is any run of characters
 * without a point, at most four of them, `?` any character, `{a,b}` either.
 *
 * @param scope What decides which metrics the storm has.
 * @throws `INVALID_ARGUMENT` for anything malformed or unknown, with the nearest right one.
 */
export function parseThreshold(
  rule: string,
  scope: MetricScope = {},
  where = '--threshold',
): Threshold {
  const match = RULE.exec(rule);
  if (match === null) {
    throw invalidArgument(where, `${quote(rule)} is no rule: write it like 'decide.p99<2ms'`);
  }
  const [, name = '', comparison, digits = '', unit = ''] = match;
  const known = metricUnits(scope);
  if (
    scope.isOpen === false &&
    !known.has(name) &&
    metricUnits({ ...scope, isOpen: true }).has(name)
  ) {
    throw invalidArgument(where, `${quote(rule)}: ${name} needs requests that arrive at a rate`);
  }
  if (
    scope.isVerified === false &&
    !known.has(name) &&
    metricUnits({ ...scope, isVerified: true }).has(name)
  ) {
    const problem = `${name} needs decisions that are checked, and --no-verify checks none`;
    throw invalidArgument(where, `${quote(rule)}: ${problem}`);
  }
  const metrics = metricsOf(known, name, unit, rule, where);
  const kind = known.get(metrics[0]!)!;
  const units = UNITS[kind];
  if (!Object.hasOwn(units, unit)) {
    const words = Object.keys(units).filter((word) => word !== '');
    const wanted = words.length === 0 ? 'takes no unit' : `takes ${words.join(', ')}`;
    const problem = unit === '' ? 'lacks a unit' : `has the unit ${quote(unit)}`;
    throw invalidArgument(
      where,
      `${quote(rule)} ${problem}: ${name} ${wanted}${suggestion(unit, words)}`,
    );
  }
  const limit = Number(digits.replaceAll('_', '')) * units[unit]!;
  const isWhole = kind === 'share' && !metrics.some((metric) => metric.includes('cpu'));
  if (isWhole && limit > 1) {
    const hint = unit === '' ? `: write ${digits}%` : '';
    throw invalidArgument(where, `${quote(rule)}: no share is above 1${hint}`);
  }
  // Everything is below a limit that has no end: such a rule would never fail.
  if (!Number.isFinite(limit)) throw invalidArgument(where, `${quote(rule)} has too large a limit`);
  return { rule, name, metrics, comparison: comparison as Comparison, limit, unit: kind };
}

function metricsOf(
  known: ReadonlyMap<string, MetricUnit>,
  name: string,
  unit: string,
  rule: string,
  where: string,
): string[] {
  if (known.has(name)) return [name];
  // A star stands for one word between points.
  const isMatch = PATTERN.test(name) ? picomatch(asPath(name), { dot: true }) : () => false;
  const isOfStage = name.startsWith('stage.');
  const matching = [...known.keys()].filter(
    (metric) => metric.startsWith('stage.') === isOfStage && isMatch(asPath(metric)),
  );
  // Of several metrics the unit says which are meant: `*.p99<2ms` is not about sizes.
  const fitting = matching.filter((metric) => Object.hasOwn(UNITS[known.get(metric)!], unit));
  const metrics = fitting.length > 0 ? fitting : matching;
  if (metrics.length === 0) {
    const hint = nearest(name, known.keys());
    const meant = hint === undefined ? '' : ` (did you mean "${hint}"?)`;
    throw invalidArgument(where, `${quote(rule)}: no metric is called ${quote(name)}${meant}`);
  }
  const units = new Set(metrics.map((metric) => known.get(metric)));
  if (units.size > 1) {
    throw invalidArgument(
      where,
      `${quote(rule)}: ${quote(name)} covers metrics of different units`,
    );
  }
  return metrics;
}

function asPath(name: string): string {
  return name.replaceAll('.', '/');
}

/**
 * Holds every rule against the metrics; one result for each metric that a rule covers and the storm has.
 * A rule that covers none of those has one result all the same, which has failed: nothing was measured.
 */
export function checkThresholds(
  thresholds: readonly Threshold[],
  metrics: Metrics,
): ThresholdResult[] {
  return thresholds.flatMap(({ rule, name, metrics: names, comparison, limit, unit }) => {
    const measured = names.filter((metric) => metrics.has(metric));
    if (measured.length === 0) {
      return [{ rule, metric: name, limit, actual: Number.NaN, unit, passed: false }];
    }
    return measured.map((metric) => {
      const actual = metrics.get(metric)!;
      return { rule, metric, limit, actual, unit, passed: compare(actual, comparison, limit) };
    });
  });
}

function compare(actual: number, comparison: Comparison, limit: number): boolean {
  switch (comparison) {
    case '<':
      return actual < limit;
    case '<=':
      return actual <= limit;
    case '>':
      return actual > limit;
    case '>=':
      return actual >= limit;
    case '==':
      return actual === limit;
    case '!=':
      return actual !== limit;
  }
}
