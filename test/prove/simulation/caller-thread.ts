/** A thread with a manager of its own, attached to the engine, in which callers may run. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { EngineHandle } from '../../../src/engine/engine.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { Caller } from './caller.ts';
import { type Entry, EventCount } from './history.ts';
import type { Act } from './program.ts';
import type { Universe } from './universe.ts';

type Order =
  | { readonly kind: 'attach'; readonly handle: EngineHandle }
  | { readonly kind: 'detach' }
  | {
      readonly kind: 'run';
      readonly caller: string;
      readonly universe: Universe;
      readonly acts: readonly Act[];
    };

interface Report {
  readonly id: number;
  readonly entries: readonly Entry[];
  readonly error: string | undefined;
}

/** The other thread, as this one sees it. */
export class CallerThread {
  readonly worker: Worker;
  readonly #waiting = new Map<number, (report: Report) => void>();
  #nextId = 1;

  constructor(events: EventCount) {
    this.worker = new Worker(new URL(import.meta.url), { workerData: events.words });
    this.worker.on('message', (report: Report) => {
      this.#waiting.get(report.id)?.(report);
      this.#waiting.delete(report.id);
    });
  }

  async attach(handle: EngineHandle): Promise<void> {
    await this.#order({ kind: 'attach', handle });
  }

  async detach(): Promise<void> {
    await this.#order({ kind: 'detach' });
  }

  async run(caller: string, universe: Universe, acts: readonly Act[]): Promise<readonly Entry[]> {
    return this.#order({ kind: 'run', caller, universe, acts });
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }

  async #order(order: Order): Promise<readonly Entry[]> {
    const id = this.#nextId++;
    const report = await new Promise<Report>((resolve) => {
      this.#waiting.set(id, resolve);
      this.worker.postMessage([id, order]);
    });
    if (report.error !== undefined) throw new Error(report.error);
    return report.entries;
  }
}

/** What the thread does with its orders; several may be under way. */
class Servant {
  readonly #events: EventCount;
  #manager: PullManager | undefined;

  constructor(events: EventCount) {
    this.#events = events;
  }

  async obey(order: Order): Promise<readonly Entry[]> {
    switch (order.kind) {
      case 'attach':
        this.#manager = await PullManager.attach(order.handle);
        return [];
      case 'detach':
        await this.#manager?.close();
        return [];
      default: {
        const caller = new Caller(order.caller, this.#manager!, order.universe, this.#events);
        await caller.run(order.acts);
        return caller.entries;
      }
    }
  }
}

if (!isMainThread && workerData instanceof Int32Array) {
  const servant = new Servant(new EventCount(workerData));
  parentPort!.on('message', ([id, order]: [number, Order]) => {
    const tell = (entries: readonly Entry[], error?: string): void => {
      parentPort!.postMessage({ id, entries, error } satisfies Report);
    };
    servant.obey(order).then(tell, (error: unknown) => tell([], String(error)));
  });
}
