/** What the callers of one storm share while it runs. */
import { errorCode, PULL_MANAGER_ERROR_CODES } from '../errors.ts';
import type { StormEngine } from './engine.ts';
import type { Keyspace } from './keyspace.ts';
import type { Ledger } from './ledger.ts';
import type { ArrivalCounts, OpenLoad } from './open-load.ts';
import type { PlanShape } from './plan.ts';
import type { Recorder } from './recorder.ts';
import type { EventResult } from './result-schema.ts';
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
  /** Those that failed because a worker was killed on purpose. */
  expectedErrors: number;
  restarts: number;
  prunings: number;
  prunedRecords: number;
  workersKilled: number;
}

/** Shared state of a run. */
export class StormState<U extends Keyspace = Universe> {
  readonly universe: U;
  readonly ledger: Ledger;
  readonly verifier: Verifier;
  /** By stage. */
  readonly shapes: readonly PlanShape[];
  /** 0-based number of the stage. */
  stage = 0;
  readonly recorder: Recorder;
  /** Undefined where the load is closed, and while the store is filled. */
  load: OpenLoad | undefined;
  /** What counts the requests of an open load: `load`, or a replay. */
  arrivals: ArrivalCounts | undefined;
  /** Callers of a closed load that work at present: those with lower numbers. */
  activeCallers: number = Number.POSITIVE_INFINITY;
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
    expectedErrors: 0,
    restarts: 0,
    prunings: 0,
    prunedRecords: 0,
    workersKilled: 0,
  };
  readonly wrong: WrongAnswer[] = [];
  readonly problems: string[] = [];
  readonly events: EventResult[] = [];
  /** What ended the storm before its time. */
  failure: unknown;
  readonly errorCodes: Map<string, number> = new Map();
  /** Whether decisions are checked, and the ledger is kept. */
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
  /** Called by callers when `operations` reaches the next event. */
  onTick: () => void = () => {};
  nextTickOperations: number = Number.POSITIVE_INFINITY;
  #sliceEndMs = 0;
  readonly #sleepers: (() => void)[] = [];
  #turn: Promise<void> | undefined;

  constructor(parts: {
    readonly universe: U;
    readonly ledger: Ledger;
    readonly verifier: Verifier;
    readonly shapes: readonly PlanShape[];
    readonly recorder: Recorder;
    readonly engine: StormEngine;
  }) {
    this.ledger = parts.ledger;
    this.universe = parts.universe;
    this.verifier = parts.verifier;
    this.shapes = parts.shapes;
    this.recorder = parts.recorder;
    this.engine = parts.engine;
  }

  /** The ledger, where writes are entered at all. */
  get writing(): Ledger | undefined {
    return this.isVerified ? this.ledger : undefined;
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

  /** Waits until more callers are wanted, or the storm ends. */
  sleep(): Promise<void> {
    return new Promise((resolve) => this.#sleepers.push(resolve));
  }

  wake(): void {
    for (const resolve of this.#sleepers.splice(0)) resolve();
  }

  /** Callers end after the operation they are at. */
  stop(): void {
    this.isStopping = true;
    this.load?.end();
    this.wake();
  }

  /** See `Verifier.disturbance`. */
  get disturbance(): number {
    return this.verifier.disturbance;
  }

  set disturbance(disturbance: number) {
    this.verifier.disturbance = disturbance;
  }

  /**
   * An operation failed. While the engine closes that is to be expected.
   *
   * @param since The disturbance when it began.
   * @returns Whether it failed because a worker was killed.
   */
  fail(error: unknown, since: number = this.disturbance): boolean {
    const code = errorCode(error) ?? (error instanceof Error ? error.name : typeof error);
    const isKill =
      code === PULL_MANAGER_ERROR_CODES.WORKER_LOST && this.verifier.isDisturbed(since);
    if (this.gate !== undefined) return isKill;
    if (isKill) {
      this.counts.expectedErrors++;
    } else {
      this.counts.errors++;
      this.errorCodes.set(code, (this.errorCodes.get(code) ?? 0) + 1);
    }
    return isKill;
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
