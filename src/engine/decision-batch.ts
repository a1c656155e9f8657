/** Many decisions at once: those that need a worker share one trip. */
import { invalidArgument } from '../errors.ts';
import { NO_CREDENTIALS } from '../records/record.ts';
import type { Decider, DecisionRequest } from './decider.ts';
import { type Decision, failed } from './decision.ts';

/** One decision for each request, in their order. Rejects only for what is no array. */
export async function decideBatch(
  decider: Decider,
  requests: readonly DecisionRequest[],
): Promise<Decision[]> {
  if (!Array.isArray(requests)) throw invalidArgument('requests', 'must be an array');
  const decisions: Decision[] = new Array(requests.length);
  const trips: Promise<void>[] = [];
  for (let i = 0; i < requests.length; i++) {
    const request: DecisionRequest | undefined = requests[i];
    if (typeof request !== 'object' || request === null) {
      decisions[i] = failed(invalidArgument(`requests[${i}]`, 'must be an object'));
      continue;
    }
    const { image, imageRef, credentials = NO_CREDENTIALS } = request;
    const decision =
      typeof credentials === 'function'
        ? undefined
        : decider.decideSync(image, imageRef, credentials);
    if (decision !== undefined) {
      decisions[i] = decision;
      continue;
    }
    const trip = decider.decide(image, imageRef, credentials, undefined);
    trips.push(
      trip.then((late) => {
        decisions[i] = late;
      }),
    );
  }
  if (trips.length > 0) await Promise.all(trips);
  return decisions;
}
