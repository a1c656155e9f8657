/** Plays a trace against an engine: every operation when it was called, every decision checked. */

import type { OperationLine } from './format.ts';
import type { Trace } from './read-trace.ts';
import { ReplayDecisions } from './replay-decisions.ts';
import { ReplayPulls } from './replay-pulls.ts';
import { Call, type Meter, type ReplayState, type Stage } from './replay-state.ts';
import { isOneProof, isVerifiable } from './trace-credentials.ts';
import type { TraceUniverse } from './trace-universe.ts';

/** How to play. */
export interface ReplayOptions {
  /** 2: twice as fast as it was recorded. @default 1 */
  readonly speed?: number;
  /** Decisions and writes under way at most; what is due beyond that waits, which shows as lag. */
  readonly callersMax: number;
}

/** What became of a trace's operations. */
export interface Replayed {
  readonly elapsedMs: number;
  /** Operations that were begun, and that were to begin. */
  readonly started: number;
  readonly scheduled: number;
  /**
   * Operations left out because nothing can be said of them: outcomes of pulls that began before the
   * recording, images that are no image names, credentials that no single pull can have shown.
   */
  readonly unplayable: number;
}

/** Nearer than this an operation is waited for without a timer, which comes a millisecond late. */
const TIMER_MS_MIN = 2;
/** The event loop turns at least so often, however much is due. */
const SLICE_MS = 0.5;

/**
 * Plays a trace. Resolves when all is answered, or those under way once `state.isStopping` is set.
 *
 * @param state Its verifier has `callersMax` slots and at least as many as the largest batch has
 * decisions: see `slotsOf`.
 */
export async function replay(
  trace: Trace,
  universe: TraceUniverse,
  state: ReplayState,
  meter: Meter,
  options: ReplayOptions,
): Promise<Replayed> {
  return new Replay(trace, { state, universe, meter }, options).run();
}

/** Slots of the verifier that a replay needs. */
export function slotsOf({ operations }: Trace, callersMax: number): number {
  let largest = 0;
  for (const operation of operations) {
    if (operation.op === 'decideBatch') largest = Math.max(largest, operation.requests.length);
  }
  return Math.max(callersMax, largest);
}

class Replay {
  readonly #trace: Trace;
  readonly #stage: Stage;
  readonly #speed: number;
  readonly #callersMax: number;
  readonly #decisions: ReplayDecisions;
  readonly #pulls: ReplayPulls;
  readonly #isProof: readonly boolean[];
  readonly #running = new Set<Promise<unknown>>();
  #startedMs = 0;
  #started = 0;
  #unplayable = 0;
  #sliceEndMs = 0;
  #wake = (): void => {};

  constructor(trace: Trace, stage: Stage, { speed = 1, callersMax }: ReplayOptions) {
    this.#trace = trace;
    this.#stage = stage;
    this.#speed = speed;
    this.#callersMax = callersMax;
    const canVerify = trace.credentials.map((traced) => isVerifiable(traced ?? {}));
    this.#decisions = new ReplayDecisions(stage, canVerify, slotsOf(trace, callersMax));
    this.#pulls = new ReplayPulls(stage);
    this.#isProof = trace.credentials.map((traced) => isOneProof(traced ?? {}));
  }

  async run(): Promise<Replayed> {
    const { operations } = this.#trace;
    const firstMs = operations[0]?.at ?? 0;
    this.#startedMs = performance.now();
    for (const [step, operation] of operations.entries()) {
      if (this.#stage.state.isStopping) break;
      const dueMs = this.#startedMs + (operation.at - firstMs) / this.#speed;
      await this.#until(dueMs);
      if (!this.#isPlayable(operation)) {
        this.#unplayable++;
        continue;
      }
      await this.#room(operation.op === 'decideBatch' ? operation.requests.length : 1);
      this.#begin(this.#play(operation, step, dueMs));
    }
    await Promise.all(this.#running);
    return {
      elapsedMs: performance.now() - this.#startedMs,
      started: this.#started,
      scheduled: operations.length - this.#unplayable,
      unplayable: this.#unplayable,
    };
  }

  /** Waits until an operation is due, and lets answers in where much is due at once. */
  async #until(dueMs: number): Promise<void> {
    for (;;) {
      const nowMs = performance.now();
      const leftMs = dueMs - nowMs;
      if (leftMs <= 0 && nowMs < this.#sliceEndMs) return;
      await new Promise<void>((resolve) => {
        if (leftMs > TIMER_MS_MIN) setTimeout(resolve, Math.min(leftMs - 1, TIMER_MS_MAX));
        else setImmediate(resolve);
      });
      this.#sliceEndMs = performance.now() + SLICE_MS;
      if (this.#stage.state.isStopping) return;
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
    this.#started++;
    this.#running.add(played);
    void played.finally(() => {
      this.#running.delete(played);
      this.#wake();
    });
  }

  #isPlayable(operation: OperationLine): boolean {
    const { universe } = this.#stage;
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
    const { universe } = this.#stage;
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
    const { state, universe, meter } = this.#stage;
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
    call.measure(this.#stage, 'pruneUnknownRecords');
    counts.prunings++;
    counts.prunedRecords += pruned;
    if (pruning === undefined) return;
    const { sure, possible } = ledger.endPrune(pruning);
    if (pruned < sure || pruned > possible) {
      state.keepProblems([`pruned ${pruned} records instead of ${sure} to ${possible}`]);
    }
  }
}

const TIMER_MS_MAX = 0x7fff_ffff;
