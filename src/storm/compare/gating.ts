/** Which metrics are compared, which way they get better, and which of them fail a comparison. */
import picomatch from 'picomatch';
import { invalidArgument, quote } from '../../errors.ts';
import { suggestion } from '../../util/suggest.ts';
import { metricUnits } from '../metrics.ts';
import type { Load, MetricUnit, StormResult } from '../result-schema.ts';
import { PATTERN } from '../thresholds.ts';
import type { Better } from './comparison.ts';

/** A metric that can be compared. */
export interface ComparedMetric {
  readonly name: string;
  readonly unit: MetricUnit;
  readonly better: Better;
}

/** Of metrics that are no times; the others say what a storm did, and not how well. */
const BETTER: Readonly<Record<string, Better>> = {
  operationsPerSecond: 'higher',
  rateReached: 'higher',
  localShare: 'higher',
  rssMax: 'lower',
  heapUsedMax: 'lower',
};

/**
 * What fails a comparison unless the user chooses: few, as each one more is one more chance of a
 * false alarm. Under closed load the processor time of an operation, because it is what other
 * programs on the machine disturb least; under open load what a user waits.
 */
const GATING: Readonly<Record<Load['model'], readonly string[]>> = {
  closed: ['cpuPerOperation'],
  open: ['decide.p99', 'recordImagePulled.p99'],
};

/** The metrics of a storm that get better or worse, in the order in which they are shown. */
export function comparedMetrics({ load, stages }: StormResult): readonly ComparedMetric[] {
  const names = stages.map(({ name }) => name);
  const units = metricUnits({ stages: names, isOpen: load.model === 'open' });
  return [...units].flatMap(([name, unit]) => {
    const better = BETTER[name.split('.').at(-1)!] ?? (unit === 'ns' ? 'lower' : undefined);
    return better === undefined ? [] : [{ name, unit, better }];
  });
}

/**
 * Names of the gating metrics.
 *
 * @param chosen Names or patterns such as `*.p99`; none: those of the load.
 * @param isMeasured Whether a metric was measured; of those that a pattern covers the others are left
 * out, unless none was.
 * @throws `INVALID_ARGUMENT` naming what is no metric that can be compared.
 */
export function gatingMetrics(
  chosen: readonly string[],
  known: readonly ComparedMetric[],
  load: Load,
  isMeasured: (name: string) => boolean,
): readonly string[] {
  if (chosen.length === 0) return GATING[load.model];
  const names = known.map(({ name }) => name);
  const gating = chosen.flatMap((name) => {
    if (names.includes(name)) return [name];
    const isMatch = PATTERN.test(name) ? picomatch(name, { dot: true }) : () => false;
    const matching = names.filter((metric) => isMatch(metric));
    const measured = matching.filter(isMeasured);
    if (matching.length > 0) return measured.length > 0 ? measured : matching;
    const isKnown = metricUnits().has(name);
    const problem = isKnown ? 'is neither better nor worse for being more' : 'is no metric';
    throw invalidArgument('--metric', `${quote(name)} ${problem}${suggestion(name, names)}`);
  });
  return [...new Set(gating)];
}
