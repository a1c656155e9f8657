/** What the callers of one storm share while it runs. */
import { errorCode } from '../errors.ts';
import type { StormEngine } from './engine.ts';
import type { Ledger } from './ledger.ts';
import type { PlanShape } from './plan.ts';
import type { Recorder } from './recorder.ts';
import type { Universe } from './universe.ts';
import type { Verifier } from './verifier.ts';
import type { WrongAnswer } from './wrong-answer.ts';

/** Wrong answers that are kept with all they need to be replayed; the rest are counted. */
const WRONG_KEPT_MAX = 20;
const PROBLEMS_KEPT_MAX = 20;
/** After this time without a turn of the event loop, callers let it turn. */
const SLICE_MS = 0.5;

/** Counts of a storm. */
export interface StormCounts {
  /** Operations answered: decisions, intents, outcomes, prunings. */
  operations: number;
  decisions: number;
  /** Decisions with one right answer, with several, and with any. */
  exact: number;
  either: number;
  unverifiable: number;
  wrongDecisions: number;
  /** Differences between listings and the ledger. */
  wrongRecords: number;
  /** Operations that the engine refused or failed. */
  errors: number;
  restarts: number;
  prunings: number;
  prunedRecords: number;
}

/** Shared state of a run. */
export class StormState {
  readonly universe: Universe;
  readonly ledger: Ledger;
  readonly verifier: Verifier;
  readonly shape: PlanShape;
  readonly recorder: Recorder;
  /** Replaced at each restart. */
  engine: StormEngine;
  readonly counts: StormCounts = {
    operations: 0,
    decisions: 0,
    exact: 0,
    either: 0,
    unverifiable: 0,
    wrongDecisions: 0,
    wrongRecords: 0,
    errors: 0,
    restarts: 0,
    prunings: 0,
    prunedRecords: 0,
  };
  readonly wrong: WrongAnswer[] = [];
  readonly problems: string[] = [];
  readonly errorCodes: Map<string, number> = new Map();
  /** Whether decisions are checked; off only to measure what checking costs. */
  isVerified = true;
  /** Whether wrong answers are written down. */
  keepsWrong = true;
  /** Set: callers end after the operation they are at. */
  isStopping = false;
  /** While the engine is being closed and opened again, callers wait for this. */
  gate: Promise<void> | undefined;
  /** Callers that wait at the gate or have ended. */
  parkedCount = 0;
  /** Operations after which callers end. */
  operationsMax: number = Number.POSITIVE_INFINITY;
  /** Called by callers when `operations` or the time reaches the next event. */
  onTick: () => void = () => {};
  nextTickOperations: number = Number.POSITIVE_INFINITY;
  nextTickMs: number = Number.POSITIVE_INFINITY;
  #sliceEndMs = 0;
  #turn: Promise<void> | undefined;

  constructor(parts: {
    readonly ledger: Ledger;
    readonly verifier: Verifier;
    readonly shape: PlanShape;
    readonly recorder: Recorder;
    readonly engine: StormEngine;
  }) {
    this.ledger = parts.ledger;
    this.universe = parts.shape.universe;
    this.verifier = parts.verifier;
    this.shape = parts.shape;
    this.recorder = parts.recorder;
    this.engine = parts.engine;
  }

  /** Whether the event loop has not turned for a while. */
  isSliceOver(nowMs: number): boolean {
    return nowMs > this.#sliceEndMs;
  }

  /** One turn of the event loop, shared by all callers that wait for it. */
  turn(): Promise<void> {
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined;
        this.#sliceEndMs = performance.now() + SLICE_MS;
        resolve();
      });
    });
    return this.#turn;
  }

  /** An operation failed. While the engine closes that is to be expected. */
  fail(error: unknown): void {
    if (this.gate !== undefined) return;
    this.counts.errors++;
    const code = errorCode(error) ?? (error instanceof Error ? error.name : typeof error);
    this.errorCodes.set(code, (this.errorCodes.get(code) ?? 0) + 1);
  }

  keepWrong(wrong: () => WrongAnswer): void {
    if (this.keepsWrong && this.wrong.length < WRONG_KEPT_MAX) this.wrong.push(wrong());
  }

  /** The same problem counts once, however often it is seen. */
  keepProblems(problems: readonly string[]): void {
    for (const problem of problems) {
      if (this.problems.includes(problem)) continue;
      this.counts.wrongRecords++;
      if (this.problems.length < PROBLEMS_KEPT_MAX) this.problems.push(problem);
    }
  }
}
