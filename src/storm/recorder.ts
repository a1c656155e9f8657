/** Latencies of a storm, by operation, stage and interval. */
import hdr, { type Histogram } from 'hdr-histogram-js';
import { OPERATIONS, type OperationName } from './operations.ts';
import type { Quantiles } from './result-schema.ts';

export { OPERATIONS, type OperationName };

/** Operations of pulls: what `writeNs` is about. */
const WRITES = ['recordPullIntent', 'recordImagePulled', 'recordImagePullFailed'] as const;

const HIGHEST_NS = 3_600_000_000_000;
const SIGNIFICANT_DIGITS = 3;

type Histograms = Readonly<Record<OperationName, Histogram>>;

/** The histograms of one stretch of time. They live outside the heap: `close` frees them. */
export class Latencies {
  readonly response: Histograms = histograms();
  /** Used in an open load only: in a closed one it is the same as the response time. */
  readonly service: Histograms | undefined;
  readonly lag: Histogram = histogram();

  constructor(isOpen: boolean) {
    this.service = isOpen ? histograms() : undefined;
  }

  add(other: Latencies): void {
    for (const operation of OPERATIONS) {
      addTo(this.response[operation], other.response[operation]);
      if (this.service !== undefined && other.service !== undefined) {
        addTo(this.service[operation], other.service[operation]);
      }
    }
    addTo(this.lag, other.lag);
  }

  reset(): void {
    for (const each of this.#all()) if (each.totalCount > 0) each.reset();
  }

  close(): void {
    for (const each of this.#all()) each.destroy();
  }

  #all(): Histogram[] {
    return [...Object.values(this.response), ...Object.values(this.service ?? {}), this.lag];
  }
}

/**
 * Records what is measured now. Each value goes into the histograms of the present interval; when
 * the interval is over they are added to its stage's, so that a value costs one record.
 */
export class Recorder {
  readonly isOpen: boolean;
  /** By stage. */
  readonly stages: readonly Latencies[];
  readonly #interval: Latencies;
  readonly #scratch: Histogram;
  #stage = 0;

  constructor(isOpen = false, stageCount = 1) {
    hdr.initWebAssemblySync();
    this.isOpen = isOpen;
    this.#interval = new Latencies(isOpen);
    this.stages = Array.from({ length: stageCount }, () => new Latencies(isOpen));
    this.#scratch = histogram();
  }

  /** @param count Operations that took this long together, each of them. */
  record(operation: OperationName, ms: number, count = 1): void {
    recordMs(this.#interval.response[operation], ms, count);
  }

  /** How long the call took, without what it waited for a caller. */
  recordService(operation: OperationName, ms: number, count = 1): void {
    if (this.isOpen) recordMs(this.#interval.service![operation], ms, count);
  }

  /** How late a request began. */
  recordLag(ms: number): void {
    recordMs(this.#interval.lag, ms, 1);
  }

  /** Ends the interval; answers its quantiles. What follows belongs to stage `next`. */
  endInterval(next: number): IntervalLatencies {
    const { lag, response } = this.#interval;
    const ended = {
      decideNs: quantilesOf(response.decide),
      writeNs: this.#written([response]),
      lagNs: quantilesOf(lag),
    };
    this.stages[this.#stage]!.add(this.#interval);
    this.#interval.reset();
    this.#stage = next;
    return ended;
  }

  /** Quantiles of the present stage so far. */
  soFar(): IntervalLatencies {
    const stage = this.stages[this.#stage]!;
    const { lag, response } = this.#interval;
    return {
      decideNs: this.#merged([stage.response.decide, response.decide]),
      writeNs: this.#written([stage.response, response]),
      lagNs: quantilesOf(lag.totalCount > 0 ? lag : stage.lag),
    };
  }

  /** Forgets what was recorded so far. */
  reset(): void {
    this.#interval.reset();
    for (const stage of this.stages) stage.reset();
  }

  close(): void {
    this.#interval.close();
    this.#scratch.destroy();
    for (const stage of this.stages) stage.close();
  }

  #written(parts: readonly Histograms[]): Quantiles {
    return this.#merged(parts.flatMap((part) => WRITES.map((operation) => part[operation])));
  }

  #merged(parts: readonly Histogram[]): Quantiles {
    this.#scratch.reset();
    for (const part of parts) addTo(this.#scratch, part);
    return quantilesOf(this.#scratch);
  }
}

/** Quantiles of decisions, of writes, and of the latest requests' lag. */
export interface IntervalLatencies {
  readonly decideNs: Quantiles;
  readonly writeNs: Quantiles;
  readonly lagNs: Quantiles;
}

/** Quantiles of a histogram. */
export function quantilesOf(source: Histogram): Quantiles {
  const { totalCount: count } = source;
  if (count === 0) return { count, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, p9999: 0, max: 0 };
  const max = source.maxValue;
  // A percentile is the upper end of its bucket, which may lie above the largest value.
  const at = (percentile: number): number => Math.min(max, source.getValueAtPercentile(percentile));
  return {
    count,
    mean: Math.min(max, source.mean),
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    p9999: at(99.99),
    max,
  };
}

/** HDR histogram V2, compressed, as base64. */
export function encoded(source: Histogram): string {
  return hdr.encodeIntoCompressedBase64(source);
}

function addTo(target: Histogram, source: Histogram): void {
  if (source.totalCount > 0) target.add(source);
}

function recordMs(target: Histogram, ms: number, count: number): void {
  const ns = Math.min(HIGHEST_NS, Math.max(1, Math.round(ms * 1e6)));
  if (count === 1) target.recordValue(ns);
  else target.recordValueWithCount(ns, count);
}

function histograms(): Histograms {
  return {
    decide: histogram(),
    recordPullIntent: histogram(),
    recordImagePulled: histogram(),
    recordImagePullFailed: histogram(),
    pruneUnknownRecords: histogram(),
  };
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
