/** The worker threads of this process, so that a storm can kill one. */
import type { Worker } from 'node:worker_threads';
import type { KillWorker } from './events.ts';

/** Knows the threads that are started while it watches. */
export class WorkerThreads {
  readonly #alive = new Set<Worker>();
  readonly #ignored = new WeakSet<Worker>();
  readonly #onStart = (worker: Worker): void => {
    if (this.#ignored.has(worker)) return;
    this.#alive.add(worker);
    worker.once('exit', () => this.#alive.delete(worker));
  };

  constructor() {
    process.on('worker', this.#onStart);
  }

  /** Those that have started and not ended, in the order in which they started. */
  get alive(): readonly Worker[] {
    return [...this.#alive];
  }

  /** Leaves a thread out that is no engine's. */
  ignore(worker: Worker): void {
    this.#ignored.add(worker);
    this.#alive.delete(worker);
  }

  /** Ends one of the threads wherever it is; `choice` is any whole number. */
  readonly kill: KillWorker = async (choice) => {
    const { alive } = this;
    const worker = alive[choice % Math.max(1, alive.length)];
    if (worker === undefined) return undefined;
    const { threadId } = worker;
    await worker.terminate();
    return `thread ${threadId}`;
  };

  close(): void {
    process.removeListener('worker', this.#onStart);
  }
}
