/** How much of an open load was begun, in the same words and figures in every report. */
import { formatCount, formatShare } from '../../terminal/format.ts';
import type { Arrivals } from '../result-schema.ts';

/** As the metric `rateReached` has it: requests begun, of those that came. */
export function shareBegun({ started, scheduled }: Arrivals): string {
  return formatShare(Math.min(1, started / Math.max(1, scheduled)));
}

/** The counts behind it, and what that was in a second. */
export function begunText({ started, scheduled, reachedPerSecond }: Arrivals): string {
  const counts = `${formatCount(started)} of ${formatCount(scheduled)} requests begun`;
  return `${counts}, ${formatCount(reachedPerSecond)} a second`;
}
