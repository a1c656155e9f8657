/** Values that are kept for a time, and no longer. */
/** The longest delay that a timer takes. */
const DELAY_MS_MAX = 2 ** 31 - 1;

interface Kept<T> {
  readonly value: T;
  readonly expiresAtMs: number;
}

/**
 * A bounded map whose entries go when their time is over, whether anybody asks for them or not. When
 * it is full, the oldest goes.
 */
export class ExpiringCache<T> {
  readonly #max: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept<T>>();
  #timer: NodeJS.Timeout | undefined;

  /** @param now Milliseconds, never going back. */
  constructor(max: number, now: () => number) {
    this.#max = max;
    this.#now = now;
  }

  get size(): number {
    return this.#kept.size;
  }

  get(key: string): T | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    if (this.#now() < kept.expiresAtMs) return kept.value;
    this.#kept.delete(key);
    return undefined;
  }

  /** Keeps a value for `durationMs`; 0 or less: not at all. */
  set(key: string, value: T, durationMs: number): void {
    this.#kept.delete(key);
    if (!(durationMs > 0)) return;
    if (this.#kept.size >= this.#max) this.#evict();
    this.#kept.set(key, { value, expiresAtMs: this.#now() + durationMs });
    this.#wait();
  }

  clear(): void {
    this.#kept.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Forgets what is over; if nothing is, the oldest entry. */
  #evict(): void {
    this.#sweep();
    if (this.#kept.size < this.#max) return;
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined) this.#kept.delete(oldest);
  }

  #sweep(): void {
    const now = this.#now();
    for (const [key, { expiresAtMs }] of this.#kept) if (expiresAtMs <= now) this.#kept.delete(key);
  }

  /** One timer, for whichever entry ends first; it does not keep the process alive. */
  #wait(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#kept.size === 0) return;
    let first = Number.POSITIVE_INFINITY;
    for (const { expiresAtMs } of this.#kept.values()) first = Math.min(first, expiresAtMs);
    const delayMs = Math.min(Math.max(Math.ceil(first - this.#now()), 1), DELAY_MS_MAX);
    this.#timer = setTimeout(() => {
      this.#sweep();
      this.#wait();
    }, delayMs).unref();
  }
}
