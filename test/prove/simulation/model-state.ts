/** The sequential model as a value: states that a search can branch, compare and number. */
import type { KubeletBehaviour } from '../../../src/compatibility.ts';
import type { VerificationPolicy } from '../../../src/policies/enforcer.ts';
import type { ImagePullSecret } from '../../../src/records/record.ts';
import { decideOn, type ModelDecision } from '../../../src/storm/model-decision.ts';
import {
  type ModelAnswer,
  type ModelOperation,
  type ModelState,
  PullModel,
} from '../../support/pull-model.ts';

/** A state, and what decisions have matched that is not recorded yet, by the number of their call. */
export interface SearchState {
  readonly model: ModelState;
  readonly matched: readonly (readonly [id: number, secret: ImagePullSecret])[];
}

export const INITIAL: SearchState = {
  model: new PullModel().capture(),
  matched: [],
};

/** What of an engine the model must know. */
export interface Rules {
  readonly policy: VerificationPolicy;
  readonly behaviour: KubeletBehaviour;
}

const texts = new WeakMap<SearchState, string>();

/** Equal states, equal texts. */
export function textOfState(state: SearchState): string {
  let text = texts.get(state);
  if (text === undefined) {
    text = JSON.stringify(state);
    texts.set(state, text);
  }
  return text;
}

/** The answer to an operation, and the state after it. */
export function applied(
  rules: Rules,
  state: SearchState,
  operation: ModelOperation,
  nowMs = 0,
): { readonly answer: ModelAnswer; readonly next: SearchState } {
  const model = new PullModel({ ...rules, state: state.model, now: () => nowMs });
  const answer = model.apply(operation);
  return { answer, next: { ...state, model: model.capture() } };
}

/** A decision by a state, which does not change it. */
export function decided(
  { policy, behaviour }: Rules,
  { model }: SearchState,
  { image, imageRef, credentials }: Extract<ModelOperation, { op: 'decide' }>,
): ModelDecision {
  if (imageRef === '') return { mustPull: true, reason: 'mustAuthenticate' };
  const record = model.records.find((one) => one.imageRef === imageRef);
  return decideOn({
    image,
    policy,
    behaviour,
    record: record && new Map(record.names),
    isIntended:
      model.intents.includes(image) || model.inFlight.some(([pulled]) => pulled === image),
    credentials,
  });
}
