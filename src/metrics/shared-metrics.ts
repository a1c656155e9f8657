/**
 * Counters of an engine in shared memory: a row of numbers for each worker and each host thread, two
 * histograms for each worker. A row has one writer, which adds without atomics; readers may see a
 * number a moment old.
 */

import { invalidArgument } from '../errors.ts';
import { HOST_COUNT } from '../protocol/shared-state.ts';
import type { Distribution } from './stats.ts';

/** Fields of a worker's row. */
export const WORKER_ROW = {
  RECORDS: 0,
  INTENTS: 1,
  WRITTEN_BYTES: 2,
  COMMIT_FAILURES: 3,
} as const;

/** Fields of a host's row; decisions are in the order of `DECISION_REASONS`. */
export const HOST_ROW = {
  DECISIONS: 0,
  LOCAL: 4,
  REMOTE: 5,
  RECONCILE_FAILURES: 6,
  MATCH_WRITE_FAILURES: 7,
  PRUNE_FAILURES: 8,
  WORKERS_REPLACED: 9,
} as const;

const ROW = 16;
/** 16 buckets for each power of two: an error of at most 3 %. */
const SUB_BUCKET_BITS = 4;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
const BUCKETS = 44 * SUB_BUCKETS;
/** Buckets, then sum and maximum. */
const HISTOGRAM = BUCKETS + 2;
const WORKER_STRIDE = ROW + 2 * HISTOGRAM;

/** Counts values from 0 to 2^47 by size. */
export class SharedHistogram {
  readonly #cells: Float64Array;

  constructor(cells: Float64Array) {
    this.#cells = cells;
  }

  record(value: number): void {
    const cells = this.#cells;
    const bucket = bucketOf(value);
    cells[bucket] = cells[bucket]! + 1;
    cells[BUCKETS] = cells[BUCKETS]! + value;
    if (value > cells[BUCKETS + 1]!) cells[BUCKETS + 1] = value;
  }

  /** The distribution of all values in `histograms`. */
  static summarize(histograms: readonly SharedHistogram[]): Distribution {
    const counts = new Float64Array(BUCKETS);
    let count = 0;
    let sum = 0;
    let max = 0;
    for (const histogram of histograms) {
      const cells = histogram.#cells;
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        counts[bucket] = counts[bucket]! + cells[bucket]!;
        count += cells[bucket]!;
      }
      sum += cells[BUCKETS]!;
      max = Math.max(max, cells[BUCKETS + 1]!);
    }
    const quantile = (q: number): number => {
      if (count === 0) return 0;
      let left = Math.ceil(q * count);
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        left -= counts[bucket]!;
        if (left <= 0) return Math.min(max, middleOf(bucket));
      }
      return max;
    };
    return {
      count,
      mean: count === 0 ? 0 : sum / count,
      p50: quantile(0.5),
      p90: quantile(0.9),
      p99: quantile(0.99),
      p999: quantile(0.999),
      max,
    };
  }
}

function bucketOf(value: number): number {
  if (value < SUB_BUCKETS) return Math.max(0, Math.trunc(value) || 0);
  const exponent = Math.floor(Math.log2(value));
  const sub = Math.floor(value / 2 ** (exponent - SUB_BUCKET_BITS)) - SUB_BUCKETS;
  const bucket = (exponent - SUB_BUCKET_BITS + 1) * SUB_BUCKETS + sub;
  return Math.min(BUCKETS - 1, bucket);
}

/** The middle of a bucket. */
function middleOf(bucket: number): number {
  if (bucket < SUB_BUCKETS) return bucket;
  const exponent = Math.floor(bucket / SUB_BUCKETS) - 1;
  const sub = bucket % SUB_BUCKETS;
  return (SUB_BUCKETS + sub + 0.5) * 2 ** exponent;
}

function cellCount(workerCount: number, hostCount: number): number {
  return workerCount * WORKER_STRIDE + hostCount * ROW;
}

/** All counters of one engine. */
export class SharedMetrics {
  readonly buffer: SharedArrayBuffer;
  readonly workerCount: number;
  readonly #cells: Float64Array;

  constructor(buffer: SharedArrayBuffer, workerCount: number) {
    this.buffer = buffer;
    this.workerCount = workerCount;
    this.#cells = new Float64Array(buffer);
  }

  static create(workerCount: number): SharedMetrics {
    const byteLength = cellCount(workerCount, HOST_COUNT) * 8;
    return new SharedMetrics(new SharedArrayBuffer(byteLength), workerCount);
  }

  workerRow(workerIndex: number): Float64Array {
    const at = workerIndex * WORKER_STRIDE;
    return this.#cells.subarray(at, at + ROW);
  }

  /** Writes in one commit. */
  batchSizes(workerIndex: number): SharedHistogram {
    return this.#histogram(workerIndex, 0);
  }

  /** Nanoseconds of one durable commit. */
  commitLatencies(workerIndex: number): SharedHistogram {
    return this.#histogram(workerIndex, 1);
  }

  hostRow(hostIndex: number): Float64Array {
    const at = this.workerCount * WORKER_STRIDE + hostIndex * ROW;
    return this.#cells.subarray(at, at + ROW);
  }

  static attach(buffer: unknown, workerCount: number): SharedMetrics {
    const byteLength = cellCount(workerCount, HOST_COUNT) * 8;
    if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength !== byteLength) {
      throw invalidArgument('handle.metrics', 'is not the memory of an engine');
    }
    return new SharedMetrics(buffer, workerCount);
  }

  /** A field summed over all workers. */
  workerSum(field: number): number {
    let sum = 0;
    for (let worker = 0; worker < this.workerCount; worker++) sum += this.workerRow(worker)[field]!;
    return sum;
  }

  /** A field summed over all host threads, also those that have left. */
  hostSum(field: number): number {
    let sum = 0;
    const from = this.workerCount * WORKER_STRIDE + field;
    for (let at = from; at < this.#cells.length; at += ROW) sum += this.#cells[at]!;
    return sum;
  }

  #histogram(workerIndex: number, which: 0 | 1): SharedHistogram {
    const at = workerIndex * WORKER_STRIDE + ROW + which * HISTOGRAM;
    return new SharedHistogram(this.#cells.subarray(at, at + HISTOGRAM));
  }
}
