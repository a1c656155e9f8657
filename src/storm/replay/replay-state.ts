/** What the parts of a replay share. */
import type { OperationName } from '../operations.ts';
import type { StormState } from '../state.ts';
import type { TraceUniverse } from './trace-universe.ts';

/** Measures operations: a `Recorder` does. Times are in milliseconds. */
export interface Meter {
  /** From the moment at which it was to begin. */
  record(operation: OperationName, ms: number, count?: number): void;
  /** From the call. */
  recordService(operation: OperationName, ms: number, count?: number): void;
  /** How late it was called. */
  recordLag(ms: number): void;
}

/** What a replay needs of the state of a storm. */
export type ReplayState = Pick<
  StormState,
  | 'counts'
  | 'engine'
  | 'fail'
  | 'isStopping'
  | 'isVerified'
  | 'operationsMax'
  | 'keepProblems'
  | 'keepWrong'
  | 'ledger'
  | 'verifier'
>;

/** Everything that plays a trace. */
export interface ReplayContext {
  readonly state: ReplayState;
  readonly universe: TraceUniverse;
  readonly meter: Meter;
}

/** One call: when it was to be made, and when it was. */
export class Call {
  readonly #dueMs: number;
  readonly #beganMs = performance.now();

  /** @param dueMs On the clock of `performance.now`. */
  constructor(meter: Meter, dueMs: number) {
    this.#dueMs = dueMs;
    meter.recordLag(Math.max(0, this.#beganMs - dueMs));
  }

  /** It was answered. */
  measure({ meter, state }: ReplayContext, operation: OperationName, count = 1): void {
    const nowMs = performance.now();
    meter.record(operation, nowMs - Math.min(this.#dueMs, this.#beganMs), count);
    meter.recordService(operation, nowMs - this.#beganMs, count);
    state.counts.operations += count;
    if (operation === 'decide') state.counts.decisions += count;
  }
}
