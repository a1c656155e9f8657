/** Which thresholds belong into which chart. */
import type { ThresholdResult } from '../../thresholds.ts';
import { formatLimit } from '../verdict.ts';
import type { ChartLimit } from './chart.ts';

/** The limits on metrics whose names match, as lines of a chart. */
export function limitsOn(thresholds: readonly ThresholdResult[], metrics: RegExp): ChartLimit[] {
  return thresholds
    .filter(({ metric, limit }) => metrics.test(metric) && limit > 0)
    .map((threshold) => ({
      value: threshold.limit,
      label: `${threshold.metric} ${formatLimit(threshold)}`,
      isKept: threshold.passed,
    }));
}
