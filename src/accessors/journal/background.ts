/** Work beside the commits: what is under way, and when to try again what has failed. */

/** Tasks under way; their failures are the tasks' own matter. */
export class BackgroundWork {
  #count = 0;
  #pending: Promise<void> | undefined;
  #settle: (() => void) | undefined;

  /** Settles when nothing is under way any more; undefined if nothing is. Never rejects. */
  get pending(): Promise<void> | undefined {
    return this.#pending;
  }

  /** Counts `task` as under way until it settles. */
  track(task: Promise<unknown>): void {
    this.#count++;
    this.#pending ??= new Promise((resolve) => {
      this.#settle = resolve;
    });
    const ended = (): void => this.#ended();
    task.then(ended, ended);
  }

  #ended(): void {
    if (--this.#count > 0) return;
    this.#pending = undefined;
    this.#settle?.();
  }
}

/** Doubling pauses after failures, so that a full disk is not asked all the time. */
export class Backoff {
  readonly #msMin: number;
  readonly #msMax: number;
  #pauseMs = 0;
  #readyAtMs = 0;

  constructor(msMin: number, msMax: number) {
    this.#msMin = msMin;
    this.#msMax = msMax;
  }

  get isReady(): boolean {
    return this.#pauseMs === 0 || performance.now() >= this.#readyAtMs;
  }

  succeeded(): void {
    this.#pauseMs = 0;
  }

  failed(): void {
    this.#pauseMs = Math.min(this.#msMax, Math.max(this.#msMin, this.#pauseMs * 2));
    this.#readyAtMs = performance.now() + this.#pauseMs;
  }
}
