/**
 * Loaded by each worker of the engine before its own code (`node --import`): watches what it does by
 * the calls that it makes, and strikes it at the moment that the board names. Nothing in `src/` knows
 * of it.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { getEnvironmentData, isMainThread, threadId } from 'node:worker_threads';
import { WORKER } from '../../../src/protocol/shared-state.ts';
import {
  BLOCK_MS,
  BOARD,
  BOARD_NAME,
  KINDS,
  type Kind,
  MOMENTS,
  type Moment,
  STRIPE_COUNT,
  STRUCK_MESSAGE,
} from './board.ts';

const LOCK_BYTES = STRIPE_COUNT * 64;
/** Claims of stripes have the worker above these bits. */
const CLAIM_LEAST = 1 << 24;
const SECTOR_BYTES = 512;
const HOG_LENGTH = 100_000;

/** Where a worker is in a batch. */
const PHASE = { NONE: 0, LOCKED: 1, COMMITTING: 2, FLUSHED: 3 } as const;

const { load, store, sub, add, compareExchange, exchange, wait, waitAsync, notify } = Atomics;

if (!isMainThread) watch(getEnvironmentData(BOARD_NAME) as Int32Array);

function watch(board: Int32Array): void {
  while (load(board, BOARD.GATE) !== 0) wait(board, BOARD.GATE, 1);
  let phase: number = PHASE.NONE;

  const reach = (moment: Moment): void => {
    const number = MOMENTS.indexOf(moment) + 1;
    if (load(board, BOARD.MOMENT) !== number) return;
    const meant = load(board, BOARD.THREAD);
    if (meant !== 0 && meant !== threadId) return;
    if (sub(board, BOARD.COUNTDOWN, 1) !== 1) return;
    if (compareExchange(board, BOARD.MOMENT, number, 0) !== number) return;
    strike(board, KINDS[load(board, BOARD.KIND)]!);
  };
  const isOfLocks = (words: { readonly buffer: ArrayBufferLike }): boolean =>
    words.buffer.byteLength === LOCK_BYTES;

  patch(Atomics, 'wait', (words: Int32Array, index: number, value: number, ms?: number) => {
    if (!isOfLocks(words)) reach('asleep');
    return wait(words, index, value, ms);
  });
  patch(Atomics, 'waitAsync', (words: Int32Array, index: number, value: number, ms?: number) => {
    if (!isOfLocks(words)) reach('asleep');
    return waitAsync(words, index, value, ms);
  });
  patch(Atomics, 'load', (words: Int32Array, index: number) => {
    const value = load(words, index);
    reach('anywhere');
    if (value === 1 && index % 16 === WORKER.STOP && isWorkerWord(words, index)) reach('closing');
    return value;
  });
  patch(Atomics, 'compareExchange', (words: Int32Array, index: number, old: number, to: number) => {
    const seen = compareExchange(words, index, old, to);
    if (seen !== old) return seen;
    if (isOfLocks(words) && old === 0) phase = PHASE.LOCKED;
    else if (!isOfLocks(words) && to >= CLAIM_LEAST) reach('opening');
    return seen;
  });
  patch(Atomics, 'add', (words: Int32Array, index: number, value: number) => {
    const before = add(words, index, value);
    if (phase === PHASE.FLUSHED) reach('in the middle of publishing');
    return before;
  });
  patch(Atomics, 'exchange', (words: Int32Array, index: number, value: number) => {
    const before = exchange(words, index, value);
    if (isOfLocks(words) && phase === PHASE.FLUSHED) {
      phase = PHASE.NONE;
      reach('between publishing and answer');
    }
    return before;
  });
  const { now } = Date;
  patch(Date, 'now', () => {
    // A batch takes the time when it has its stripes and has loaded its records.
    if (phase === PHASE.LOCKED) reach('holding its stripes');
    return now();
  });
  const bigint = process.hrtime.bigint.bind(process.hrtime);
  patch(process.hrtime, 'bigint', () => {
    // A commit is timed: the first look at the clock comes before it, the second after its flush.
    if (phase === PHASE.COMMITTING) {
      phase = PHASE.FLUSHED;
      reach('between flush and publishing');
    } else if (phase === PHASE.LOCKED) {
      phase = PHASE.COMMITTING;
      reach('before the write');
      // Stores that write in threads of their own are struck while those are at it.
      setImmediate(() => phase === PHASE.COMMITTING && reach('in the middle of the write'));
    }
    return bigint();
  });
  const { writeSync } = fs;
  type WriteBytes = [fd: number, bytes: Uint8Array, from: number, length: number, at: number];
  patch(fs, 'writeSync', (...[fd, bytes, from, length, at]: WriteBytes) => {
    // A kernel ends a write early between two sectors, if at all.
    const part = SECTOR_BYTES - (at % SECTOR_BYTES);
    if (phase !== PHASE.COMMITTING || part >= length) {
      return writeSync(fd, bytes, from, length, at);
    }
    const written = writeSync(fd, bytes, from, part, at);
    reach('in the middle of the write');
    return written;
  });
  syncBuiltinESMExports();
}

function strike(board: Int32Array, kind: Kind): void {
  store(board, BOARD.BLOCKED, kind === 'blocks' ? 1 : 0);
  store(board, BOARD.STRUCK, threadId);
  notify(board, BOARD.STRUCK);
  switch (kind) {
    case 'throws':
      throw new Error(STRUCK_MESSAGE);
    case 'exits':
      process.exit(3);
      break;
    case 'is terminated':
      // By the main thread, which was told above.
      for (;;) wait(board, BOARD.NEVER, 0);
    case 'runs out of memory': {
      const hog: number[][] = [];
      for (;;) hog.push(new Array<number>(HOG_LENGTH).fill(hog.length + 0.5));
    }
    case 'blocks':
      wait(board, BOARD.NEVER, 0, BLOCK_MS);
      store(board, BOARD.BLOCKED, 0);
  }
}

/** Whether an index is of the blocks of workers, which come right after the header. */
function isWorkerWord(words: Int32Array, index: number): boolean {
  const workerCount = words[2]!;
  return index >= 16 && index < 16 * (1 + workerCount) && words.buffer.byteLength > LOCK_BYTES;
}

function patch<T extends object>(target: T, name: keyof T, replacement: unknown): void {
  target[name] = replacement as T[keyof T];
}
