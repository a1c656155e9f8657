/** What each operation of a storm does to which keys. */

import type { Effect, KeyOperation } from '../common/worlds.ts';
import { ANSWER, FOREIGN, OPERATION, type StormEvent } from './log.ts';
import {
  beginPull,
  endPull,
  findMatch,
  type IntentState,
  isProven,
  pruneRecord,
  type RecordState,
  recordPulled,
} from './states.ts';
import {
  credentialsOf,
  IMAGE_COUNT,
  imageNameOf,
  PRUNE_CLASSES,
  podCredentialsOf,
} from './universe.ts';

/** When and how an operation ended. */
export interface Outcome {
  readonly timeMs: number;
  readonly isAcknowledged: boolean;
  /** Of a look. */
  readonly answer: number;
}

/** The parts of an operation, by image and by reference. */
export interface KeyOperations {
  readonly intents: ReadonlyMap<number, KeyOperation<IntentState>>;
  readonly records: ReadonlyMap<number, KeyOperation<RecordState>>;
}

/**
 * The parts of an operation that was started.
 *
 * @param endMs It ended no later.
 * @param kept A time as the store keeps it.
 */
export function keyOperationsOf(
  event: StormEvent,
  outcome: Outcome | undefined,
  endMs: number,
  kept: (timeMs: number) => number,
): KeyOperations {
  const { operation, id, image, ref } = event;
  const isAnswered = outcome?.isAcknowledged === true;
  const [fromMs, toMs] = [kept(event.timeMs), kept(outcome?.timeMs ?? endMs)];
  const name = imageNameOf(image);
  const intents = new Map<number, KeyOperation<IntentState>>();
  const records = new Map<number, KeyOperation<RecordState>>();
  switch (operation) {
    case OPERATION.INTENT:
      intents.set(image, once(id, beginPull(isAnswered)));
      break;
    case OPERATION.FAILED:
      intents.set(image, once(id, endPull(isAnswered)));
      break;
    case OPERATION.PULLED: {
      const credentials = credentialsOf(event.credentials);
      intents.set(image, once(id, endPull(isAnswered)));
      records.set(ref, once(id, recordPulled(name, credentials, fromMs, toMs)));
      break;
    }
    case OPERATION.MATCH: {
      const [secret] = podCredentialsOf(event.credentials).secrets ?? [];
      if (secret === undefined) break;
      const credentials = { kubernetesSecrets: [secret] };
      const effects = [findMatch(name, credentials), recordPulled(name, credentials, fromMs, toMs)];
      records.set(ref, { id, effects, isOptional: true });
      break;
    }
    case OPERATION.LOOK: {
      const isFound = isAnswered && outcome.answer === ANSWER.FOUND;
      if (!isFound || event.credentials === FOREIGN) break;
      records.set(ref, once(id, isProven(name, credentialsOf(event.credentials)!)));
      break;
    }
    case OPERATION.PRUNE:
      for (let key = event.unlisted; key < IMAGE_COUNT; key += PRUNE_CLASSES) {
        records.set(key, once(id, pruneRecord(fromMs)));
      }
      break;
  }
  return { intents, records };
}

/** What reconciliation at open may do: adopt the left-over intent of an image that the runtime has. */
export function adoptionOf(id: number, image: number, fromMs: number, toMs: number): KeyOperations {
  const effect = recordPulled(imageNameOf(image), null, fromMs, toMs);
  return {
    intents: new Map([[image, once(id, endPull(true))]]),
    // Its record is under the reference of the same number.
    records: new Map([[image, { id, effects: [effect], isOptional: true }]]),
  };
}

function once<S>(id: number, effect: Effect<S>): KeyOperation<S> {
  return { id, effects: [effect], isOptional: false };
}
