/** The rows of a result over time, kept few however long a storm runs. */
import type { IntervalResult } from './result-schema.ts';

/** Rows at most: an hour of seconds. */
const ROWS_MAX = 3_600;

/**
 * Collects rows. When there are too many, neighbours of one stage become one, and rows are made half
 * as often from then on. Quantiles of joined rows are the larger of the two: an upper bound.
 */
export class IntervalRows {
  /** Time of a row to come. */
  intervalMs: number;
  readonly #max: number;
  #rows: IntervalResult[] = [];

  constructor(intervalMs: number, max: number = ROWS_MAX) {
    this.intervalMs = intervalMs;
    this.#max = max;
  }

  get all(): readonly IntervalResult[] {
    return this.#rows;
  }

  push(row: IntervalResult): void {
    this.#rows.push(row);
    if (this.#rows.length <= this.#max) return;
    this.intervalMs *= 2;
    this.#rows = halved(this.#rows);
  }
}

function halved(rows: readonly IntervalResult[]): IntervalResult[] {
  const joinedRows: IntervalResult[] = [];
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index]!;
    const next = rows[index + 1];
    if (next?.stage !== row.stage) {
      joinedRows.push(row);
    } else {
      joinedRows.push(joined(row, next));
      index++;
    }
  }
  return joinedRows;
}

function joined(a: IntervalResult, b: IntervalResult): IntervalResult {
  const durationMs = a.durationMs + b.durationMs;
  const commits = a.commits + b.commits;
  const mean = (of: (row: IntervalResult) => number): number =>
    (of(a) * a.durationMs + of(b) * b.durationMs) / durationMs;
  const meanOrNone = (of: (row: IntervalResult) => number | undefined): number | undefined =>
    of(a) === undefined || of(b) === undefined ? undefined : mean((row) => of(row)!);
  const worse = (key: 'decideNs' | 'writeNs'): IntervalResult['decideNs'] => ({
    p50: Math.max(a[key].p50, b[key].p50),
    p99: Math.max(a[key].p99, b[key].p99),
    max: Math.max(a[key].max, b[key].max),
  });
  const writes = a.commits * a.writesPerCommit + b.commits * b.writesPerCommit;
  return {
    atMs: a.atMs,
    durationMs,
    stage: a.stage,
    operations: a.operations + b.operations,
    operationsPerSecond: mean((row) => row.operationsPerSecond),
    wantedPerSecond: meanOrNone((row) => row.wantedPerSecond),
    reachedPerSecond: meanOrNone((row) => row.reachedPerSecond),
    errors: a.errors + b.errors,
    wrongDecisions: a.wrongDecisions + b.wrongDecisions,
    decideNs: worse('decideNs'),
    writeNs: worse('writeNs'),
    lagP99Ns: Math.max(a.lagP99Ns, b.lagP99Ns),
    eventLoopDelayP99Ns: Math.max(a.eventLoopDelayP99Ns, b.eventLoopDelayP99Ns),
    cpuMain: meanOrNone((row) => row.cpuMain),
    cpuAll: mean((row) => row.cpuAll),
    rssBytes: Math.max(a.rssBytes, b.rssBytes),
    heapUsedBytes: Math.max(a.heapUsedBytes, b.heapUsedBytes),
    commits,
    writesPerCommit: commits === 0 ? 0 : writes / commits,
    writtenBytes: a.writtenBytes + b.writtenBytes,
  };
}
