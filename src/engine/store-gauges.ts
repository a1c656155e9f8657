/**
 * How many records and intents the store holds, kept in shared memory: counted once, and from then on
 * raised and lowered by each owner as it publishes.
 *
 * What a dead owner had flushed and not published yet is missing, so its replacement counts again. In
 * a store that each owner sees whole, that count includes what the others do meanwhile; it is right
 * only while none of them is between a commit and its publication, that is while all stripes are
 * free of them. That must not cost anybody much: it is tried for a moment, and given up for a while
 * when a stripe is held too long, or the store counts too slowly.
 */
import type { AccessorContext, OwnedAccessor } from '../accessors/accessor.ts';
import type { StripedLockHandle } from '../locks/lock-arguments.ts';
import { StripedLockSet } from '../locks/striped-lock-set.ts';
import { type SharedMetrics, WORKER_ROW } from '../metrics/shared-metrics.ts';
import { within } from '../util/within.ts';

/** How long others may be kept waiting by one attempt, first for their stripes, then for the count. */
const ATTEMPT_LIMIT_MS = 50;
/** Before another attempt; doubled each time. */
const PAUSE_MS = 1_000;
/** A store that is always too slow keeps figures that are off by what died unpublished. */
const ATTEMPTS_MAX = 8;

const { RECORDS, INTENTS } = WORKER_ROW;

export interface StoreGaugesOptions {
  readonly accessor: OwnedAccessor;
  readonly context: AccessorContext;
  readonly metrics: SharedMetrics;
  readonly locks: StripedLockHandle;
}

/** The gauges of one owner. Used by its thread. */
export class StoreGauges {
  readonly #accessor: OwnedAccessor;
  readonly #context: AccessorContext;
  readonly #metrics: SharedMetrics;
  readonly #row: Float64Array;
  readonly #locks: StripedLockSet;
  #attempts = 0;
  /** When the next attempt is due; undefined: none is needed. */
  #dueAtMs: number | undefined;

  constructor(options: StoreGaugesOptions) {
    const { accessor, context, metrics, locks } = options;
    this.#accessor = accessor;
    this.#context = context;
    this.#metrics = metrics;
    this.#row = metrics.workerRow(context.workerIndex);
    this.#locks = StripedLockSet.attach(locks, { timeoutMs: ATTEMPT_LIMIT_MS });
  }

  /** Sets the gauges. Where the store is everybody's, one owner counts it, and a replacement again. */
  async start(): Promise<void> {
    const { workerIndex, generation } = this.#context;
    if (this.#isSole) {
      this.#set(await this.#accessor.count());
    } else if (generation > 1) {
      await this.recount();
    } else if (workerIndex === 0) {
      this.#set(await this.#accessor.count());
    }
  }

  get isRecountDue(): boolean {
    return this.#dueAtMs !== undefined && performance.now() >= this.#dueAtMs;
  }

  /** Something was replaced that the store may or may not have counted: to be counted again. */
  doubt(): void {
    this.#attempts = 0;
    this.#dueAtMs = performance.now();
  }

  /** Counts again, or tries to where other owners write to the store. Never rejects. */
  async recount(): Promise<void> {
    const pauseMs = PAUSE_MS * 2 ** this.#attempts++;
    this.#dueAtMs =
      this.#attempts < ATTEMPTS_MAX ? performance.now() + ATTEMPT_LIMIT_MS + pauseMs : undefined;
    try {
      if (this.#isSole) {
        this.#set(await this.#accessor.count());
        this.#dueAtMs = undefined;
        return;
      }
      this.#locks.globalLock();
      try {
        const counting = Promise.resolve(this.#accessor.count());
        if (!(await within(ATTEMPT_LIMIT_MS, counting))) return;
        this.#set(await counting);
        this.#dueAtMs = undefined;
      } finally {
        this.#locks.globalUnlock();
      }
    } catch {
      // A stripe was held, or the store has trouble: later.
    }
  }

  add(records: number, intents: number): void {
    this.#row[RECORDS]! += records;
    this.#row[INTENTS]! += intents;
  }

  /** Whether nobody else writes to what `count` counts. */
  get #isSole(): boolean {
    return this.#accessor.listsOnlyOwnKeys || this.#context.workerCount === 1;
  }

  #set(whole: { readonly records: number; readonly intents: number }): void {
    const others = (field: number): number =>
      this.#accessor.listsOnlyOwnKeys ? 0 : this.#metrics.workerSum(field) - this.#row[field]!;
    this.#row[RECORDS] = whole.records - others(RECORDS);
    this.#row[INTENTS] = whole.intents - others(INTENTS);
  }
}
