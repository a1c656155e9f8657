/**
 * After a failed pull the same pod has to wait before it may try the same image again: a delay that
 * doubles with each failure, and is forgotten when there was none for long.
 *
 * Source: kubernetes client-go util/flowcontrol/backoff.go.
 */

interface Failure {
  delayMs: number;
  atMs: number;
  /** What the pull failed with, for whoever asks meanwhile. */
  text: string;
}

/** Why a pod has to wait. */
export interface Refusal {
  /** What the last pull failed with. */
  readonly text: string;
  readonly leftMs: number;
}

/** Longer than the longest delay by this factor without a failure: the next delay is the first again. */
const FORGET_FACTOR = 2;
/** Pods that fail for ever must not fill the memory; the oldest failures are forgotten. */
const FAILURES_MAX = 10_000;

export class BackOff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #now: () => number;
  /** By key, the latest failure last. */
  readonly #failures = new Map<string, Failure>();

  /** @param now A clock in milliseconds that never goes back. */
  constructor(firstMs: number, maxMs: number, now: () => number) {
    this.#firstMs = Math.min(firstMs, maxMs);
    this.#maxMs = maxMs;
    this.#now = now;
  }

  /** What the last pull failed with, and how long the delay after it still lasts. */
  refusal(key: string): Refusal | undefined {
    const failure = this.#failures.get(key);
    if (failure === undefined) return undefined;
    const leftMs = failure.delayMs - (this.#now() - failure.atMs);
    return leftMs > 0 ? { text: failure.text, leftMs } : undefined;
  }

  /**
   * Begins the next delay. While one lasts, only the text is new: many requests fail with the one
   * pull that they share, or with pulls that began before.
   */
  failed(key: string, text: string): void {
    const atMs = this.#now();
    const last = this.#failures.get(key);
    if (last !== undefined && atMs - last.atMs < last.delayMs) {
      last.text = text;
      return;
    }
    const isForgotten = last === undefined || this.#isOld(last, atMs);
    const delayMs = isForgotten ? this.#firstMs : Math.min(last.delayMs * 2, this.#maxMs);
    this.#failures.delete(key);
    this.#failures.set(key, { delayMs, atMs, text });
    if (this.#failures.size > FAILURES_MAX) {
      const [oldest] = this.#failures.keys();
      this.#failures.delete(oldest!);
    }
  }

  /** Forgets failures that are long past. */
  tidy(): void {
    const nowMs = this.#now();
    for (const [key, failure] of this.#failures) {
      if (!this.#isOld(failure, nowMs)) return;
      this.#failures.delete(key);
    }
  }

  #isOld({ atMs }: Failure, nowMs: number): boolean {
    return nowMs - atMs > this.#maxMs * FORGET_FACTOR;
  }
}
