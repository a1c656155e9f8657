/** Hands the arrivals of an open load to callers: to those that are free, when they are due. */
import type { ArrivalTimes } from './arrivals.ts';
import type { Plan } from './plan.ts';

/** Nearer than this an arrival is waited for without a timer, which is a millisecond late or more. */
const TIMER_MS_MIN = 2;
/** The event loop turns at least so often while nothing is due. */
const SLEEP_MS_MAX = 1;

/** Nothing is due, and the waiting is over. */
export const NO_ARRIVAL: number = Number.NaN;

/** How many requests arrived, whoever makes them. */
export interface ArrivalCounts {
  readonly startedCount: number;
  /** Time during which nobody was there to ask. */
  readonly pausedMs: number;
  /** Requests that were to begin until `nowMs`, on the clock of `performance.now`. */
  scheduledUntil(nowMs: number): number;
}

/** The arrivals of one run, and who waits for them. */
export class OpenLoad implements ArrivalCounts {
  /** Every request takes the next step of it, whichever caller makes it. */
  readonly plan: Plan;
  startedCount = 0;
  /** Requests that waited for a caller when the engine went down, and nobody asked again. */
  givenUpCount = 0;
  /** Time during which nobody was there to ask. */
  pausedMs = 0;
  /** Whether work of others than callers is under way, which needs the event loop to turn. */
  isShared = false;
  /** Stage of the arrival that was handed out last. */
  stage = 0;
  readonly #arrivals: ArrivalTimes;
  readonly #callerCount: number;
  readonly #waiters: ((intendedMs: number) => void)[] = [];
  readonly #word = new Int32Array(new SharedArrayBuffer(4));
  #startedMs = 0;
  #isLooking = false;
  #pausedAtMs: number | undefined;
  #hasEnded = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(arrivals: ArrivalTimes, plan: Plan, callerCount: number) {
    this.#arrivals = arrivals;
    this.plan = plan;
    this.#callerCount = callerCount;
  }

  begin(startedMs: number): void {
    this.#startedMs = startedMs;
  }

  /** When the next request was to begin if it is due, on the clock of `performance.now`. */
  take(nowMs: number): number {
    if (this.#startedMs + this.#arrivals.timeMs > nowMs) return NO_ARRIVAL;
    return this.#take();
  }

  /** The next arrival, or `NO_ARRIVAL` where the load has ended. */
  wait(): Promise<number> {
    if (this.#hasEnded) return Promise.resolve(NO_ARRIVAL);
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#look();
    });
  }

  /** Requests that were to begin until `nowMs`: begun, given up, or waiting for a caller. */
  scheduledUntil(nowMs: number): number {
    const { givenUpCount, startedCount } = this;
    if (this.#pausedAtMs !== undefined) return startedCount + givenUpCount;
    return startedCount + givenUpCount + this.#arrivals.countTo(nowMs - this.#startedMs);
  }

  /** The engine goes down, and with it everybody who would ask: what would arrive does not. */
  pause(nowMs: number): void {
    this.givenUpCount += this.#arrivals.countTo(nowMs - this.#startedMs);
    this.#pausedAtMs = nowMs;
  }

  resume(nowMs: number): void {
    this.#arrivals.skipTo(nowMs - this.#startedMs);
    this.pausedMs += nowMs - (this.#pausedAtMs ?? nowMs);
    this.#pausedAtMs = undefined;
    this.#look();
  }

  /** Lets everybody go. */
  end(): void {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const resolve of this.#waiters.splice(0)) resolve(NO_ARRIVAL);
  }

  #take(): number {
    const intendedMs = this.#startedMs + this.#arrivals.timeMs;
    this.stage = this.#arrivals.stage;
    this.startedCount++;
    this.#arrivals.next();
    return intendedMs;
  }

  /** Looks again when the next arrival is due. */
  #look(): void {
    if (
      this.#isLooking ||
      this.#pausedAtMs !== undefined ||
      this.#hasEnded ||
      this.#waiters.length === 0
    )
      return;
    const leftMs = this.#startedMs + this.#arrivals.timeMs - performance.now();
    if (leftMs === Number.POSITIVE_INFINITY) return;
    this.#isLooking = true;
    if (leftMs > TIMER_MS_MIN) {
      const delayMs = Math.min(0x7fff_ffff, leftMs - SLEEP_MS_MAX);
      this.#timer = setTimeout(() => this.#handOut(), delayMs);
    } else {
      setImmediate(() => this.#handOut());
    }
  }

  #handOut(): void {
    this.#isLooking = false;
    const leftMs = this.#startedMs + this.#arrivals.timeMs - performance.now();
    const isIdle = this.#waiters.length === this.#callerCount && !this.isShared;
    if (isIdle && leftMs > 0) {
      // Nothing is under way that the event loop could bring an answer for. Sleeping to the point costs
      // no processor, as turning the loop would, and a timer would come late.
      Atomics.wait(this.#word, 0, 0, Math.min(SLEEP_MS_MAX, leftMs));
    }
    const nowMs = performance.now();
    while (this.#pausedAtMs === undefined && this.#waiters.length > 0) {
      if (this.#startedMs + this.#arrivals.timeMs > nowMs) break;
      // The caller that was last at work: what it uses is still in the caches.
      this.#waiters.pop()!(this.#take());
    }
    this.#look();
  }
}
