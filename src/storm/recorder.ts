/** Latencies of a storm, by operation. */
import hdr, { type Histogram } from 'hdr-histogram-js';

/** Operations that are measured; `decide` is every decision, however it was asked for. */
export const OPERATIONS = [
  'decide',
  'recordPullIntent',
  'recordImagePulled',
  'recordImagePullFailed',
  'pruneUnknownRecords',
] as const;

/** Name of a measured operation. */
export type OperationName = (typeof OPERATIONS)[number];

/** Quantiles of one operation's latency, in nanoseconds. */
export interface LatencyNs {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const HIGHEST_NS = 3_600_000_000_000;
const SIGNIFICANT_DIGITS = 3;

/** HDR histograms of all operations. Call `close` at the end: they live outside the heap. */
export class Recorder {
  readonly #histograms: Readonly<Record<OperationName, Histogram>>;

  constructor() {
    hdr.initWebAssemblySync();
    this.#histograms = {
      decide: histogram(),
      recordPullIntent: histogram(),
      recordImagePulled: histogram(),
      recordImagePullFailed: histogram(),
      pruneUnknownRecords: histogram(),
    };
  }

  /** @param count Operations that took this long together, each of them. */
  record(operation: OperationName, ms: number, count = 1): void {
    const ns = Math.min(HIGHEST_NS, Math.max(1, Math.round(ms * 1e6)));
    const target = this.#histograms[operation];
    if (count === 1) target.recordValue(ns);
    else target.recordValueWithCount(ns, count);
  }

  count(operation: OperationName): number {
    return this.#histograms[operation].totalCount;
  }

  latencyNs(operation: OperationName): LatencyNs {
    const target = this.#histograms[operation];
    if (target.totalCount === 0) return { p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
    const max = target.maxValue;
    // A percentile is the upper end of its bucket, which may lie above the largest value.
    const at = (percentile: number): number =>
      Math.min(max, target.getValueAtPercentile(percentile));
    return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max };
  }

  /** Forgets what was recorded so far. */
  reset(): void {
    for (const operation of OPERATIONS) this.#histograms[operation].reset();
  }

  close(): void {
    for (const operation of OPERATIONS) this.#histograms[operation].destroy();
  }
}

function histogram(): Histogram {
  return hdr.build({
    useWebAssembly: true,
    bitBucketSize: 64,
    autoResize: false,
    highestTrackableValue: HIGHEST_NS,
    numberOfSignificantValueDigits: SIGNIFICANT_DIGITS,
  });
}
