/** What an image manager does unasked. Keeps no process alive. */
import { abortListeners } from '../util/abort-listeners.ts';

/** Pauses after something could not be done, in milliseconds. */
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 60_000;

/** Used by one thread. */
export class BackgroundWork {
  readonly #closing: AbortSignal;
  readonly #loops = new Set<Promise<void>>();

  /** @param closing Ends all of it. */
  constructor(closing: AbortSignal) {
    this.#closing = closing;
  }

  /** Does `work`, which never rejects, every so often; the first time after one period. */
  every(periodMs: number, work: () => Promise<void>): void {
    this.#run(async () => {
      while (await this.#pause(periodMs)) await work();
    });
  }

  /** Does `work`, which never rejects, now, and again until it answers true. */
  untilDone(work: () => Promise<boolean>): void {
    this.#run(async () => {
      let pauseMs = RETRY_MS_MIN;
      while (!(await work())) {
        if (!(await this.#pause(pauseMs))) return;
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX);
      }
    });
  }

  /** Resolves when nothing is being done any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#loops);
  }

  #run(loop: () => Promise<void>): void {
    const ended = loop().finally(() => this.#loops.delete(ended));
    this.#loops.add(ended);
  }

  /** False: it was ended by the signal. */
  #pause(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#closing.aborted) return resolve(false);
      const onAbort = (): void => {
        clearTimeout(timer);
        resolve(false);
      };
      const timer = setTimeout(() => {
        abortListeners.remove(this.#closing, onAbort);
        resolve(true);
      }, ms).unref();
      abortListeners.add(this.#closing, onAbort);
    });
  }
}
