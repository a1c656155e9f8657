/**
 * The version slots that an owner is to raise when what it is writing is durable, in shared memory.
 *
 * Should it die in between, the supervisor raises them, before anybody hears of the death: a call that is
 * rejected with `WORKER_LOST` has taken effect by then, or never will, and no replica says otherwise.
 */
import { type SharedState, UNPUBLISHED_MAX } from './shared-state.ts';

/** More of them than there is room for: any slot may be one. */
const ALL = -1;

/** Of one owner. Its thread announces and withdraws; the supervisor raises once that thread is dead. */
export class UnpublishedSlots {
  readonly #state: SharedState;
  /** Where the count is; the slots are behind it. */
  readonly #at: number;
  #count = 0;

  constructor(state: SharedState, workerIndex: number) {
    this.#state = state;
    this.#at = state.unpublishedAt(workerIndex);
  }

  /** The slot of a key with this hash is to be raised. Counts from the next `announce` on. */
  add(hash: number): void {
    const { words, slotMask } = this.#state;
    if (this.#count < UNPUBLISHED_MAX) words[this.#at + 1 + this.#count] = hash & slotMask;
    this.#count++;
  }

  /** What was added may be durable from now on. */
  announce(): void {
    // Most batches only read.
    if (this.#count === 0) return;
    const count = this.#count <= UNPUBLISHED_MAX ? this.#count : ALL;
    Atomics.store(this.#state.words, this.#at, count);
  }

  /** All slots have been raised that had to be. */
  withdraw(): void {
    if (this.#count === 0) return;
    this.#count = 0;
    Atomics.store(this.#state.words, this.#at, 0);
  }

  /** Raises what a dead owner has left. */
  raise(): void {
    const { words, versions } = this.#state;
    const count = Atomics.exchange(words, this.#at, 0);
    if (count === ALL) raiseAll(versions);
    for (let i = 1; i <= count; i++) Atomics.add(versions, words[this.#at + i]!, 1);
  }
}

/** No replica may go on with anything that it knows. */
export function raiseAll(versions: Int32Array): void {
  for (let slot = 0; slot < versions.length; slot++) Atomics.add(versions, slot, 1);
}
