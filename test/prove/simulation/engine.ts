/** The engine under simulation, with all places from which it is called. */

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import type { StoreOptions } from '../../../src/accessors/backend.ts';
import { storeOptions } from '../../../src/accessors/store-location.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { WorkerThreads } from '../../../src/storm/worker-threads.ts';
import type { ModelImage } from '../../support/pull-model.ts';
import { CallerThread } from './caller-thread.ts';
import type { Config, Place, Shape } from './config.ts';
import type { EventCount } from './history.ts';
import { StoreBoard } from './store-board.ts';

/** Keys that nobody writes, enough of them that each worker owns some. */
const PROBES = Array.from({ length: 31 }, (_, i) => `probe-${i}`);
const PROBE_PAUSE_MS = 1;

export class SimulatedEngine {
  readonly board: StoreBoard;
  readonly #config: Config;
  readonly #store: StoreOptions;
  readonly #thread: CallerThread | undefined;
  readonly #threads = new WorkerThreads();
  #opener!: PullManager;
  #beside!: PullManager;
  #shape: Shape;

  private constructor(config: Config, directory: string, events: EventCount) {
    this.#config = config;
    this.#shape = config;
    this.board = new StoreBoard(directory, config.answersAtOnce);
    this.#store = storeOf(config, directory, this.board);
    this.#thread = config.callers.includes('thread') ? new CallerThread(events) : undefined;
    if (this.#thread !== undefined) this.#threads.ignore(this.#thread.worker);
  }

  static async open(
    config: Config,
    directory: string,
    events: EventCount,
  ): Promise<SimulatedEngine> {
    const engine = new SimulatedEngine(config, directory, events);
    await engine.#open(config, []);
    return engine;
  }

  get opener(): PullManager {
    return this.#opener;
  }

  /** Threads that own stripes; none with `workerCount: 0`. */
  get owners(): readonly Worker[] {
    return this.#threads.alive;
  }

  get stripeCount(): number {
    return this.#shape.stripeCount;
  }

  get thread(): CallerThread | undefined {
    return this.#thread;
  }

  managerAt(place: Place): PullManager {
    return place === 'beside' ? this.#beside : this.#opener;
  }

  /** Closes the engine and opens it on the same store, built as `shape` says. */
  async restart(shape: Shape, images: readonly ModelImage[]): Promise<void> {
    await this.#close();
    await this.#open(shape, images);
  }

  /** Returns when every worker answers again. */
  async recovered(): Promise<void> {
    for (const key of PROBES) {
      while (!(await isAnswered(this.#opener, key))) await delay(PROBE_PAUSE_MS);
    }
  }

  async close(): Promise<void> {
    await this.#close();
    this.#threads.close();
    await this.#thread?.end();
  }

  async #open(shape: Shape, images: readonly ModelImage[]): Promise<void> {
    this.#shape = shape;
    const { workerCount, stripeCount } = shape;
    this.#opener = await PullManager.open({
      store: this.#store,
      policy: this.#config.policy,
      compatibility: this.#config.level,
      imageService: { listImages: async () => images },
      workerCount,
      stripeCount,
    });
    this.#beside = await PullManager.attach(this.#opener.handle);
    await this.#thread?.attach(this.#opener.handle);
  }

  async #close(): Promise<void> {
    await this.#thread?.detach();
    await this.#beside.close();
    await this.#opener.close();
  }
}

async function isAnswered(manager: PullManager, key: string): Promise<boolean> {
  try {
    await manager.getImagePulledRecord(key);
    return true;
  } catch {
    return false;
  }
}

function storeOf(config: Config, directory: string, board: StoreBoard): StoreOptions {
  const path = join(directory, 'store');
  switch (config.store) {
    case 'memory':
      return { kind: 'memory' };
    case 'journal':
      return { kind: 'journal', path, durability: config.isFlushed ? 'flush' : 'write' };
    case 'kubelet':
    case 'lmdb':
      return storeOptions(config.store, path);
    case 'module':
      return board.options;
  }
}
