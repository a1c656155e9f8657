/**
 * Does the pulls of a trace again. An outcome waits for its intent, however late that is answered: it
 * is never called before the intent is durable, as it was not when it was recorded.
 */
import type { PullWrite } from '../ledger-writes.ts';
import type { Credential } from '../tenants.ts';
import { Call, type ReplayContext } from './replay-state.ts';

/** Plays intents and outcomes, and keeps the ledger of them. */
export class ReplayPulls {
  readonly #context: ReplayContext;
  /** By image: intents without their outcomes, oldest first; whether they were written. */
  readonly #open = new Map<string, Promise<boolean>[]>();

  constructor(context: ReplayContext) {
    this.#context = context;
  }

  /** Whether a pull of an image was begun and not ended. */
  isOpen(text: string): boolean {
    return (this.#open.get(text)?.length ?? 0) > 0;
  }

  intent(text: string, dueMs: number): Promise<unknown> {
    const written = this.#intent(text, dueMs);
    const open = this.#open.get(text);
    if (open === undefined) this.#open.set(text, [written]);
    else open.push(written);
    return written;
  }

  /** @param credential What the pull is recorded with; null: unknown. */
  async pulled(
    text: string,
    imageRef: string,
    credential: Credential | null,
    dueMs: number,
  ): Promise<void> {
    if (!(await this.#ended(text))) return;
    const { state, meter } = this.#context;
    const pull = this.#beginPull(text, imageRef, credential);
    const call = new Call(meter, dueMs);
    try {
      await state.engine.recordImagePulled(text, imageRef, credential?.proof ?? null);
      pull.end(true);
    } catch (error) {
      pull.end(false);
      state.fail(error);
    }
    call.measure(this.#context, 'recordImagePulled');
  }

  async failed(text: string, dueMs: number): Promise<void> {
    if (!(await this.#ended(text))) return;
    const { state, meter } = this.#context;
    const images = this.#imagesOf(text);
    for (const image of images) state.ledger.beginFailure(image);
    const call = new Call(meter, dueMs);
    let isDone = true;
    try {
      await state.engine.recordImagePullFailed(text);
    } catch (error) {
      isDone = false;
      state.fail(error);
    }
    for (const image of images) state.ledger.endFailure(image, isDone);
    call.measure(this.#context, 'recordImagePullFailed');
  }

  async #intent(text: string, dueMs: number): Promise<boolean> {
    const { state, meter } = this.#context;
    const images = this.#imagesOf(text);
    for (const image of images) state.ledger.beginIntent(image);
    const call = new Call(meter, dueMs);
    let isDone = true;
    try {
      await state.engine.recordPullIntent(text);
    } catch (error) {
      isDone = false;
      state.fail(error);
    }
    for (const image of images) state.ledger.endIntent(image, isDone);
    call.measure(this.#context, 'recordPullIntent');
    return isDone;
  }

  /** Takes the oldest open intent; resolves once it is written, with whether it was. */
  #ended(text: string): Promise<boolean> {
    return this.#open.get(text)!.shift()!;
  }

  #imagesOf(text: string): readonly number[] {
    const { state, universe } = this.#context;
    return state.isVerified ? universe.imagesOf(text) : [];
  }

  /** The pull of one pair of text and reference ends the intent that all pairs of the text have. */
  #beginPull(
    text: string,
    imageRef: string,
    credential: Credential | null,
  ): { end(isDone: boolean): void } {
    const { state, universe } = this.#context;
    const { ledger } = state;
    const pulled = universe.imageOf(text, imageRef);
    const writes: PullWrite[] = [];
    const others: number[] = [];
    for (const image of this.#imagesOf(text)) {
      if (image === pulled) {
        writes.push(ledger.beginPull(image, credential));
      } else {
        ledger.beginFailure(image);
        others.push(image);
      }
    }
    return {
      end(isDone) {
        for (const write of writes) ledger.endPull(write, isDone);
        for (const image of others) ledger.endFailure(image, isDone);
      },
    };
  }
}
