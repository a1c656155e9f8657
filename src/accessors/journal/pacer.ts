/** Lets the event loop turn now and then during long work on a thread that others use too. */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';

const SLICE_MS = 5;

export class Pacer {
  readonly #yields: boolean;
  #sliceEndMs: number;

  /** @param yields - false on a thread that nobody else waits for. */
  constructor(yields: boolean) {
    this.#yields = yields;
    this.#sliceEndMs = performance.now() + SLICE_MS;
  }

  /** Resolves at once, or, when the thread was busy for long enough, after a turn. */
  pause(): Promise<void> | undefined {
    if (!this.#yields || performance.now() < this.#sliceEndMs) return undefined;
    return this.#turn();
  }

  async #turn(): Promise<void> {
    await turnOfEventLoop();
    this.#sliceEndMs = performance.now() + SLICE_MS;
  }
}
