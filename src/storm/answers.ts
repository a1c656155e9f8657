/** Answers of the engine to a decision, and how they are judged. */
import type { StormDecision } from './engine.ts';

/** Answers as bits, so that several possible ones are one number. */
export const ANSWER = {
  POLICY_ALLOWED: 1,
  RECORD_FOUND: 2,
  MUST_AUTHENTICATE: 4,
  ERROR: 8,
  /** A plain "need not pull" and "must pull", as `mustAttemptImagePull` gives them. */
  ALLOW: 3,
  MUST_PULL: 12,
} as const;

/** What became of the check of one decision. */
export const VERDICT = {
  /** Right, and no other answer would have been. */
  EXACT: 0,
  /** Right, as more than one answer would have been: it overlapped a write. */
  EITHER: 1,
  /** An operation on the image failed half-way before: anything may be right. */
  UNVERIFIABLE: 2,
  WRONG: 3,
} as const;

const ANSWER_OF_REASON: Readonly<Record<StormDecision['reason'], number>> = {
  credentialPolicyAllowed: ANSWER.POLICY_ALLOWED,
  credentialRecordFound: ANSWER.RECORD_FOUND,
  mustAuthenticate: ANSWER.MUST_AUTHENTICATE,
  error: ANSWER.ERROR,
};

const NAMES: readonly (readonly [number, string])[] = [
  [ANSWER.POLICY_ALLOWED, 'use (credentialPolicyAllowed)'],
  [ANSWER.RECORD_FOUND, 'use (credentialRecordFound)'],
  [ANSWER.MUST_AUTHENTICATE, 'pull (mustAuthenticate)'],
  [ANSWER.ERROR, 'pull (error)'],
];

/** What an answer is called. */
export function answerNames(bits: number): string[] {
  if (bits === ANSWER.ALLOW) return ['use'];
  if (bits === ANSWER.MUST_PULL) return ['pull'];
  return NAMES.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);
}

/** The answer by its reason. That it also says "must pull", or not, has to go with the reason. */
export function answerOf(
  state: { keepProblems(problems: readonly string[]): void },
  { mustPull, reason }: StormDecision,
  method: string,
): number {
  const given = ANSWER_OF_REASON[reason];
  if (mustPull !== (given & ANSWER.MUST_PULL) > 0) {
    state.keepProblems([`${method} answered ${mustPull} (${reason})`]);
  }
  return given;
}

/** What judging needs of the state of a storm. */
interface Judging {
  readonly counts: {
    exact: number;
    either: number;
    unverifiable: number;
    wrongDecisions: number;
  };
  readonly verifier: { end(slot: number, answer: number): number };
}

/** Ends the check of a slot's decision and counts it; answers false where it was wrong. */
export function judge({ counts, verifier }: Judging, slot: number, given: number): boolean {
  switch (verifier.end(slot, given)) {
    case VERDICT.EXACT:
      counts.exact++;
      return true;
    case VERDICT.EITHER:
      counts.either++;
      return true;
    case VERDICT.UNVERIFIABLE:
      counts.unverifiable++;
      return true;
    default:
      counts.wrongDecisions++;
      return false;
  }
}
