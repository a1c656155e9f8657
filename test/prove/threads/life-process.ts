/** A process that hosts engines whose workers die, one after the other; see `deaths.ts`. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setEnvironmentData, type Worker } from 'node:worker_threads';
import { BOARD_NAME, makeBoard } from './board.ts';
import { Life, type LifeResult } from './life.ts';
import type { LifePlan } from './strikes.ts';

/** What the parent hears of a life. */
export type LifeReply =
  | { readonly result: LifeResult }
  /** Something hangs, or an answer is none that a dead worker explains. */
  | { readonly broken: string };

const board = makeBoard();
setEnvironmentData(BOARD_NAME, board);
const threads = new Set<Worker>();
process.on('worker', (worker: Worker) => {
  threads.add(worker);
  worker.once('exit', () => threads.delete(worker));
});
const root = process.argv[2]!;

process.on('message', (plan: LifePlan) => {
  void (async () => {
    const directory = join(root, `life${plan.seed}`);
    mkdirSync(directory, { recursive: true });
    let reply: LifeReply;
    try {
      reply = { result: await new Life(plan, directory, board, threads).run() };
    } catch (error) {
      reply = { broken: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    if ('result' in reply && reply.result.wrong.length === 0)
      rmSync(directory, { recursive: true });
    process.send!(reply);
  })();
});
