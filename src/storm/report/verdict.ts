/** What a storm comes to in a few words, the same in every report. */
import { formatBytes, formatCount, formatNs, formatShare, plural } from '../../terminal/format.ts';
import type { MetricUnit, StormResult, ThresholdResult } from '../result-schema.ts';

/** Whether a storm passed, and why not. */
export interface StormVerdict {
  readonly word: 'PASSED' | 'FAILED' | 'INTERRUPTED';
  /** For people, without a full stop. */
  readonly reasons: readonly string[];
}

/** Below this share of its requests a storm was too much for the machine. */
const RATE_KEPT_MIN = 0.99;

/** The verdict on a storm. A storm that was interrupted with nothing wrong so far did not pass. */
export function stormVerdict(result: StormResult): StormVerdict {
  const reasons: string[] = [];
  const { wrongDecisions, wrongRecords, errors, thresholds, interrupted } = result;
  if (wrongDecisions > 0) reasons.push(plural(wrongDecisions, 'wrong decision'));
  if (wrongRecords > 0) reasons.push(plural(wrongRecords, 'wrong record'));
  if (errors > 0) reasons.push(plural(errors, 'failed operation'));
  const crossed = thresholds.filter(({ passed }) => !passed).length;
  if (crossed > 0) reasons.push(`${plural(crossed, 'threshold')} crossed`);
  const failure = failureOf(result);
  if (failure !== undefined) reasons.push(failure);
  const isFailed = reasons.length > 0;
  if (interrupted) reasons.push('it was interrupted: the figures are of the time until then');
  const remarks = remarksOn(result);
  if (isFailed) return { word: 'FAILED', reasons: [...reasons, ...remarks] };
  if (interrupted) return { word: 'INTERRUPTED', reasons: [...reasons, ...remarks] };
  if (!result.passed) return { word: 'FAILED', reasons: ['see the result', ...remarks] };
  return { word: 'PASSED', reasons: [whatWasRight(result), ...remarks] };
}

function whatWasRight({ verified }: StormResult): string {
  if (!verified.isOn) return 'no operation failed; decisions were not checked';
  const decisions = verified.unverifiable === 0 ? 'decision' : 'decision that could be judged';
  return `every ${decisions} was right, and what is stored is what was acknowledged`;
}

/** What a reader must know besides, whatever the verdict. */
function remarksOn({ arrivals, replayed, verified }: StormResult): string[] {
  const remarks = [...(replayed?.lacks ?? [])];
  const { unverifiable } = verified;
  if (unverifiable > 0) remarks.push(`${plural(unverifiable, 'decision')} could not be judged`);
  if (arrivals !== undefined && arrivals.started < arrivals.scheduled * RATE_KEPT_MIN) {
    remarks.push('the rate was not reached: requests came faster than they could be begun');
  }
  return remarks;
}

/** What ended a storm before its time, or kept it from being checked: one line, where there is one. */
export function failureOf(result: StormResult): string | undefined {
  return (result as StormResult & { readonly failure?: string | undefined }).failure ?? undefined;
}

/** A metric of a threshold as people read it. */
export function formatMetric(value: number, unit: MetricUnit): string {
  if (!Number.isFinite(value)) return 'none';
  switch (unit) {
    case 'ns':
      return formatNs(value);
    case 'bytes':
      return formatBytes(Math.round(value));
    case 'share':
      return formatShare(value);
    case 'count':
      return Number.isInteger(value) ? formatCount(value) : formatDecimal(value);
  }
}

/** A number with up to three decimals, for example `0.125`. */
export function formatDecimal(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 3 : 1 });
}

/** What a threshold asks for, for example `< 2 ms`. */
export function formatLimit({ rule, limit, unit }: ThresholdResult): string {
  const comparison = /<=|>=|==|!=|<|>/.exec(rule)?.[0] ?? '';
  return `${comparison} ${formatMetric(limit, unit)}`.trim();
}
