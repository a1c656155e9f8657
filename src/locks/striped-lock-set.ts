/**
 * A set of locks on shared memory, one per stripe, for all threads of the process.
 *
 * Lock order of the engine, written down here and nowhere else: stripes in ascending order of their
 * index. One set holds images and image references alike, so no order between sets is needed.
 *
 * Locks are not re-entrant. The option `assertOrder` checks the order for the blocking forms.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/locks.go (StripedLockSet); the word protocol is
 * "mutex 2" of U. Drepper, Futexes Are Tricky, with the holder's id in the word.
 */
import { threadId } from 'node:worker_threads';
import { abortedError, invalidArgument, PullManagerError } from '../errors.ts';
import {
  checkedStripeCount,
  checkHandle,
  checkSignal,
  filledOptions,
  LINE_BYTES,
  type StripedLockHandle,
  type StripedLockOptions,
} from './lock-arguments.ts';
import { stripeOf } from './stripe.ts';
import { waitWhileEqual, waitWhileEqualAsync } from './wait.ts';

/**
 * Shared memory of a set: 64 bytes per stripe, so that stripes never share a cache line.
 *
 * | word            | type  | writer                 | readers    | meaning                       |
 * | --------------- | ----- | ---------------------- | ---------- | ----------------------------- |
 * | 0 `LOCK_WORD`   | Int32 | taker, holder, waiters | all        | 0 free, else id << 1 + bit 0  |
 * | 1 `TICKET_WORD` | Int32 | the holder             | its thread | 0 blocking form, else ticket  |
 * | 2 to 15         |       | nobody                 | nobody     | padding                       |
 *
 * Bit 0 is the contended bit: somebody may sleep. The holder id is `threadId` + 1. Takers write
 * word 0 by compare-exchange from 0, waiters only ever add the contended bit, the holder exchanges
 * it for 0. Word 1 may be read once word 0 was seen to name the own thread: it is cleared before
 * word 0 is freed, so a taker that sees the 0 also sees the cleared ticket; freed first, the next
 * holder would inherit the ticket and could not unlock.
 */
const LINE_WORDS = LINE_BYTES / Int32Array.BYTES_PER_ELEMENT;
const LOCK_WORD = 0;
const TICKET_WORD = 1;

const FREE = 0;
const CONTENDED = 1;
const SELF = holderIdOfThread(threadId);
const HELD_BY_SELF = SELF << 1;

/** Looks at a taken stripe before sleeping: most sections are shorter than a wake-up. */
const SPIN_COUNT = 200;
const TICKET_MAX = 0x7fffffff;

/** Releases what an asynchronous form took. The second and later calls do nothing. */
export interface Unlock extends Disposable {
  (): void;
}

/**
 * The id under which the thread with this `threadId` holds locks. Take it while the thread lives:
 * afterwards its `Worker` says -1.
 */
export function holderIdOfThread(id: number): number {
  return id + 1;
}

/**
 * Striped locks on a SharedArrayBuffer: `lock(key)` excludes every other holder of a key of the
 * same stripe, in all threads that attached to the handle.
 *
 * Errors by code: `LOCK_TIMEOUT` (names the stripe and its owner), `LOCK_MISUSED`, `ABORTED`,
 * `INVALID_ARGUMENT`. Whoever gets an error holds nothing more than before the call.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/locks.go; the modulus is the real number of
 * stripes, as after v1.36.0.
 *
 * @example
 * const locks = new StripedLockSet(31);
 * worker.postMessage(locks.handle); // there: StripedLockSet.attach(handle).lock(imageRef)
 * const unlock = await locks.lockAsync(imageRef, signal);
 * try {
 *   await change(imageRef);
 * } finally {
 *   unlock();
 * }
 */
export class StripedLockSet {
  /** Give it to another thread, which calls `StripedLockSet.attach` with it. */
  readonly handle: StripedLockHandle;
  readonly #words: Int32Array;
  readonly #stripeCount: number;
  readonly #timeoutMs: number;
  readonly #assertOrder: boolean;

  /**
   * Makes a new set with all stripes free.
   *
   * @param size wanted number of stripes; as in the reference it gets max(1, min(31, size)).
   *   `NaN` and what is not a number throw `INVALID_ARGUMENT`.
   * @param buffer the memory of an existing set; use `attach`.
   */
  constructor(size: number, options: StripedLockOptions = {}, buffer?: SharedArrayBuffer) {
    const stripeCount = checkedStripeCount(size);
    const { timeoutMs, assertOrder } = filledOptions(options);
    this.handle = {
      buffer: buffer ?? new SharedArrayBuffer(stripeCount * LINE_BYTES),
      stripeCount,
    };
    this.#words = new Int32Array(this.handle.buffer);
    this.#stripeCount = stripeCount;
    this.#timeoutMs = timeoutMs;
    this.#assertOrder = assertOrder;
  }

  /** Joins a set made elsewhere; `INVALID_ARGUMENT` where the handle is malformed. */
  static attach(handle: StripedLockHandle, options: StripedLockOptions = {}): StripedLockSet {
    checkHandle(handle);
    return new StripedLockSet(handle.stripeCount, options, handle.buffer);
  }

  /** Number of stripes, 1 to 31. */
  get stripeCount(): number {
    return this.#stripeCount;
  }

  /** Number of stripes; the reference's name for `stripeCount`. */
  get size(): number {
    return this.#stripeCount;
  }

  /** 0-based stripe of a key: any string. */
  stripeOf(key: string): number {
    if (typeof key !== 'string') throw invalidArgument('key', 'must be a string');
    return stripeOf(key, this.#stripeCount);
  }

  /**
   * Takes the stripe of `key`. Blocks the thread until it is free, at most `timeoutMs`.
   *
   * A stripe that this thread holds, by whichever form, throws `LOCK_MISUSED` at once: while the
   * thread is blocked nobody could release it.
   */
  lock(key: string): void {
    this.#take(this.stripeOf(key), undefined);
  }

  /** Releases the stripe of `key`; `LOCK_MISUSED` unless this thread took it by a blocking form. */
  unlock(key: string): void {
    this.#release(this.stripeOf(key), 0);
  }

  /** `lock` by 0-based stripe index. Blocks. */
  lockStripe(stripeIndex: number): void {
    this.#take(this.#checkedIndex(stripeIndex), undefined);
  }

  /** `unlock` by 0-based stripe index. */
  unlockStripe(stripeIndex: number): void {
    this.#release(this.#checkedIndex(stripeIndex), 0);
  }

  /** Takes a stripe if it is free, as `lockStripe` does; never waits. False: somebody holds it. */
  tryLockStripe(stripeIndex: number): boolean {
    const at = this.#checkedIndex(stripeIndex) * LINE_WORDS + LOCK_WORD;
    if (this.#assertOrder) this.#checkOrder(stripeIndex);
    return Atomics.compareExchange(this.#words, at, FREE, HELD_BY_SELF) === FREE;
  }

  /**
   * Takes the stripe of `key` without blocking the event loop; keeps the process alive meanwhile.
   *
   * A stripe that this thread holds is waited for like any other, since another task of the thread
   * may release it. Rejects with `ABORTED` (name `AbortError`) or `LOCK_TIMEOUT`.
   */
  async lockAsync(key: string, signal?: AbortSignal): Promise<Unlock> {
    return this.lockStripeAsync(this.stripeOf(key), signal);
  }

  /** `lockAsync` by 0-based stripe index. */
  async lockStripeAsync(stripeIndex: number, signal?: AbortSignal): Promise<Unlock> {
    this.#checkedIndex(stripeIndex);
    checkSignal(signal);
    const ticket = nextTicket();
    await this.#takeAsync(stripeIndex, ticket, performance.now() + this.#timeoutMs, signal);
    return unlockOnce(() => this.#release(stripeIndex, ticket));
  }

  /** Takes every stripe in ascending order. Blocks at most `timeoutMs` in total; all or nothing. */
  globalLock(): void {
    const deadline = performance.now() + this.#timeoutMs;
    let taken = 0;
    try {
      for (; taken < this.#stripeCount; taken++) this.#take(taken, deadline);
    } catch (error) {
      this.#freeBelow(taken, 0);
      throw error;
    }
  }

  /** Releases every stripe; `LOCK_MISUSED`, and nothing done, unless this thread took them all. */
  globalUnlock(): void {
    for (let i = 0; i < this.#stripeCount; i++) {
      if (!this.#isHeld(i, 0)) throw this.#notHeld(i);
    }
    this.#freeBelow(this.#stripeCount, 0);
  }

  /** `globalLock` without blocking the event loop; aborted half-way it releases what it took. */
  async globalLockAsync(signal?: AbortSignal): Promise<Unlock> {
    checkSignal(signal);
    const deadline = performance.now() + this.#timeoutMs;
    const ticket = nextTicket();
    let taken = 0;
    try {
      for (; taken < this.#stripeCount; taken++) {
        await this.#takeAsync(taken, ticket, deadline, signal);
      }
    } catch (error) {
      this.#freeBelow(taken, ticket);
      throw error;
    }
    return unlockOnce(() => {
      const lost = this.#freeBelow(this.#stripeCount, ticket);
      if (lost !== undefined) throw this.#notHeld(lost);
    });
  }

  /** Holder id of a stripe at this moment (`holderIdOfThread`), 0 if it is free. Never waits. */
  holderOf(stripeIndex: number): number {
    const at = this.#checkedIndex(stripeIndex) * LINE_WORDS + LOCK_WORD;
    return Atomics.load(this.#words, at) >>> 1;
  }

  /**
   * Frees the stripes that a dead thread left, wakes their waiters, and returns how many it freed.
   *
   * Call it only when the thread has exited: what it was changing may be half done, and a thread
   * that lives on gets `LOCK_MISUSED` from its unlock. The own id is `LOCK_MISUSED`.
   */
  releaseHeldBy(holderId: number): number {
    if (!Number.isSafeInteger(holderId) || holderId < 1) {
      throw invalidArgument('holderId', 'must be a positive integer');
    }
    if (holderId === SELF) throw misused('a living thread releases its own stripes by unlock');
    const words = this.#words;
    let freed = 0;
    for (let i = 0; i < this.#stripeCount; i++) {
      const at = i * LINE_WORDS + LOCK_WORD;
      let word = Atomics.load(words, at);
      if (word >>> 1 === holderId) this.#setTicket(i, 0);
      // Repeats at most once: the only change left is a waiter that adds the contended bit.
      while (word >>> 1 === holderId) {
        const seen = Atomics.compareExchange(words, at, word, FREE);
        if (seen === word) freed++;
        word = seen === word ? FREE : seen;
      }
      // All waiters, of every stripe: the thread may have died between a wake-up and its use.
      Atomics.notify(words, at);
    }
    return freed;
  }

  #take(stripeIndex: number, deadline: number | undefined): void {
    if (this.#assertOrder) this.#checkOrder(stripeIndex);
    const at = stripeIndex * LINE_WORDS + LOCK_WORD;
    if (Atomics.compareExchange(this.#words, at, FREE, HELD_BY_SELF) === FREE) return;
    this.#takeContended(stripeIndex, deadline ?? performance.now() + this.#timeoutMs);
  }

  #takeContended(stripeIndex: number, deadline: number): void {
    const words = this.#words;
    const at = stripeIndex * LINE_WORDS + LOCK_WORD;
    if (Atomics.load(words, at) >>> 1 === SELF) {
      throw misused(`${this.#name(stripeIndex)} is already held by this thread`, stripeIndex);
    }
    if (this.#spin(at)) return;
    for (;;) {
      const word = this.#takeOrMark(at);
      if (word === FREE) return;
      const leftMs = deadline - performance.now();
      if (!(leftMs > 0) || waitWhileEqual(words, at, word, leftMs) === 'timed-out') {
        this.#passOn(at);
        throw this.#timedOut(stripeIndex, word);
      }
    }
  }

  async #takeAsync(
    stripeIndex: number,
    ticket: number,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (isAborted(signal)) throw abortedError(this.#name(stripeIndex), signal?.reason);
    const words = this.#words;
    const at = stripeIndex * LINE_WORDS + LOCK_WORD;
    const taken = Atomics.compareExchange(words, at, FREE, HELD_BY_SELF) === FREE;
    // Not again after a sleep: the spin takes the word without the contended bit.
    if (taken || this.#spin(at)) {
      this.#setTicket(stripeIndex, ticket);
      return;
    }
    for (;;) {
      const word = this.#takeOrMark(at);
      if (word === FREE) break;
      const leftMs = deadline - performance.now();
      const outcome =
        leftMs > 0 ? await waitWhileEqualAsync(words, at, word, leftMs, signal) : 'timed-out';
      if (outcome === 'changed' && !isAborted(signal)) continue;
      this.#passOn(at);
      if (isAborted(signal)) throw abortedError(this.#name(stripeIndex), signal?.reason);
      throw this.#timedOut(stripeIndex, word);
    }
    this.#setTicket(stripeIndex, ticket);
  }

  /** In the same turn as the stripe is taken, so that no task sees it held without a ticket. */
  #setTicket(stripeIndex: number, ticket: number): void {
    Atomics.store(this.#words, stripeIndex * LINE_WORDS + TICKET_WORD, ticket);
  }

  /** Looks for a moment whether another thread frees the word; useless if this one holds it. */
  #spin(at: number): boolean {
    const words = this.#words;
    for (let i = 0; i < SPIN_COUNT; i++) {
      const word = Atomics.load(words, at);
      if (word >>> 1 === SELF) return false;
      if (word === FREE && Atomics.compareExchange(words, at, FREE, HELD_BY_SELF) === FREE) {
        return true;
      }
    }
    return false;
  }

  /**
   * Takes the word with the contended bit and answers `FREE`, or adds the bit to a taken word and
   * answers the value to sleep on.
   *
   * The taker keeps the bit because it cannot know whether others sleep: without it its unlock
   * would not notify them. The bit is set before the sleep, and the sleep begins only while the
   * word still is that value, so an unlock in between either sees the bit or stops the sleep.
   */
  #takeOrMark(at: number): number {
    const words = this.#words;
    for (;;) {
      const word = Atomics.load(words, at);
      if (word !== FREE && (word & CONTENDED) !== 0) return word;
      const wanted = word === FREE ? HELD_BY_SELF | CONTENDED : word | CONTENDED;
      if (Atomics.compareExchange(words, at, word, wanted) === word) {
        return word === FREE ? FREE : wanted;
      }
    }
  }

  /** A waiter that leaves without the lock may have used up an unlock's wake-up: hand it on. */
  #passOn(at: number): void {
    Atomics.notify(this.#words, at, 1);
  }

  #release(stripeIndex: number, ticket: number): void {
    if (!this.#free(stripeIndex, ticket)) throw this.#notHeld(stripeIndex);
  }

  #isHeld(stripeIndex: number, ticket: number): boolean {
    const at = stripeIndex * LINE_WORDS;
    return (
      Atomics.load(this.#words, at + LOCK_WORD) >>> 1 === SELF &&
      Atomics.load(this.#words, at + TICKET_WORD) === ticket
    );
  }

  #free(stripeIndex: number, ticket: number): boolean {
    if (!this.#isHeld(stripeIndex, ticket)) return false;
    const words = this.#words;
    const at = stripeIndex * LINE_WORDS + LOCK_WORD;
    if (ticket !== 0) this.#setTicket(stripeIndex, 0);
    const word = Atomics.exchange(words, at, FREE);
    if ((word & CONTENDED) !== 0) Atomics.notify(words, at, 1);
    return true;
  }

  /** Frees stripes `count - 1` down to 0; answers one that was not held any more, if any. */
  #freeBelow(count: number, ticket: number): number | undefined {
    let lost: number | undefined;
    for (let i = count - 1; i >= 0; i--) if (!this.#free(i, ticket)) lost = i;
    return lost;
  }

  #checkedIndex(stripeIndex: number): number {
    if (Number.isInteger(stripeIndex) && stripeIndex >= 0 && stripeIndex < this.#stripeCount) {
      return stripeIndex;
    }
    throw invalidArgument('stripeIndex', `must be an integer from 0 to ${this.#stripeCount - 1}`);
  }

  #checkOrder(stripeIndex: number): void {
    for (let i = stripeIndex + 1; i < this.#stripeCount; i++) {
      if (!this.#isHeld(i, 0)) continue;
      throw misused(`${this.#name(stripeIndex)} must be taken before stripe ${i}`, stripeIndex);
    }
  }

  #name(stripeIndex: number): string {
    return `lock of stripe ${stripeIndex} of ${this.#stripeCount}`;
  }

  #notHeld(stripeIndex: number): PullManagerError {
    const at = stripeIndex * LINE_WORDS + LOCK_WORD;
    const holder = Atomics.load(this.#words, at) >>> 1;
    const state = holder === SELF ? 'another task of this thread' : ownerText(holder);
    return misused(`${this.#name(stripeIndex)} is not the caller's: held by ${state}`, stripeIndex);
  }

  #timedOut(stripeIndex: number, word: number): PullManagerError {
    const timeoutMs = this.#timeoutMs;
    const message = `${this.#name(stripeIndex)} was not free in time (${timeoutMs} ms)`;
    return new PullManagerError('LOCK_TIMEOUT', `${message}: held by ${ownerText(word >>> 1)}`, {
      stripeIndex,
      timeoutMs,
    });
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

let lastTicket = 0;

/** Tells apart the asynchronous holds of this thread; never 0. */
function nextTicket(): number {
  lastTicket = (lastTicket % TICKET_MAX) + 1;
  return lastTicket;
}

function unlockOnce(release: () => void): Unlock {
  let held = true;
  const unlock = (): void => {
    if (!held) return;
    held = false;
    release();
  };
  return Object.assign(unlock, { [Symbol.dispose]: unlock });
}

function ownerText(holderId: number): string {
  return holderId === 0 ? 'nobody' : `thread ${holderId - 1} (holder id ${holderId})`;
}

function misused(message: string, stripeIndex?: number): PullManagerError {
  return new PullManagerError('LOCK_MISUSED', message, { stripeIndex });
}
