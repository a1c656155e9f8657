/** Plays a trace against an engine: every operation when it was called, every decision checked. */

import type { OperationLine } from '../../trace/format.ts';
import type { Trace } from '../../trace/read-trace.ts';
import type { ArrivalCounts } from '../open-load.ts';
import { ReplayDecisions } from './replay-decisions.ts';
import { ReplayPulls } from './replay-pulls.ts';
import { Call, type ReplayContext } from './replay-state.ts';
import { isOneProof, isVerifiable } from './trace-credentials.ts';

/** How to play. */
export interface ReplayOptions {
  /** 2: twice as fast as it was recorded. @default 1 */
  readonly speed?: number;
  /** Decisions and writes under way at most; what is due beyond that waits, which shows as lag. */
  readonly callersMax: number;
}

/** Nearer than this an operation is waited for without a timer, which comes a millisecond late. */
const TIMER_MS_MIN = 2;
/** So soon a replay sees that it is to stop. */
const TIMER_MS_MAX = 100;
/** The event loop turns at least so often, however much is due. */
const SLICE_MS = 0.5;

/** Slots of the verifier that a replay needs. */
export function slotsOf({ operations }: Trace, callersMax: number): number {
  let largest = 0;
  for (const operation of operations) {
    if (operation.op === 'decideBatch') largest = Math.max(largest, operation.requests.length);
  }
  return Math.max(callersMax, largest);
}

/** Plays one trace once. */
export class Replay implements ArrivalCounts {
  startedCount = 0;
  /**
   * Operations left out because nothing can be said of them: outcomes of pulls that began before the
   * recording, images that are no image names, credentials that no single pull can have shown.
   */
  unplayableCount = 0;
  readonly pausedMs: number = 0;
  readonly #trace: Trace;
  readonly #context: ReplayContext;
  readonly #speed: number;
  readonly #callersMax: number;
  readonly #decisions: ReplayDecisions;
  readonly #pulls: ReplayPulls;
  readonly #isProof: readonly boolean[];
  readonly #running = new Set<Promise<unknown>>();
  /** When the first operation was due, on the clock of `performance.now`. */
  #startedMs = Number.POSITIVE_INFINITY;
  #sliceEndMs = 0;
  /** Operations that were due so far; only rises, so that counting them takes no time. */
  #due = 0;
  #wake = (): void => {};

  /** @param context Its verifier has the slots that `slotsOf` says. */
  constructor(trace: Trace, context: ReplayContext, { speed = 1, callersMax }: ReplayOptions) {
    this.#trace = trace;
    this.#context = context;
    this.#speed = speed;
    this.#callersMax = callersMax;
    const canVerify = trace.credentials.map((traced) => isVerifiable(traced ?? {}));
    this.#decisions = new ReplayDecisions(context, canVerify, slotsOf(trace, callersMax));
    this.#pulls = new ReplayPulls(context);
    this.#isProof = trace.credentials.map((traced) => isOneProof(traced ?? {}));
  }

  /** Changes with every operation that begins or ends; undefined while none is under way. */
  get moves(): number | undefined {
    const under = this.#running.size;
    return under === 0 ? undefined : this.startedCount + under / (1 << 20);
  }

  /** Operations that were to begin until `nowMs`, without those left out. */
  scheduledUntil(nowMs: number): number {
    const { operations } = this.#trace;
    while (this.#due < operations.length && this.#dueMs(operations[this.#due]!) <= nowMs)
      this.#due++;
    return Math.max(this.startedCount, this.#due - this.unplayableCount);
  }

  /** Resolves when all is answered, or what is under way once `state.isStopping` is set. */
  async run(startedMs: number): Promise<void> {
    const { state } = this.#context;
    this.#startedMs = startedMs;
    for (const [step, operation] of this.#trace.operations.entries()) {
      const dueMs = this.#dueMs(operation);
      await this.#until(dueMs);
      if (state.isStopping || state.counts.operations >= state.operationsMax) break;
      if (!this.#isPlayable(operation)) {
        this.unplayableCount++;
        continue;
      }
      await this.#room(operation.op === 'decideBatch' ? operation.requests.length : 1);
      this.#begin(this.#play(operation, step, dueMs));
    }
    await Promise.all(this.#running);
  }

  #dueMs({ at }: OperationLine): number {
    return this.#startedMs + (at - this.#trace.operations[0]!.at) / this.#speed;
  }

  /** Waits until an operation is due, and lets answers in where much is due at once. */
  async #until(dueMs: number): Promise<void> {
    while (!this.#context.state.isStopping) {
      const nowMs = performance.now();
      const leftMs = dueMs - nowMs;
      if (leftMs <= 0 && nowMs < this.#sliceEndMs) return;
      await new Promise<void>((resolve) => {
        if (leftMs > TIMER_MS_MIN) setTimeout(resolve, Math.min(leftMs - 1, TIMER_MS_MAX));
        else setImmediate(resolve);
      });
      this.#sliceEndMs = performance.now() + SLICE_MS;
    }
  }

  /** Waits until so many decisions may be begun. */
  async #room(count: number): Promise<void> {
    while (this.#running.size >= this.#callersMax || this.#decisions.freeCount < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #begin(played: Promise<unknown>): void {
    this.startedCount++;
    this.#running.add(played);
    void played.finally(() => {
      this.#running.delete(played);
      this.#wake();
    });
  }

  #isPlayable(operation: OperationLine): boolean {
    const { universe } = this.#context;
    switch (operation.op) {
      case 'intent':
        return universe.imagesOf(operation.image).length > 0;
      case 'prune':
        return true;
      case 'failed':
        return this.#pulls.isOpen(operation.image);
      case 'pulled': {
        const { image, imageRef, credentials } = operation;
        return (
          imageRef !== '' &&
          this.#pulls.isOpen(image) &&
          universe.imageOf(image, imageRef) !== undefined &&
          (credentials === null || this.#isProof[credentials]!)
        );
      }
      case 'decide':
        return this.#decisions.isPlayable(operation);
      case 'decideBatch':
        return operation.requests.every((request) => this.#decisions.isPlayable(request));
    }
  }

  #play(operation: OperationLine, step: number, dueMs: number): Promise<unknown> {
    const { universe } = this.#context;
    switch (operation.op) {
      case 'intent':
        return this.#pulls.intent(operation.image, dueMs);
      case 'failed':
        return this.#pulls.failed(operation.image, dueMs);
      case 'pulled': {
        const { image, imageRef, credentials } = operation;
        const credential = credentials === null ? null : universe.credentials[credentials]!;
        return this.#pulls.pulled(image, imageRef, credential, dueMs);
      }
      case 'decide':
        return this.#decisions.decide(operation, step, dueMs);
      case 'decideBatch':
        return this.#decisions.decideBatch(operation.requests, step, dueMs);
      case 'prune':
        return this.#prune(operation.imageRefs, operation.until - operation.at, dueMs);
    }
  }

  /** @param agoMs How far the cut-off lies from the call, 0 or negative. */
  async #prune(imageRefs: readonly string[], agoMs: number, dueMs: number): Promise<void> {
    const { state, universe, meter } = this.#context;
    const { counts, ledger } = state;
    const listed = new Set(imageRefs);
    const isListed = Uint8Array.from(universe.refs, (ref) => Number(listed.has(ref)));
    const untilMs = Math.floor(Date.now() + Math.min(0, agoMs) / this.#speed);
    const pruning = state.isVerified ? ledger.beginPrune(isListed, untilMs) : undefined;
    const call = new Call(meter, dueMs);
    let pruned = 0;
    try {
      const result = await state.engine.pruneUnknownRecords(imageRefs, new Date(untilMs));
      pruned = result.pruned;
      if (result.errors.length > 0) state.fail(result.errors[0]);
    } catch (error) {
      for (const { write } of pruning?.removals ?? []) write.isMaybe = true;
      if (pruning !== undefined) ledger.endPrune(pruning);
      state.fail(error);
      return;
    }
    call.measure(this.#context, 'pruneUnknownRecords');
    counts.prunings++;
    counts.prunedRecords += pruned;
    if (pruning === undefined) return;
    const { sure, possible } = ledger.endPrune(pruning);
    if (pruned < sure || pruned > possible) {
      state.keepProblems([`pruned ${pruned} records instead of ${sure} to ${possible}`]);
    }
  }
}
