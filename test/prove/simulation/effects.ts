/**
 * What a recorded call does to the state of its keys, step by step, given what it answered: the
 * states that each step may lead to, and none where the answer cannot be.
 *
 * Two calls are two moments: the end of a pull (the record, then the intent) and a decision that
 * records what has matched (the decision, then the record). A listing and a pruning look at each key
 * at a moment of its own. A call that failed has done some of its steps, from the first on.
 */
import type { ImagePulledRecord } from '../../../src/records/record.ts';
import type { ModelOperation } from '../../support/pull-model.ts';
import type { Effect, KeyOperation } from '../common/worlds.ts';
import type { Entry } from './history.ts';
import { applied, decided, type Rules, type SearchState } from './model-state.ts';

/** The keys that are checked together. */
export interface Component {
  readonly images: ReadonlySet<string>;
  readonly imageRefs: ReadonlySet<string>;
}

export interface EffectContext {
  readonly rules: Rules;
  readonly component: Component;
  /** What the clock may have shown during the call. */
  readonly timesMs: readonly number[];
  /** Whether errors are allowed during the call. */
  readonly isTroubled: boolean;
  /**
   * Ends of pulls of the same image that failed beside the call, itself among them: one batch may have ended
   * all those pulls in the store, and was not counted.
   */
  readonly lostEnds: number;
}

type Step = Effect<SearchState>;
type PulledCall = Extract<Entry['call'], { op: 'pulled' }>;
type DecideCall = Extract<Entry['call'], { op: 'decide' }>;

/** Numbers of the operations of one entry; more than a component has keys. */
const IDS_PER_ENTRY = 64;

/** The operations of entry number `index` on the keys of a component; none: it shows nothing. */
export function operationsOf(
  index: number,
  entry: Entry,
  context: EffectContext,
): KeyOperation<SearchState>[] {
  const isOptional = isFailed(entry);
  return stepsOf(index * IDS_PER_ENTRY, entry, context).map((steps, part) => ({
    id: index * IDS_PER_ENTRY + part,
    effects: steps.map(remembered),
    isOptional,
  }));
}

/** A search comes to the same states again and again, by many orders. */
function remembered(step: Step): Step {
  const known = new Map<SearchState, readonly SearchState[]>();
  return (state) => {
    let after = known.get(state);
    if (after === undefined) {
      after = step(state);
      known.set(state, after);
    }
    return after;
  };
}

/** Whether an entry may have done less than it was asked to. */
export function isFailed(entry: Entry): boolean {
  const { answer } = entry;
  if (answer.kind === 'pruned') return answer.errorCount > 0;
  return answer.kind === 'failed' && !isRefused(entry);
}

/** A name that is none is refused before anything is sent. */
function isRefused({ call, answer }: Entry): boolean {
  return (
    call.op === 'pulled' && answer.kind === 'failed' && answer.code.endsWith('IMAGE_NAME_INVALID')
  );
}

/** By operation, its steps in order. */
function stepsOf(id: number, entry: Entry, context: EffectContext): Step[][] {
  const { call, answer } = entry;
  const { images, imageRefs } = context.component;
  switch (call.op) {
    case 'intent':
      return [[change(context, call, isFailed(entry) ? 'writeIntent' : undefined)]];
    case 'failed':
      return [[change(context, call, isFailed(entry) ? 'deleteIntent' : undefined)]];
    case 'pulled':
      return [pulledSteps(entry, call, context)];
    case 'decide': {
      const steps = decideSteps(id, entry, call, context);
      return steps.length === 0 ? [] : [steps];
    }
    case 'get': {
      if (answer.kind !== 'record') return [];
      return [[seesRecord(context, call.imageRef, answer.record)]];
    }
    case 'listRecords': {
      if (answer.kind !== 'records' || answer.errorCount > 0) return [];
      const found = new Map(answer.records.map((record) => [record.imageRef, record]));
      return [...imageRefs].map((ref) => [seesRecord(context, ref, found.get(ref))]);
    }
    case 'listIntents': {
      if (answer.kind !== 'intents' || answer.errorCount > 0) return [];
      const found = new Set(answer.images);
      return [...images].map((image) => [
        (state) => (state.model.intents.includes(image) === found.has(image) ? [state] : []),
      ]);
    }
    case 'prune': {
      const unlisted = [...imageRefs].filter((ref) => !call.listed.includes(ref));
      return unlisted.map((ref) => {
        const others = [...imageRefs].filter((other) => other !== ref);
        return [change(context, { op: 'prune', imageRefs: others, untilMs: call.untilMs })];
      });
    }
    default: {
      const listed = call.images.filter(({ id: imageRef }) => imageRefs.has(imageRef));
      return [[change(context, { op: 'restart', images: listed })]];
    }
  }
}

/** The whole operation; or, of one that failed half-way, what it does to the store alone. */
function change(
  { rules, timesMs, lostEnds }: EffectContext,
  operation: ModelOperation,
  half?: 'writeIntent' | 'deleteIntent',
): Step {
  return (state) => {
    const after = timesMs.map((ms) => applied(rules, state, operation, ms).next);
    if (half !== undefined && 'image' in operation) {
      // Several pulls under way: the store is touched only where all of them end.
      const isStored = half === 'writeIntent' || countOf(state, operation.image) <= lostEnds;
      if (isStored) after.push(applied(rules, state, { op: half, image: operation.image }).next);
    }
    return after;
  };
}

function countOf({ model }: SearchState, image: string): number {
  return model.inFlight.find(([pulled]) => pulled === image)?.[1] ?? 0;
}

function pulledSteps(entry: Entry, call: PulledCall, context: EffectContext): Step[] {
  const { image, imageRef, credentials } = call;
  const write = { op: 'writePulled', image, imageRef, credentials } as const;
  if (isRefused(entry)) {
    // That the model refuses it too is the one thing to check.
    return [(state) => (writes(context.rules, state, write) ? [] : [state])];
  }
  return [
    (state) => (writes(context.rules, state, write) ? change(context, write)(state) : []),
    change(context, { op: 'decrement', image }, isFailed(entry) ? 'deleteIntent' : undefined),
  ];
}

function writes(rules: Rules, state: SearchState, write: ModelOperation): boolean {
  return applied(rules, state, write).answer.kind === 'done';
}

function decideSteps(
  id: number,
  { answer }: Entry,
  call: DecideCall,
  context: EffectContext,
): Step[] {
  const { rules, isTroubled } = context;
  if (answer.kind !== 'decision') return [];
  const { image, imageRef, credentials } = call;
  const failsClosed = answer.mustPull && (answer.reason === 'error' || call.how === 'mustAttempt');
  if (isTroubled && failsClosed) return [];
  const decide: Step = (state) => {
    const decision = decided(rules, state, { op: 'decide', image, imageRef, credentials });
    const agrees = answer.reason === undefined || answer.reason === decision.reason;
    if (decision.mustPull !== answer.mustPull || !agrees) return [];
    const secret = decision.learned;
    if (secret === undefined) return [state];
    const learned = { kubernetesSecrets: [secret] };
    const write = { op: 'writePulled', image, imageRef, credentials: learned } as const;
    const isNews = applied(rules, state, write, Number.NaN).next.model;
    if (JSON.stringify(isNews) === JSON.stringify(state.model)) return [state];
    // It cannot be recorded without a trip.
    return call.how === 'sync' ? [] : [{ ...state, matched: [...state.matched, [id, secret]] }];
  };
  const record: Step = (state) => {
    const secret = state.matched.find(([owner]) => owner === id)?.[1];
    if (secret === undefined) return [state];
    const rest = { ...state, matched: state.matched.filter(([owner]) => owner !== id) };
    const learned = { kubernetesSecrets: [secret] };
    const write = { op: 'writePulled', image, imageRef, credentials: learned } as const;
    const after = change(context, write)(rest);
    // The decision stands where the match could not be recorded.
    return isTroubled ? [...after, rest] : after;
  };
  const mayMatch = (credentials.secrets?.length ?? 0) > 0 && rules.behaviour.recordsMatches;
  return mayMatch && call.how !== 'sync' ? [decide, record] : [decide];
}

function seesRecord(
  { rules }: EffectContext,
  imageRef: string,
  found: ImagePulledRecord | undefined,
): Step {
  const seen = textOfRecord(found);
  return (state) => {
    const { answer } = applied(rules, state, { op: 'get', imageRef });
    return answer.kind === 'record' && textOfRecord(answer.record) === seen ? [state] : [];
  };
}

/** Equal records, equal texts: of names in any order, and of what is empty or left out. */
function textOfRecord(record: ImagePulledRecord | undefined): string {
  if (record === undefined) return 'absent';
  const names = Object.entries(record.credentialMapping)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, proof]) => [
      name,
      proof.nodePodsAccessible === true,
      proof.kubernetesSecrets?.map((one) => [
        one.namespace,
        one.name,
        one.uid,
        one.credentialHash,
      ]) ?? [],
      proof.kubernetesServiceAccounts?.map((one) => [one.namespace, one.name, one.uid]) ?? [],
    ]);
  return JSON.stringify([record.lastUpdatedTime.getTime(), names]);
}
