/**
 * Equal pulls that are under way at the same time are one [W27]: the same requested image, and the
 * same credentials in the same order. A pull with other credentials is another: what one tenant has
 * shown to the registry proves nothing of the next.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { REGISTRY_AUTH_FIELDS } from '../credentials/pull-credential.ts';
import { abortedError } from '../errors.ts';
import { untilAborted } from '../util/until-aborted.ts';
import type { Pulled, PullOrder } from './pull.ts';

/** Runs a pull. */
export type RunPull = (
  order: PullOrder,
  signal: AbortSignal,
  shared: SharedPull,
) => Promise<Pulled>;

/** A pull, and how many requests it serves. */
export interface SharedPull {
  /** Requests that wait for it or have waited. */
  callerCount: number;
}

interface Flight extends SharedPull {
  waiting: number;
  readonly controller: AbortController;
  ended: Promise<Pulled>;
}

/** Used by one thread. */
export class SharedPulls {
  readonly #run: RunPull;
  /** Keys must not tell credentials to who reads the memory. */
  readonly #secret = randomBytes(32);
  readonly #flights = new Map<string, Flight>();
  /** Also those that nobody waits for any more. */
  readonly #running = new Set<Promise<Pulled>>();

  constructor(run: RunPull) {
    this.#run = run;
  }

  /**
   * Joins an equal pull, or begins one. A pull is aborted when all who wait for it have gone.
   * Rejects with `ABORTED` when `signal` is aborted, else as the pull does.
   */
  async pull(order: PullOrder, signal: AbortSignal): Promise<Pulled> {
    const key = this.#keyOf(order);
    const flight = this.#flights.get(key) ?? this.#begin(key, order);
    flight.callerCount++;
    flight.waiting++;
    try {
      return await untilAborted(flight.ended, signal, (reason) => abortedError('the pull', reason));
    } finally {
      if (--flight.waiting === 0 && this.#flights.get(key) === flight) {
        // Nobody joins a pull that is being aborted.
        this.#flights.delete(key);
        flight.controller.abort();
      }
    }
  }

  /** Resolves when no pull is under way. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  #begin(key: string, order: PullOrder): Flight {
    const controller = new AbortController();
    const shared: SharedPull = { callerCount: 0 };
    const flight: Flight = Object.assign(shared, {
      waiting: 0,
      controller,
      ended: this.#run(order, controller.signal, shared),
    });
    const { ended } = flight;
    this.#flights.set(key, flight);
    this.#running.add(ended);
    const onEnd = (): void => {
      this.#running.delete(ended);
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    ended.then(onEnd, onEnd);
    return flight;
  }

  #keyOf({ image, credentials }: PullOrder): string {
    const parts = credentials.map(({ auth, source }) => [
      ...REGISTRY_AUTH_FIELDS.map((field) => auth[field]),
      source.kind,
      ...(source.kind === 'node' ? [] : [source.uid, source.namespace, source.name]),
    ]);
    return createHmac('sha256', this.#secret)
      .update(JSON.stringify([image, parts]))
      .digest('hex');
  }
}
