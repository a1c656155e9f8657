/** A thread that attaches to an engine and does what it is told: `fixtures/engine/attached.mjs`. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach } from 'vitest';
import { settles } from './engines.ts';

const threads: AttachedThread[] = [];

afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.terminate()));
});

interface Waiting {
  succeed(value: unknown): void;
  fail(error: Error): void;
}

/** Ends with the test. */
export class AttachedThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  private constructor() {
    const url = new URL('../fixtures/engine/attached.mjs', import.meta.url);
    this.#worker = new Worker(url);
    threads.push(this);
    this.#worker.on('message', ({ id, value, error }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.succeed(value);
      else waiting?.fail(Object.assign(new Error(error.message), { code: error.code }));
    });
    const fail = (error: Error): void => {
      for (const waiting of this.#waiting.values()) waiting.fail(error);
      this.#waiting.clear();
    };
    this.#worker.on('error', fail);
    this.#worker.on('exit', (code) => fail(new Error(`the thread ended with ${code}`)));
  }

  static async start(): Promise<AttachedThread> {
    const thread = new AttachedThread();
    await settles('the start of a thread', once(thread.#worker, 'message'), 30_000);
    return thread;
  }

  /** Runs a task of the fixture there. */
  run<T = unknown>(task: string, ...args: unknown[]): Promise<T> {
    const id = this.#nextId++;
    const answer = new Promise<unknown>((succeed, fail) => {
      this.#waiting.set(id, { succeed, fail });
    });
    this.#worker.postMessage({ id, task, args });
    return settles(`${task} in another thread`, answer as Promise<T>, 50_000);
  }

  /** Calls a method of its manager. */
  call<T = unknown>(method: string, ...args: unknown[]): Promise<T> {
    return this.run<T>('call', method, ...args);
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }
}
