/** The words by which the simulation commands its store, whichever threads that runs in. */
import { extname } from 'node:path';
import type { StoreOptions } from '../../../src/accessors/backend.ts';

export const WORD = { COMMIT: 0, GET: 1, EXISTS: 2, ONCE: 3, OPEN: 4 } as const;
export const COMMAND = {
  WORK: 0,
  /** Throws before anything is done, or after everything is. */
  FAIL: 1,
  FAIL_AFTER: 2,
  /** Ends its thread. */
  EXIT: 3,
  EXIT_AFTER: 4,
  /** Waits. Of an opening. */
  HOLD: 5,
} as const;

/** What the store gets as its options. */
export interface StoreOrders {
  readonly directory: string;
  readonly board: Int32Array;
  /** Whether it answers with values, else with promises. */
  readonly answersAtOnce: boolean;
}

export class StoreBoard {
  readonly options: StoreOptions;
  readonly #board = new Int32Array(new SharedArrayBuffer(5 * Int32Array.BYTES_PER_ELEMENT));

  constructor(directory: string, answersAtOnce: boolean) {
    const orders: StoreOrders = { directory, board: this.#board, answersAtOnce };
    const module = new URL(`./store${extname(import.meta.url)}`, import.meta.url);
    this.options = { module, options: orders };
  }

  /** The next call of that kind obeys, or all of them until `work`. */
  set(kind: 'commit' | 'get' | 'exists', command: number, isOnce: boolean): void {
    Atomics.store(this.#board, WORD.ONCE, isOnce ? 1 : 0);
    const word = { commit: WORD.COMMIT, get: WORD.GET, exists: WORD.EXISTS }[kind];
    Atomics.store(this.#board, word, command);
  }

  /** Whoever opens the store waits until `work`. */
  holdOpenings(): void {
    Atomics.store(this.#board, WORD.OPEN, COMMAND.HOLD);
  }

  work(): void {
    for (const word of [WORD.COMMIT, WORD.GET, WORD.EXISTS, WORD.OPEN]) {
      Atomics.store(this.#board, word, COMMAND.WORK);
    }
  }
}
