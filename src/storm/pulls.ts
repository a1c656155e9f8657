/** The pulls of one caller: intents, and the outcomes that follow at once or later. */
import { OUTCOME } from './plan.ts';
import type { OperationName } from './recorder.ts';
import type { StormState } from './state.ts';
import type { Credential } from './tenants.ts';

/** Thrown into `withPull` where the registry refuses. */
class PullRefused extends Error {}

/** A pull whose outcome is still to come. */
interface OpenPull {
  readonly image: number;
  readonly credential: Credential;
  readonly outcome: number;
  readonly dueStep: number;
}

/** Pulls that a caller has open at most. */
const OPEN_PULLS_MAX = 8;

/** Pulls images for one caller and keeps the ledger of it. */
export class Pulls {
  readonly #state: StormState;
  readonly #measure: (operation: OperationName) => void;
  readonly #open: OpenPull[] = [];

  /** @param measure Called when an operation was answered. */
  constructor(state: StormState, measure: (operation: OperationName) => void) {
    this.#state = state;
    this.#measure = measure;
  }

  get openCount(): number {
    return this.#open.length;
  }

  /** The node went down: nobody will say what became of the open pulls. */
  abandon(): void {
    this.#open.length = 0;
  }

  /** @param dueStep Step after which the outcome comes; 0: at once. */
  async pull(
    image: number,
    credential: Credential,
    outcome: number,
    dueStep: number,
  ): Promise<void> {
    const state = this.#state;
    const { ledger } = state;
    ledger.beginIntent(image);
    try {
      await state.engine.recordPullIntent(state.universe.images[image]!);
      ledger.endIntent(image, true);
    } catch (error) {
      ledger.endIntent(image, false);
      state.fail(error);
      return;
    }
    this.#measure('recordPullIntent');
    // The node goes down in the middle of the pull: its intent is left over.
    if (state.gate !== undefined) return;
    if (dueStep > 0 && this.#open.length < OPEN_PULLS_MAX) {
      this.#open.push({ image, credential, outcome, dueStep });
    } else {
      await this.#end(image, credential, outcome);
    }
  }

  /** Ends the open pulls whose time has come. */
  async endDue(step: number): Promise<void> {
    for (let index = 0; index < this.#open.length; index++) {
      const { image, credential, outcome, dueStep } = this.#open[index]!;
      if (dueStep > step) continue;
      if (this.#state.gate !== undefined) return;
      this.#open.splice(index--, 1);
      await this.#end(image, credential, outcome);
    }
  }

  async #end(image: number, credential: Credential, outcome: number): Promise<void> {
    const state = this.#state;
    const { ledger, universe } = state;
    const text = universe.images[image]!;
    if (outcome === OUTCOME.FAILED) {
      ledger.beginFailure(image);
      try {
        await state.engine.recordImagePullFailed(text);
        ledger.endFailure(image, true);
      } catch (error) {
        ledger.endFailure(image, false);
        state.fail(error);
      }
      this.#measure('recordImagePullFailed');
      return;
    }
    const isKnown = outcome === OUTCOME.PULLED;
    const pull = ledger.beginPull(image, isKnown ? credential : null);
    try {
      await state.engine.recordImagePulled(
        text,
        universe.refs[universe.refOfImage[image]!]!,
        isKnown ? this.#proofOf(image, credential) : null,
      );
      ledger.endPull(pull, true);
    } catch (error) {
      ledger.endPull(pull, false);
      state.fail(error);
    }
    this.#measure('recordImagePulled');
  }

  /** The same as `pull`, through the method that does both. */
  async withPull(image: number, credential: Credential, outcome: number): Promise<void> {
    const state = this.#state;
    const { ledger, universe } = state;
    const isKnown = outcome === OUTCOME.PULLED;
    let end: ((isDone: boolean) => void) | undefined;
    ledger.beginIntent(image);
    try {
      await state.engine.withPull(universe.images[image]!, async () => {
        ledger.endIntent(image, true);
        this.#measure('recordPullIntent');
        if (outcome === OUTCOME.FAILED) {
          ledger.beginFailure(image);
          end = (isDone) => ledger.endFailure(image, isDone);
          throw new PullRefused();
        }
        const pull = ledger.beginPull(image, isKnown ? credential : null);
        end = (isDone) => ledger.endPull(pull, isDone);
        return {
          imageRef: universe.refs[universe.refOfImage[image]!]!,
          credentials: isKnown ? this.#proofOf(image, credential) : null,
        };
      });
      end?.(true);
    } catch (error) {
      if (end === undefined) {
        ledger.endIntent(image, false);
      } else {
        end(error instanceof PullRefused);
      }
      if (!(error instanceof PullRefused)) state.fail(error);
    }
    if (end === undefined) return;
    this.#measure(outcome === OUTCOME.FAILED ? 'recordImagePullFailed' : 'recordImagePulled');
  }

  #proofOf(image: number, credential: Credential): Credential['proof'] {
    const { universe } = this.#state;
    return universe.isNodeWide(image, credential)
      ? universe.tenants.anonymous.proof
      : credential.proof;
  }
}
