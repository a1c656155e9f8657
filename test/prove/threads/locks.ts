/**
 * Millions of lock operations by threads that die at random, with the locks that they hold: they
 * exclude each other, and nobody waits for ever.
 */
import { once } from 'node:events';
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { holderIdOfThread, StripedLockSet } from '../../../src/locks/striped-lock-set.ts';
import { Random } from '../../../src/util/random.ts';
import type { ProofReport } from '../proof.ts';
import {
  LOCK_BOARD,
  LOCK_SLOT,
  type LockSabotage,
  type LockWork,
  makeLockBoard,
  slotAt,
} from './lock-thread.ts';

const THREADS = 4;
/** Few enough that threads meet, many enough that batches have several. */
const STRIPES = 5;

export interface LockProofOptions {
  readonly operations: number;
  readonly seed: number;
  /** Time between two deaths, in milliseconds, at most; 0: nobody dies. */
  readonly deathEveryMs: number;
  /** Without any operation for so long, somebody is stuck. */
  readonly stuckMs: number;
  readonly sabotage?: LockSabotage;
  /** Whether a dead thread's stripes are freed, as a supervisor does. */
  readonly freesDead?: boolean;
}

export interface LockOutcome {
  readonly operations: number;
  readonly deaths: number;
  /** Threads that died with stripes. */
  readonly holders: number;
  readonly givenUp: number;
  readonly sleeps: number;
  readonly wrong: readonly string[];
  readonly seconds: number;
}

/** Runs all operations, or as many as are done when somebody is stuck. */
export async function contend(options: LockProofOptions): Promise<LockOutcome> {
  const { seed, deathEveryMs, stuckMs, freesDead = true } = options;
  const locks = new StripedLockSet(STRIPES);
  const counters = new Int32Array(new SharedArrayBuffer(4 * 2 * STRIPES));
  const board = makeLockBoard(THREADS);
  const random = new Random(seed, 31);
  const wrong: string[] = [];
  const share = Math.ceil(options.operations / THREADS);
  const doneBy = (slot: number): number => board[slotAt(slot) + LOCK_SLOT.OPERATIONS]!;
  const slots = Array.from({ length: THREADS }, (_, slot) => slot);
  const done = (): number => slots.reduce((sum, slot) => sum + doneBy(slot), 0);
  const living = new Map<number, Worker>();
  let deaths = 0;
  let holders = 0;
  let isOver = false;

  const start = async (slot: number): Promise<void> => {
    const task: LockWork = {
      handle: locks.handle,
      counters,
      board,
      slot,
      operations: share - doneBy(slot),
      seed: random.next(),
      sabotage: options.sabotage,
    };
    const thread = new Worker(new URL(`lock-thread${extname(import.meta.url)}`, import.meta.url), {
      workerData: task,
    });
    thread.on('error', (error) => wrong.push(`a thread failed: ${error.message}`));
    thread.once('exit', () => living.delete(slot));
    await once(thread, 'message');
    living.set(slot, thread);
  };
  /** As the supervisor of an engine does with a worker that died. */
  const kill = async (slot: number, thread: Worker): Promise<void> => {
    const holder = holderIdOfThread(thread.threadId);
    await thread.terminate();
    deaths++;
    for (let stripe = 0; stripe < STRIPES; stripe++) {
      // What it was changing may be half done: repaired while nobody else can have it.
      if (locks.holderOf(stripe) === holder) counters[2 * stripe + 1] = counters[2 * stripe]!;
    }
    if (freesDead && locks.releaseHeldBy(holder) > 0) holders++;
    if (doneBy(slot) < share) await start(slot);
  };

  const startedMs = performance.now();
  await Promise.all(slots.map(start));
  Atomics.store(board, LOCK_BOARD.GO, 1);
  Atomics.notify(board, LOCK_BOARD.GO);
  let seen = 0;
  let seenMs = performance.now();
  while (done() < share * THREADS && !isOver) {
    await delay(deathEveryMs === 0 ? 20 : 1 + random.below(deathEveryMs));
    const now = done();
    if (now === seen) {
      isOver = performance.now() - seenMs > stuckMs || living.size === 0;
      if (isOver) wrong.push(`nobody gets on: ${slots.map(doneBy).join(', ')} of ${share} each`);
      // Nobody is killed out of a wait that may have no end: its place would be taken by one that works.
      continue;
    }
    seen = now;
    seenMs = performance.now();
    const slot = random.below(THREADS);
    const thread = living.get(slot);
    // The last ones finish their work: a thread that has just begun is not killed for ever.
    if (deathEveryMs > 0 && thread !== undefined && share - doneBy(slot) > share / 50) {
      await kill(slot, thread);
    }
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  await Promise.all(
    Array.from(living.values(), async (thread) => {
      if (isOver) await thread.terminate();
      else await once(thread, 'exit');
    }),
  );
  wrong.push(...wrongCounts(board, counters, deaths));
  if (freesDead && !isOver) {
    for (let stripe = 0; stripe < STRIPES; stripe++) {
      if (locks.holderOf(stripe) !== 0) wrong.push(`stripe ${stripe} is still held`);
    }
  }
  const givenUp = board[LOCK_BOARD.GIVEN_UP]!;
  const sleeps = slots.reduce((sum, slot) => sum + board[slotAt(slot) + LOCK_SLOT.SLEEPS]!, 0);
  return { operations: done(), deaths, holders, givenUp, sleeps, wrong, seconds };
}

/** Each change is counted under its stripe and by its thread; one that dies may lack the latter. */
function wrongCounts(board: Int32Array, counters: Int32Array, deaths: number): string[] {
  const wrong: string[] = [];
  const torn = board[LOCK_BOARD.TORN]!;
  if (torn > 0) wrong.push(`${torn} times two threads were in one stripe at once`);
  let changes = 0;
  for (let slot = 0; slot < THREADS; slot++) changes += board[slotAt(slot) + LOCK_SLOT.CHANGES]!;
  let counted = 0;
  for (let stripe = 0; stripe < STRIPES; stripe++) counted += counters[2 * stripe]!;
  if (counted < changes || counted > changes + deaths) {
    wrong.push(`${changes} changes by ${deaths} mortal threads, ${counted} counted`);
  }
  return wrong;
}

export async function proveLocks(options: LockProofOptions, replay: string): Promise<ProofReport> {
  const outcome = await contend(options);
  const { operations, deaths, holders, givenUp, sleeps, wrong, seconds } = outcome;
  const note = `${deaths} deaths, ${holders} with stripes; ${sleeps} sleeps, ${givenUp} given up; ${(
    operations / seconds / 1e6
  ).toFixed(2)} M/s`;
  const what = `locks of ${THREADS} threads that die`;
  return {
    rows: [{ what, count: operations, unit: 'operations', failures: wrong.length, note }],
    failures: wrong.map((detail) => ({ what, detail, replay })),
  };
}
