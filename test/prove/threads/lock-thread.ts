/** A thread that takes and gives back stripes as fast as it can, until it has done its share or dies. */
import { parentPort, workerData } from 'node:worker_threads';
import type { StripedLockHandle } from '../../../src/locks/lock-arguments.ts';
import { StripedLockSet } from '../../../src/locks/striped-lock-set.ts';
import { Random } from '../../../src/util/random.ts';

/** How the locks are broken on purpose, by the tests of this proof. */
export type LockSabotage = 'does not lock' | 'never wakes';

/** What a thread is given; all threads share the words. */
export interface LockWork {
  readonly handle: StripedLockHandle;
  /** Two counters a stripe that nothing but the lock guards: whoever has it finds them equal. */
  readonly counters: Int32Array;
  /** See `LOCK_BOARD` and `slotAt`. */
  readonly board: Int32Array;
  readonly slot: number;
  readonly operations: number;
  readonly seed: number;
  readonly sabotage?: LockSabotage | undefined;
}

/** Words of the board that all threads write. */
export const LOCK_BOARD = {
  /** Times that a holder found counters that differ. */
  TORN: 0,
  /** Waits that ended with an abort or a timeout, as asked for. */
  GIVEN_UP: 1,
  /** Threads begin when it is 1. */
  GO: 2,
} as const;

/** Words that one thread writes, and the one that takes its place. */
export const LOCK_SLOT = { OPERATIONS: 0, CHANGES: 1, SLEEPS: 2 } as const;
const SLOT_WORDS = 16;

export function slotAt(slot: number): number {
  return SLOT_WORDS * (1 + slot);
}

export function makeLockBoard(threadCount: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * slotAt(threadCount)));
}

/** One holder in so many keeps its stripe for longer than others spin, so that they sleep. */
const LONG_HOLD_EVERY = 128;
const LONG_HOLD_LOOKS = 5_000;
const BATCH_MAX = 4;
/** One operation in so many takes several stripes. */
const BATCH_EVERY = 16;
/** One in so many is asynchronous, and may be aborted or time out. */
const ASYNC_EVERY = 512;

if (parentPort !== null) await work(workerData as LockWork);

async function work(task: LockWork): Promise<void> {
  const { handle, counters, board, sabotage } = task;
  if (sabotage === 'never wakes') Atomics.notify = () => 0;
  const at = slotAt(task.slot);
  withoutSlices(() => board[at + LOCK_SLOT.SLEEPS]!++);
  const locks = StripedLockSet.attach(handle, { assertOrder: sabotage === undefined });
  const impatient = StripedLockSet.attach(handle, { timeoutMs: 0 });
  const random = new Random(task.seed);

  const lock = (stripe: number): void => {
    if (sabotage !== 'does not lock') locks.lockStripe(stripe);
  };
  const unlock = (stripe: number): void => {
    if (sabotage !== 'does not lock') locks.unlockStripe(stripe);
  };
  const change = (stripe: number): void => {
    const place = 2 * stripe;
    if (counters[place] !== counters[place + 1]) Atomics.add(board, LOCK_BOARD.TORN, 1);
    counters[place]!++;
    if (random.below(LONG_HOLD_EVERY) === 0) {
      for (let look = 0; look < LONG_HOLD_LOOKS; look++) Atomics.load(board, LOCK_BOARD.GO);
    }
    counters[place + 1]!++;
    board[at + LOCK_SLOT.CHANGES]!++;
  };
  /** Several stripes in ascending order, as an owner takes those of a batch. */
  const batch = (first: number): void => {
    const last = Math.min(locks.stripeCount, first + 1 + random.below(BATCH_MAX));
    for (let stripe = first; stripe < last; stripe++) lock(stripe);
    for (let stripe = first; stripe < last; stripe++) change(stripe);
    for (let stripe = first; stripe < last; stripe++) unlock(stripe);
  };
  const patient = async (stripe: number): Promise<void> => {
    const aborter = new AbortController();
    const set = random.below(4) === 0 ? impatient : locks;
    const waiting = set.lockStripeAsync(stripe, aborter.signal);
    if (random.below(2) === 0) setImmediate(() => aborter.abort());
    let release: () => void;
    try {
      release = await waiting;
    } catch {
      Atomics.add(board, LOCK_BOARD.GIVEN_UP, 1);
      return;
    }
    change(stripe);
    release();
  };

  parentPort!.postMessage('started');
  while (Atomics.load(board, LOCK_BOARD.GO) === 0) Atomics.wait(board, LOCK_BOARD.GO, 0);
  for (let i = 1; i <= task.operations; i++) {
    const stripe = random.below(locks.stripeCount);
    if (i % ASYNC_EVERY === 0) await patient(stripe);
    else if (i % BATCH_EVERY === 0) batch(stripe);
    else {
      lock(stripe);
      change(stripe);
      unlock(stripe);
    }
    board[at + LOCK_SLOT.OPERATIONS]!++;
  }
}

/** Removes the fallback poll: a wake-up that is lost then hangs instead of costing 50 ms. */
function withoutSlices(onSleep: () => void): void {
  const { wait, waitAsync } = Atomics;
  Atomics.wait = ((words: Int32Array, index: number, value: number) => {
    onSleep();
    return wait(words, index, value);
  }) as typeof Atomics.wait;
  Atomics.waitAsync = ((words: Int32Array, index: number, value: number) => {
    onSleep();
    return waitAsync(words, index, value);
  }) as typeof Atomics.waitAsync;
}
