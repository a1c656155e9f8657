/** The worker threads of this process, so that a storm can kill one. */
import type { Worker } from 'node:worker_threads';
import type { KillWorker } from './events.ts';

/** Knows the threads that are started while it watches. */
export class WorkerThreads {
  readonly #alive = new Set<Worker>();
  readonly #onStart = (worker: Worker): void => {
    this.#alive.add(worker);
    worker.once('exit', () => this.#alive.delete(worker));
  };

  constructor() {
    process.on('worker', this.#onStart);
  }

  /** Ends one of the threads wherever it is; `choice` is any whole number. */
  readonly kill: KillWorker = async (choice) => {
    const workers = [...this.#alive];
    const worker = workers[choice % Math.max(1, workers.length)];
    if (worker === undefined) return undefined;
    const { threadId } = worker;
    await worker.terminate();
    return `thread ${threadId}`;
  };

  close(): void {
    process.removeListener('worker', this.#onStart);
  }
}
