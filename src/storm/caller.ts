/** One caller of a storm: a loop that does what its plan says, one request at a time. */
import type { PodCredentials } from '../records/record.ts';
import { ANSWER, answerOf, judge } from './answers.ts';
import type { StormDecision, StormRequest } from './engine.ts';
import type { OperationName } from './operations.ts';
import { BATCH_SIZE, OUTCOME, Plan, STEP } from './plan.ts';
import { type OpenPull, Pulls } from './pulls.ts';
import type { StormState } from './state.ts';
import type { Credential } from './tenants.ts';
import { describeWrong } from './wrong-answer.ts';

/** Pulls that one caller, or all callers of an open load, have open at most. */
const OPEN_PULLS_MAX = 8;
const SHARED_OPEN_PULLS_MAX = 512;

/** What the callers of an open load share: the requests, and the pulls that they leave open. */
export interface SharedRequests {
  readonly plan: Plan;
  readonly openPulls: OpenPull[];
}

/** Runs the steps of one plan against the engine. */
export class Caller {
  readonly #state: StormState;
  readonly #plan: Plan;
  readonly #number: number;
  readonly #slot: number;
  /** When the operation was to begin: the last one's end, or the arrival of the request. */
  #lastMs = 0;
  /** When it was called; kept in an open load only. */
  #calledMs = 0;
  /** Step that is under way, and the disturbance when its operation began. */
  #step = 0;
  #disturbance = 0;
  readonly #pulls: Pulls;
  readonly #batch: StormRequest[] = [];
  readonly #batchImages = new Int32Array(BATCH_SIZE);
  readonly #batchCredentials: Credential[] = [];

  /**
   * @param number 0-based; the caller uses the verifier's slots from `number * BATCH_SIZE` on.
   * @param requests What all callers share, or how many there are, each with a plan of its own.
   */
  constructor(state: StormState, number: number, requests: SharedRequests | number) {
    this.#state = state;
    this.#number = number;
    this.#slot = number * BATCH_SIZE;
    const isShared = typeof requests === 'object';
    this.#plan = isShared ? requests.plan : new Plan(state.shapes[0]!, number, requests);
    this.#pulls = new Pulls(
      state,
      (operation) => this.#measure(operation),
      isShared ? requests.openPulls : [],
      isShared ? SHARED_OPEN_PULLS_MAX : OPEN_PULLS_MAX,
    );
  }

  /** Does steps until the storm is over. */
  async run(): Promise<void> {
    const state = this.#state;
    const { counts, load } = state;
    const plan = this.#plan;
    this.#restart();
    while (!state.isStopping && counts.operations < state.operationsMax) {
      if (state.gate !== undefined) {
        await this.#park();
        continue;
      }
      if (load !== undefined) {
        let intendedMs = load.take(this.#lastMs);
        if (Number.isNaN(intendedMs)) intendedMs = await this.#await(load.wait());
        if (Number.isNaN(intendedMs)) continue;
        this.#arrive(intendedMs);
      } else if (this.#number >= state.activeCallers) {
        await this.#await(state.sleep());
        this.#restart();
        continue;
      }
      plan.next(state.shapes[load === undefined ? state.stage : load.stage]!);
      const { step } = plan;
      this.#step = step;
      if (plan.kind === STEP.MUST_ATTEMPT) {
        // The most frequent step, here and not in a method of its own: a promise less.
        const { image, credential } = plan;
        const { universe } = state;
        this.#begin(image, credential);
        try {
          const mustPull = await state.engine.mustAttemptImagePull(
            universe.images[image]!,
            universe.refs[universe.refOfImage[image]!]!,
            credential.pod,
          );
          this.#checkPlain(image, credential, mustPull, 'mustAttemptImagePull');
        } catch (error) {
          this.#failDecision(this.#slot, error);
        }
        this.#measureDecisions(1);
      } else {
        const pending = this.#request();
        if (pending !== undefined) await pending;
      }
      if (this.#pulls.openCount > 0) await this.#pulls.endDue(step);
      if (state.isSliceOver(this.#lastMs)) {
        await state.turn();
        this.#restart();
      }
      if (counts.operations >= state.nextTickOperations) state.onTick();
    }
    // Those that wait must see that it is over.
    state.stop();
    this.#restart();
    if (state.gate === undefined) await this.#pulls.endAll();
    state.parkedCount++;
  }

  /** Pulls an image once, as its plan would; for the records that a storm begins with. */
  async fill(image: number, credential: Credential): Promise<void> {
    this.#lastMs = performance.now();
    await this.#pulls.pull(image, credential, OUTCOME.PULLED, 0);
  }

  /** Waits until the engine is back. */
  async #park(): Promise<void> {
    const state = this.#state;
    await this.#await(state.gate);
    this.#restart();
  }

  /** What comes next begins now: the time since the last operation is not its own. */
  #restart(): void {
    this.#lastMs = performance.now();
    this.#calledMs = this.#lastMs;
  }

  /** Waits without anything under way. */
  async #await<T>(what: T | Promise<T>): Promise<T> {
    const state = this.#state;
    state.parkedCount++;
    const answer = await what;
    state.parkedCount--;
    return answer;
  }

  /** A request begins that was to begin at some time before. */
  #arrive(intendedMs: number): void {
    this.#calledMs = performance.now();
    this.#lastMs = intendedMs;
    this.#state.recorder.recordLag(Math.max(0, this.#calledMs - intendedMs));
  }

  /** `undefined` where the step is over already. */
  #request(): Promise<void> | undefined {
    const { kind, image, credential, outcome, pullSteps } = this.#plan;
    switch (kind) {
      case STEP.MUST_ATTEMPT_LAZY:
        return this.#mustAttemptLazily(image, credential);
      case STEP.DECIDE:
        return this.#decide(image, credential);
      case STEP.DECIDE_SYNC:
        return this.#decideSync(image, credential);
      case STEP.DECIDE_BATCH:
        return this.#decideBatch();
      case STEP.PULL:
        return this.#pulls.pull(
          image,
          credential,
          outcome,
          pullSteps === 0 ? 0 : this.#step + pullSteps,
        );
      default:
        return this.#pulls.withPull(image, credential, outcome);
    }
  }

  async #mustAttemptLazily(image: number, credential: Credential): Promise<void> {
    const { engine, universe } = this.#state;
    this.#begin(image, credential);
    let askedCount = 0;
    try {
      const mustPull = await engine.mustAttemptImagePull(
        universe.images[image]!,
        universe.refs[universe.refOfImage[image]!]!,
        async (): Promise<PodCredentials> => {
          askedCount++;
          return credential.pod;
        },
      );
      this.#checkPlain(image, credential, mustPull, 'mustAttemptImagePull(function)');
    } catch (error) {
      this.#failDecision(this.#slot, error);
    }
    if (askedCount > 1) this.#state.keepProblems(['a credentials source was asked twice']);
    this.#measureDecisions(1);
  }

  async #decide(image: number, credential: Credential): Promise<void> {
    const { engine, universe } = this.#state;
    this.#begin(image, credential);
    try {
      const decision = await engine.decide(
        universe.images[image]!,
        universe.refs[universe.refOfImage[image]!]!,
        credential.pod,
      );
      this.#checkDecision(this.#slot, image, credential, decision, 'decide');
    } catch (error) {
      this.#failDecision(this.#slot, error);
    }
    this.#measureDecisions(1);
  }

  #decideSync(image: number, credential: Credential): Promise<void> | undefined {
    const { engine, universe } = this.#state;
    this.#begin(image, credential);
    const decision = engine.decideSync(
      universe.images[image]!,
      universe.refs[universe.refOfImage[image]!]!,
      credential.pod,
    );
    if (decision === undefined) {
      // Needs a trip: nothing was decided yet.
      if (this.#state.isVerified) this.#state.verifier.cancel(this.#slot, 'never');
      return this.#decide(image, credential);
    }
    this.#checkDecision(this.#slot, image, credential, decision, 'decideSync');
    this.#measureDecisions(1);
    return undefined;
  }

  async #decideBatch(): Promise<void> {
    const { disturbance, engine, isVerified, verifier, universe } = this.#state;
    const plan = this.#plan;
    this.#disturbance = disturbance;
    for (let index = 0; index < BATCH_SIZE; index++) {
      const { image, credential } = plan;
      this.#batchImages[index] = image;
      this.#batchCredentials[index] = credential;
      this.#batch[index] = {
        image: universe.images[image]!,
        imageRef: universe.refs[universe.refOfImage[image]!]!,
        credentials: credential.pod,
      };
      if (isVerified) verifier.begin(this.#slot + index, image, credential);
      plan.nextOfBatch();
    }
    try {
      const decisions = await engine.decideBatch(this.#batch);
      for (let index = 0; index < BATCH_SIZE; index++) {
        const image = this.#batchImages[index]!;
        const credential = this.#batchCredentials[index]!;
        const slot = this.#slot + index;
        this.#checkDecision(slot, image, credential, decisions[index]!, 'decideBatch');
      }
    } catch (error) {
      for (let index = 0; index < BATCH_SIZE; index++) {
        if (isVerified) verifier.cancel(this.#slot + index);
      }
      this.#state.fail(error, this.#disturbance);
    }
    this.#measureDecisions(BATCH_SIZE);
  }

  #begin(image: number, credential: Credential): void {
    const { disturbance, isVerified, verifier } = this.#state;
    this.#disturbance = disturbance;
    if (isVerified) verifier.begin(this.#slot, image, credential);
  }

  #checkPlain(image: number, credential: Credential, mustPull: boolean, method: string): void {
    const answer = mustPull ? ANSWER.MUST_PULL : ANSWER.ALLOW;
    const state = this.#state;
    // A killed worker answers "must pull" as well, without a word why.
    if (mustPull && state.isVerified && state.verifier.isDisturbed(this.#disturbance)) {
      state.verifier.cancel(this.#slot);
      return;
    }
    this.#check(this.#slot, image, credential, answer, method);
  }

  #checkDecision(
    slot: number,
    image: number,
    credential: Credential,
    decision: StormDecision,
    method: string,
  ): void {
    const given = answerOf(this.#state, decision, method);
    if (given === ANSWER.ERROR) {
      // Trouble is not a wrong answer, and never a reason to let a pod in.
      this.#failDecision(slot, (decision as { cause?: unknown }).cause);
      return;
    }
    this.#check(slot, image, credential, given, method);
  }

  #check(
    slot: number,
    image: number,
    credential: Credential,
    answer: number,
    method: string,
  ): void {
    const state = this.#state;
    if (!state.isVerified) return;
    const { counts, verifier } = state;
    // A closing engine answers "must pull" without looking.
    if (state.gate !== undefined && (answer & ANSWER.MUST_PULL) !== 0) {
      verifier.cancel(slot);
      return;
    }
    if (!judge(state, slot, answer)) {
      state.keepWrong(() =>
        describeWrong(verifier, slot, {
          caller: this.#number,
          step: this.#step,
          operation: counts.operations + 1,
          method,
          image,
          credential,
          given: answer,
        }),
      );
    }
  }

  #failDecision(slot: number, error: unknown): void {
    if (this.#state.isVerified) this.#state.verifier.cancel(slot);
    this.#state.fail(error, this.#disturbance);
  }

  #measureDecisions(count: number): void {
    const { counts } = this.#state;
    counts.operations += count;
    counts.decisions += count;
    this.#record('decide', count);
  }

  #measure(operation: OperationName): void {
    this.#state.counts.operations++;
    this.#record(operation, 1);
  }

  #record(operation: OperationName, count: number): void {
    const nowMs = performance.now();
    const { gate, load, recorder } = this.#state;
    // What a closing engine refuses or finishes late is not its latency.
    if (gate === undefined) {
      recorder.record(operation, nowMs - this.#lastMs, count);
      if (load !== undefined) recorder.recordService(operation, nowMs - this.#calledMs, count);
    }
    this.#lastMs = nowMs;
    this.#calledMs = nowMs;
  }
}
