/** Which metrics are compared, which way they get better, and which of them fail a comparison. */
import picomatch from 'picomatch';
import { invalidArgument, quote } from '../../errors.ts';
import { suggestion } from '../../util/suggest.ts';
import type { Load } from '../result-schema.ts';
import { METRICS } from '../thresholds.ts';
import type { Better } from './comparison.ts';

/** Of metrics that are no times; the others say what a storm did, and not how well. */
const BETTER: Readonly<Record<string, Better>> = {
  operationsPerSecond: 'higher',
  reachedPerSecond: 'higher',
  localShare: 'higher',
  'memory.rssMax': 'lower',
  'memory.heapUsedMax': 'lower',
};

/**
 * What fails a comparison unless the user chooses: few, as each one more is one more chance of a
 * false alarm. Under closed load the processor time of an operation, because it is what other
 * programs on the machine disturb least; under open load what a user waits.
 */
const GATING: Readonly<Record<Load['model'], readonly string[]>> = {
  closed: ['cpu.perOperation'],
  open: ['decide.p99', 'recordImagePulled.p99'],
};

/** Which way a metric gets better; undefined: it is not compared. */
export function betterOf(metric: string): Better | undefined {
  const unit = METRICS.get(metric);
  if (unit === undefined) return undefined;
  return BETTER[metric] ?? (unit === 'ns' ? 'lower' : undefined);
}

/**
 * Names of the gating metrics.
 *
 * @param chosen Names or patterns such as `*.p99`; none: those of the load.
 * @throws `INVALID_ARGUMENT` naming what is no metric that can be compared.
 */
export function gatingMetrics(chosen: readonly string[], load: Load): readonly string[] {
  const known = [...METRICS.keys()].filter((metric) => betterOf(metric) !== undefined);
  if (chosen.length === 0) return GATING[load.model];
  const gating = chosen.flatMap((name) => {
    const isMatch = known.includes(name)
      ? (metric: string) => metric === name
      : picomatch(name, { dot: true });
    const matching = known.filter((metric) => isMatch(metric));
    if (matching.length > 0) return matching;
    const problem = METRICS.has(name)
      ? 'is neither better nor worse for being more'
      : 'is no metric';
    throw invalidArgument('--metric', `${quote(name)} ${problem}${suggestion(name, known)}`);
  });
  return [...new Set(gating)];
}
