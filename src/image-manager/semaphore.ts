/** How many pulls may run at the same time; the others wait in the order in which they came. */
import { abortedError } from '../errors.ts';

interface Waiter {
  readonly grant: () => void;
  readonly stopListening: () => void;
}

export class Semaphore {
  readonly #max: number;
  #taken = 0;
  /** In the order of arrival. */
  readonly #waiters = new Set<Waiter>();

  /** @param max Less than 1: no limit. */
  constructor(max: number) {
    this.#max = max < 1 ? Number.POSITIVE_INFINITY : Math.floor(max);
  }

  /** Resolves when the caller has a slot, which it has to `release`. Rejects with `ABORTED`. */
  async take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortedError('the wait for a pull', signal.reason);
    if (this.#taken < this.#max) {
      this.#taken++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(abortedError('the wait for a pull', signal.reason));
      };
      const stopListening = (): void => signal.removeEventListener('abort', onAbort);
      const waiter: Waiter = { grant: resolve, stopListening };
      this.#waiters.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Gives the slot to who has waited longest. */
  release(): void {
    const [next] = this.#waiters;
    if (next === undefined) {
      this.#taken--;
      return;
    }
    this.#waiters.delete(next);
    next.stopListening();
    next.grant();
  }
}
