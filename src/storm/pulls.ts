/** The pulls of one caller: intents, and the outcomes that follow at once or later. */
import type { PullWrite } from './ledger-writes.ts';
import type { OperationName } from './operations.ts';
import { OUTCOME } from './plan.ts';
import type { StormState } from './state.ts';
import type { Credential } from './tenants.ts';

/** Thrown into `withPull` where the registry refuses. */
class PullRefused extends Error {}

/** A pull whose outcome is still to come. */
export interface OpenPull {
  readonly image: number;
  readonly credential: Credential;
  readonly outcome: number;
  readonly dueStep: number;
  /** Restarts before its intent. */
  readonly life: number;
}

/** One open pull in so many is left in the end, to see its intent survive. */
const LEFT_PULLS = 8;

/** Pulls images for one caller and keeps the ledger of it. */
export class Pulls {
  readonly #state: StormState;
  readonly #measure: (operation: OperationName) => void;
  readonly #open: OpenPull[];
  readonly #openMax: number;

  /**
   * @param measure Called when an operation was answered.
   * @param open Pulls whose outcome is to come; callers that share a plan share them as well.
   * @param openMax How many there are at most; the outcome of others follows at once.
   */
  constructor(
    state: StormState,
    measure: (operation: OperationName) => void,
    open: OpenPull[],
    openMax: number,
  ) {
    this.#state = state;
    this.#measure = measure;
    this.#open = open;
    this.#openMax = openMax;
  }

  get openCount(): number {
    this.#abandon();
    return this.#open.length;
  }

  /** @param dueStep Step after which the outcome comes; 0: at once. */
  async pull(
    image: number,
    credential: Credential,
    outcome: number,
    dueStep: number,
  ): Promise<void> {
    const state = this.#state;
    const { disturbance } = state;
    state.writing?.beginIntent(image);
    try {
      await state.engine.recordPullIntent(state.universe.images[image]!);
      state.writing?.endIntent(image, true);
    } catch (error) {
      this.#loseIntent(image, error, disturbance);
      return;
    }
    this.#measure('recordPullIntent');
    // The node goes down in the middle of the pull: its intent is left over.
    if (state.gate !== undefined) return;
    if (dueStep > 0 && this.#open.length < this.#openMax) {
      this.#open.push({ image, credential, outcome, dueStep, life: state.counts.restarts });
    } else {
      await this.#end(image, credential, outcome);
    }
  }

  /** Ends the open pulls whose time has come. */
  async endDue(step: number): Promise<void> {
    for (;;) {
      this.#abandon();
      // Looked for anew each time: others take from the list meanwhile.
      const at = this.#open.findIndex(({ dueStep }) => dueStep <= step);
      if (at === -1 || this.#state.gate !== undefined) return;
      const [due] = this.#open.splice(at, 1);
      await this.#end(due!.image, due!.credential, due!.outcome);
    }
  }

  /** The storm is over: ends all open pulls but some. */
  async endAll(): Promise<void> {
    this.#abandon();
    const ended = this.#open.splice(0).filter(({ image }) => image % LEFT_PULLS !== 0);
    for (const { image, credential, outcome } of ended) {
      await this.#end(image, credential, outcome);
    }
  }

  /** Where the node went down since their intents, nobody will say what became of pulls. */
  #abandon(): void {
    const { restarts } = this.#state.counts;
    while (this.#open.length > 0 && this.#open[0]!.life !== restarts) this.#open.shift();
  }

  async #end(image: number, credential: Credential, outcome: number): Promise<void> {
    const state = this.#state;
    const { disturbance, universe } = state;
    const text = universe.images[image]!;
    if (outcome === OUTCOME.FAILED) {
      state.writing?.beginFailure(image);
      try {
        await state.engine.recordImagePullFailed(text);
        state.writing?.endFailure(image, true);
      } catch (error) {
        this.#loseFailure(image, error, disturbance);
      }
      this.#measure('recordImagePullFailed');
      return;
    }
    const isKnown = outcome === OUTCOME.PULLED;
    const pull = state.writing?.beginPull(image, isKnown ? credential : null);
    try {
      await state.engine.recordImagePulled(
        text,
        universe.refs[universe.refOfImage[image]!]!,
        isKnown ? this.#proofOf(image, credential) : null,
      );
      if (pull !== undefined) state.writing?.endPull(pull, true);
    } catch (error) {
      this.#losePull(pull, error, disturbance);
    }
    this.#measure('recordImagePulled');
  }

  /** The same as `pull`, through the method that does both. */
  async withPull(image: number, credential: Credential, outcome: number): Promise<void> {
    const state = this.#state;
    const { disturbance, universe, writing } = state;
    const isKnown = outcome === OUTCOME.PULLED;
    let succeed: (() => void) | undefined;
    let lose = (error: unknown): void => this.#loseIntent(image, error, disturbance);
    writing?.beginIntent(image);
    try {
      await state.engine.withPull(universe.images[image]!, async () => {
        writing?.endIntent(image, true);
        this.#measure('recordPullIntent');
        if (outcome === OUTCOME.FAILED) {
          writing?.beginFailure(image);
          succeed = () => writing?.endFailure(image, true);
          lose = (error) => this.#loseFailure(image, error, disturbance);
          throw new PullRefused();
        }
        const pull = writing?.beginPull(image, isKnown ? credential : null);
        succeed = () => {
          if (pull !== undefined) writing?.endPull(pull, true);
        };
        lose = (error) => this.#losePull(pull, error, disturbance);
        return {
          imageRef: universe.refs[universe.refOfImage[image]!]!,
          credentials: isKnown ? this.#proofOf(image, credential) : null,
        };
      });
      succeed?.();
    } catch (error) {
      if (error instanceof PullRefused) succeed?.();
      else lose(error);
    }
    if (succeed === undefined) return;
    this.#measure(outcome === OUTCOME.FAILED ? 'recordImagePullFailed' : 'recordImagePulled');
  }

  #loseIntent(image: number, error: unknown, since: number): void {
    const { writing } = this.#state;
    if (this.#state.fail(error, since)) writing?.loseIntent(image);
    else writing?.endIntent(image, false);
  }

  #loseFailure(image: number, error: unknown, since: number): void {
    const { writing } = this.#state;
    if (this.#state.fail(error, since)) writing?.loseFailure(image);
    else writing?.endFailure(image, false);
  }

  #losePull(pull: PullWrite | undefined, error: unknown, since: number): void {
    const { writing } = this.#state;
    const isKill = this.#state.fail(error, since);
    if (pull === undefined) return;
    if (isKill) writing?.losePull(pull);
    else writing?.endPull(pull, false);
  }

  #proofOf(image: number, credential: Credential): Credential['proof'] {
    const { universe } = this.#state;
    return universe.isNodeWide(image, credential)
      ? universe.tenants.anonymous.proof
      : credential.proof;
  }
}
