/**
 * Closed-loop measurement: a fixed number of callers, each with one operation in flight.
 *
 * tinybench measures one call after the other; throughput at N callers is what group commit and
 * batching live on, so it is measured here: a fixed number of operations, a warm-up, several samples.
 */

/** What to run. */
export interface ClosedLoopOptions {
  /** Operations in flight at any time. */
  readonly callers: number;
  /** Operations of one sample. */
  readonly operations: number;
  /** Operations before the first sample, not measured. @default a fifth of `operations` */
  readonly warmup?: number;
  /** @default 5 */
  readonly samples?: number;
}

/** What came out. Latencies are of single operations, over all samples. */
export interface LoopResult {
  /** Median of the samples. */
  readonly operationsPerSecond: number;
  /** Operations per second of each sample, in the order they were taken. */
  readonly samples: readonly number[];
  /** Operations measured, over all samples. */
  readonly operations: number;
  readonly latencyNs: LatencyNs;
}

export interface LatencyNs {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** One operation; `index` counts up over warm-up and samples, `caller` is 0-based. */
export type Operation<T> = (index: number, caller: number) => Promise<T>;

const SAMPLES_DEFAULT = 5;
/** Enough for a p99.9; reading the clock for each of millions of operations would be measured too. */
const LATENCIES_PER_SAMPLE = 10_000;
const NS_PER_MS = 1e6;

/**
 * Runs `operation` in closed loops. On a wrong answer it must reject, or `check` throw, which ends
 * the benchmark. `check` spares a promise per operation, which costs more than a decision.
 */
export async function closedLoop<T>(
  options: ClosedLoopOptions,
  operation: Operation<T>,
  check?: (index: number, answer: T) => void,
): Promise<LoopResult> {
  const { callers, operations } = options;
  const warmup = options.warmup ?? Math.ceil(operations / 5);
  const timedEvery = Math.max(1, Math.floor(operations / LATENCIES_PER_SAMPLE));
  const latencies: number[] = [];
  let next = 0;

  async function loop(caller: number, end: number, measured: boolean): Promise<void> {
    while (next < end) {
      const index = next++;
      if (!measured || index % timedEvery !== 0) {
        const answer = await operation(index, caller);
        check?.(index, answer);
        continue;
      }
      const startedMs = performance.now();
      const answer = await operation(index, caller);
      latencies.push((performance.now() - startedMs) * NS_PER_MS);
      check?.(index, answer);
    }
  }

  /** Runs `count` operations; answers operations per second. */
  async function phase(count: number, measured: boolean): Promise<number> {
    const end = next + count;
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: callers }, (_, caller) => loop(caller, end, measured)));
    return (count / (performance.now() - startedMs)) * 1000;
  }

  if (warmup > 0) await phase(warmup, false);
  const samples: number[] = [];
  for (let i = 0; i < (options.samples ?? SAMPLES_DEFAULT); i++) {
    samples.push(await phase(operations, true));
  }
  return {
    operationsPerSecond: median(samples),
    samples,
    operations: operations * samples.length,
    latencyNs: latencyOf(latencies),
  };
}

/** Operations that a run of `closedLoop` performs in all, the warm-up included. */
export function totalOperations(options: ClosedLoopOptions): number {
  const warmup = options.warmup ?? Math.ceil(options.operations / 5);
  return warmup + options.operations * (options.samples ?? SAMPLES_DEFAULT);
}

/** The same measurement, where each operation of the loop stood for `count` on average. */
export function countedAs(result: LoopResult, count: number): LoopResult {
  return {
    ...result,
    operationsPerSecond: result.operationsPerSecond * count,
    samples: result.samples.map((sample) => sample * count),
    operations: Math.round(result.operations * count),
  };
}

/** One result of several measurements of the same; a quantile is the median of theirs. */
export function merged(results: readonly LoopResult[]): LoopResult {
  const samples = results.flatMap((result) => result.samples);
  const quantile = (key: keyof LatencyNs): number =>
    median(results.map(({ latencyNs }) => latencyNs[key]));
  return {
    operationsPerSecond: median(samples),
    samples,
    operations: results.reduce((sum, { operations }) => sum + operations, 0),
    latencyNs: {
      p50: quantile('p50'),
      p99: quantile('p99'),
      p999: quantile('p999'),
      max: Math.max(...results.map(({ latencyNs }) => latencyNs.max)),
    },
  };
}

/** The middle value; of an even number of them the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Quantiles of latencies in nanoseconds, by nearest rank. */
export function latencyOf(latenciesNs: readonly number[]): LatencyNs {
  const sorted = Float64Array.from(latenciesNs).sort();
  const at = (quantile: number): number =>
    sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) };
}
