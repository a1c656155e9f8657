/** Asks the decisions of a trace again, and checks the answers. */

import type { TracedQuestion } from '../../trace/format.ts';
import { ANSWER, answerNames, answerOf, judge } from '../answers.ts';
import type { StormDecision } from '../engine.ts';
import type { Credential } from '../tenants.ts';
import { describeWrong } from '../wrong-answer.ts';
import { Call, type ReplayContext } from './replay-state.ts';

/** Asks and checks; each decision under way has one of the verifier's slots. */
export class ReplayDecisions {
  readonly #context: ReplayContext;
  /** By number of the trace's credentials: whether the verifier can judge who presents them. */
  readonly #isVerifiable: readonly boolean[];
  readonly #freeSlots: number[];

  constructor(context: ReplayContext, isVerifiable: readonly boolean[], slotCount: number) {
    this.#context = context;
    this.#isVerifiable = isVerifiable;
    this.#freeSlots = Array.from({ length: slotCount }, (_, slot) => slotCount - 1 - slot);
  }

  /** Decisions that can be begun now. */
  get freeCount(): number {
    return this.#freeSlots.length;
  }

  /** Whether the trace's line can be asked at all. */
  isPlayable({ image, imageRef }: TracedQuestion): boolean {
    const { universe } = this.#context;
    return imageRef === '' || universe.imageOf(image, imageRef) !== undefined;
  }

  async decide(question: TracedQuestion, step: number, dueMs: number): Promise<void> {
    const { state, meter } = this.#context;
    const check = this.#begin(question, step, 'decide');
    const call = new Call(meter, dueMs);
    const { image, imageRef, pod } = check;
    try {
      check.end(await state.engine.decide(image, imageRef, pod));
    } catch (error) {
      check.fail(error);
    }
    call.measure(this.#context, 'decide');
  }

  async decideBatch(
    questions: readonly TracedQuestion[],
    step: number,
    dueMs: number,
  ): Promise<void> {
    const { state, meter } = this.#context;
    const checks = questions.map((question) => this.#begin(question, step, 'decideBatch'));
    const call = new Call(meter, dueMs);
    try {
      const decisions = await state.engine.decideBatch(
        checks.map(({ image, imageRef, pod }) => ({ image, imageRef, credentials: pod })),
      );
      for (const [i, check] of checks.entries()) check.end(decisions[i]!);
    } catch (error) {
      for (const check of checks) check.fail(error);
    }
    call.measure(this.#context, 'decide', questions.length);
  }

  #begin(question: TracedQuestion, step: number, method: string): DecisionCheck {
    const { universe, state } = this.#context;
    const { image: text, imageRef, credentials = 0 } = question;
    const credential = universe.credentials[credentials]!;
    const slot = this.#freeSlots.pop()!;
    const release = (): void => void this.#freeSlots.push(slot);
    const asked = { image: text, imageRef, pod: credential.pod };
    if (imageRef === '') return { ...asked, ...this.#checkAbsent(text, release, { step, method }) };
    const image = universe.imageOf(text, imageRef)!;
    const isVerifiable = this.#isVerifiable[credentials] ?? true;
    if (state.isVerified) state.verifier.begin(slot, image, credential);
    return {
      ...asked,
      end: (decision) => {
        this.#end(slot, image, credential, decision, isVerifiable, { step, method });
        release();
      },
      fail: (error) => {
        if (state.isVerified) state.verifier.cancel(slot);
        state.fail(error);
        release();
      },
    };
  }

  /** What is not on the node has to be pulled, whatever is recorded. */
  #checkAbsent(
    image: string,
    release: () => void,
    where: { readonly step: number; readonly method: string },
  ): Pick<DecisionCheck, 'end' | 'fail'> {
    const { state } = this.#context;
    const { counts, isVerified } = state;
    return {
      end: (decision) => {
        const given = answerOf(state, decision, where.method);
        if (given === ANSWER.ERROR) {
          state.fail((decision as { cause?: unknown }).cause);
        } else if (isVerified && given === ANSWER.MUST_AUTHENTICATE) {
          counts.exact++;
        } else if (isVerified) {
          counts.wrongDecisions++;
          const operation = counts.operations + 1;
          const possible = answerNames(ANSWER.MUST_AUTHENTICATE);
          const about = { caller: 0, operation, image, imageRef: '', tenant: 'any' };
          const names = { given: answerNames(given).join(), possible };
          state.keepWrong(() => ({ ...where, ...about, ...names, state: [] }));
        }
        release();
      },
      fail: (error) => {
        state.fail(error);
        release();
      },
    };
  }

  #end(
    slot: number,
    image: number,
    credential: Credential,
    decision: StormDecision,
    isVerifiable: boolean,
    where: { readonly step: number; readonly method: string },
  ): void {
    const { state } = this.#context;
    const { counts, verifier } = state;
    const given = answerOf(state, decision, where.method);
    if (given === ANSWER.ERROR) {
      if (state.isVerified) verifier.cancel(slot);
      state.fail((decision as { cause?: unknown }).cause);
      return;
    }
    if (!state.isVerified) return;
    if (!isVerifiable) {
      verifier.cancel(slot, 'maybe');
      counts.unverifiable++;
      return;
    }
    if (!judge(state, slot, given)) {
      state.keepWrong(() =>
        describeWrong(verifier, slot, {
          ...where,
          caller: 0,
          operation: counts.operations + 1,
          image,
          credential,
          given,
        }),
      );
    }
  }
}

/** One decision under way; `end` or `fail` is called once. */
interface DecisionCheck {
  readonly image: string;
  readonly imageRef: string;
  readonly pod: Credential['pod'];
  readonly end: (decision: StormDecision) => void;
  readonly fail: (error: unknown) => void;
}
