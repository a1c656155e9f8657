/**
 * How many pulls a second the runtime is asked for: a bucket of tokens that fills at that rate.
 *
 * Source: kubernetes client-go util/flowcontrol/throttle.go.
 */
const MS_PER_SECOND = 1_000;

export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #now: () => number;
  #tokens: number;
  #filledMs: number;

  /** @param perSecond 0: no limit. @param now A clock in milliseconds that never goes back. */
  constructor(perSecond: number, burst: number, now: () => number) {
    this.#perMs = perSecond / MS_PER_SECOND;
    this.#burst = burst;
    this.#now = now;
    this.#tokens = burst;
    this.#filledMs = now();
  }

  /** Takes a token; false: there is none, and nobody waits for one. */
  tryTake(): boolean {
    if (this.#perMs === 0) return true;
    const nowMs = this.#now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#filledMs) * this.#perMs);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
