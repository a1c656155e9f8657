/** How a proof tells a worker of its engine when to die, and of what: words that all threads share. */

/** Words of the board. */
export const BOARD = {
  /** 1-based place in `MOMENTS` at which a worker shall be struck; 0: none. */
  MOMENT: 0,
  /** How many times that moment has to come. */
  COUNTDOWN: 1,
  /** Place in `KINDS`. */
  KIND: 2,
  /** `threadId` of the worker that is meant; 0: any. */
  THREAD: 3,
  /** `threadId` of the worker that was struck; 0: none yet. */
  STRUCK: 4,
  /** 1: workers that start wait until it is 0. */
  GATE: 5,
  /** 1 as long as a worker blocks. */
  BLOCKED: 6,
  /** Never changes: what a thread sleeps on that shall not wake up. */
  NEVER: 7,
} as const;

/** Under this name each thread of the process finds the board. */
export const BOARD_NAME = 'pullwarden-prove-threads';

/** What becomes of a worker. */
export const KINDS = ['throws', 'exits', 'is terminated', 'runs out of memory', 'blocks'] as const;
export type Kind = (typeof KINDS)[number];

/** How long a worker that blocks does nothing. */
export const BLOCK_MS = 3_000;

/** What a worker can be seen to be at. */
export const MOMENTS = [
  'asleep',
  'anywhere',
  'holding its stripes',
  'before the write',
  'in the middle of the write',
  'between flush and publishing',
  'in the middle of publishing',
  'between publishing and answer',
  'opening',
  'closing',
] as const;
export type Moment = (typeof MOMENTS)[number];

/** Stripes of the engines: their number tells the memory of the locks from the rest. */
export const STRIPE_COUNT = 31;

/** What a worker throws that is struck so. */
export const STRUCK_MESSAGE = 'struck by the proof';

export function makeBoard(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * 16));
}

/** Strikes the given worker, or any, the `countdown`-th time that it is at that moment. */
export function arm(
  board: Int32Array,
  strike: {
    readonly moment: Moment;
    readonly kind: Kind;
    readonly thread?: number;
    readonly countdown?: number;
  },
): void {
  Atomics.store(board, BOARD.STRUCK, 0);
  Atomics.store(board, BOARD.KIND, KINDS.indexOf(strike.kind));
  Atomics.store(board, BOARD.THREAD, strike.thread ?? 0);
  Atomics.store(board, BOARD.COUNTDOWN, strike.countdown ?? 1);
  // Last: from here on workers look at the other words.
  Atomics.store(board, BOARD.MOMENT, MOMENTS.indexOf(strike.moment) + 1);
}

/** Strikes nobody; nobody was struck. */
export function disarm(board: Int32Array): void {
  Atomics.store(board, BOARD.MOMENT, 0);
  Atomics.store(board, BOARD.STRUCK, 0);
}
