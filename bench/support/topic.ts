/** What a `bench/*.bench.ts` file is: a topic, run by name, that adds rows to a table. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { LoopResult } from './closed-loop.ts';

/** The default export of a `bench/*.bench.ts` file. */
export interface BenchTopic {
  /** One line: what is measured, and how. */
  readonly title: string;
  /** Measures, and adds rows to `context`. Throws on a wrong answer. */
  run(context: BenchContext): Promise<void>;
}

/**
 * The baselines: (a) JSON file and rename per record, (b) one `piscina.run` per operation, (c) write
 * and fdatasync of the same bytes. `other`: another row of the engine itself.
 */
export type BaselineId = 'a' | 'b' | 'c' | 'other';

/** How a row stands against a baseline row of the same run; above 1 is better, whatever the unit. */
interface Ratio {
  readonly value: number;
  /** The floor, if one is set. */
  readonly atLeast?: number;
  /** What it was compared with. */
  readonly subject: string;
  readonly work: string;
}

/** One line of the table. */
export interface BenchRow {
  /** What was done, with its parameters: `recordPullIntent, 64 callers`. */
  readonly work: string;
  /** Who did it: `journal, 1 worker`, `json files, flushed`. */
  readonly subject: string;
  /** Less is better, except of operations per second. */
  readonly unit: 'ops/s' | 'ms' | 'ns' | 'bytes' | 'collections';
  /** Median of the samples. */
  readonly value: number;
  readonly samples: readonly number[];
  /** Operations measured; absent where nothing was timed. */
  readonly operations?: number;
  readonly latencyNs?: LoopResult['latencyNs'];
  readonly ratios: Readonly<Partial<Record<BaselineId, Ratio>>>;
  /** An absolute limit on `value`, if one is set. */
  readonly atMost?: number;
}

/** What a row is compared with, and its floor. */
export type Comparison = readonly [baseline: BaselineId, row: BenchRow, atLeast?: number];

/**
 * Has the system write out what is pending, so that the flushes of a measurement do not pay for what
 * was written or removed before it. Call it after loading.
 */
export function settleDisk(): void {
  try {
    execFileSync('sync', { stdio: 'ignore' });
  } catch {
    // Not on every system; the first sample may be slower then.
  }
}

/** Given to each topic of one run. */
export class BenchContext {
  readonly rows: BenchRow[] = [];
  /** Fewer operations and samples: to see that it works, not to publish. */
  readonly quick: boolean;
  readonly #base: string;
  readonly #once = new Map<string, Promise<BenchRow>>();
  readonly #onRow: (row: BenchRow) => void;

  constructor(base: string, quick: boolean, onRow: (row: BenchRow) => void) {
    this.quick = quick;
    this.#base = base;
    this.#onRow = onRow;
  }

  /** A new empty directory, removed when `use` has ended: directories that were used are slower. */
  async inDirectory<T>(use: (directory: string) => Promise<T> | T): Promise<T> {
    mkdirSync(this.#base, { recursive: true });
    const directory = mkdtempSync(join(this.#base, 'bench-'));
    settleDisk();
    try {
      return await use(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** `full`, or a tenth of it in a quick run. */
  scaled(full: number): number {
    return this.quick ? Math.max(1, Math.ceil(full / 10)) : full;
  }

  /** Number of samples of a measurement. */
  get samples(): number {
    return this.quick ? 2 : 5;
  }

  /** Adds a row of operations per second. */
  add(
    work: string,
    subject: string,
    result: LoopResult,
    ...comparisons: readonly Comparison[]
  ): BenchRow {
    const { operationsPerSecond, samples, operations, latencyNs } = result;
    const measured = { samples, operations, latencyNs };
    return this.#push(
      { work, subject, unit: 'ops/s', value: operationsPerSecond, ...measured, ratios: {} },
      comparisons,
    );
  }

  /** Adds a row of a duration, a size or a number: less is better. */
  addValue(
    row: Omit<BenchRow, 'ratios' | 'latencyNs'>,
    ...comparisons: readonly Comparison[]
  ): BenchRow {
    return this.#push({ ...row, ratios: {} }, comparisons);
  }

  /** Measures a baseline at most once in a run, however many topics compare with it. */
  once(id: string, measure: () => Promise<BenchRow>): Promise<BenchRow> {
    const known = this.#once.get(id);
    if (known !== undefined) return known;
    const row = measure();
    this.#once.set(id, row);
    return row;
  }

  #push(row: BenchRow, comparisons: readonly Comparison[]): BenchRow {
    const ratios: Partial<Record<BaselineId, Ratio>> = {};
    for (const [id, base, atLeast] of comparisons) {
      if (base.unit !== row.unit) throw new Error(`${row.work}: cannot compare with ${base.work}`);
      const value = row.unit === 'ops/s' ? row.value / base.value : base.value / row.value;
      const { subject, work } = base;
      ratios[id] = { value, subject, work, ...(atLeast === undefined ? {} : { atLeast }) };
    }
    const complete = { ...row, ratios };
    this.rows.push(complete);
    this.#onRow(complete);
    return complete;
  }
}
