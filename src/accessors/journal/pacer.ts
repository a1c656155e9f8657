/** Lets the event loop turn now and then during long work on a thread that others use too. */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';

const SLICE_MS_DEFAULT = 5;

export class Pacer {
  readonly #yields: boolean;
  readonly #sliceMs: number;
  #sliceEndMs: number;

  /**
   * @param yields - false on a thread that nobody else waits for.
   * @param sliceMs - how long others may be kept waiting. @default 5
   */
  constructor(yields: boolean, sliceMs: number = SLICE_MS_DEFAULT) {
    this.#yields = yields;
    this.#sliceMs = sliceMs;
    this.#sliceEndMs = performance.now() + sliceMs;
  }

  /** Resolves at once, or, when the thread was busy for long enough, after a turn. */
  pause(): Promise<void> | undefined {
    if (!this.#yields || performance.now() < this.#sliceEndMs) return undefined;
    return this.#turn();
  }

  async #turn(): Promise<void> {
    await turnOfEventLoop();
    this.#sliceEndMs = performance.now() + this.#sliceMs;
  }
}
