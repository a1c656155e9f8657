/**
 * A soak: hours of mixed load on one engine while images and tenants come and go, worker threads die,
 * other threads attach and leave, and the engine is reopened now and then.
 */
import { once } from 'node:events';
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { WorkerThreads } from '../../src/storm/worker-threads.ts';
import { inTime } from '../support/wait.ts';
import type { AttachedAnswer, AttachedTask } from './attached.ts';
import { Churn } from './churn.ts';
import { type Flatness, flatnessOf, SAMPLES_MIN, type Series, WARM_UP_SHARE } from './flatness.ts';
import { SoakLoad } from './load.ts';
import { Sampler } from './sampler.ts';

export interface SoakOptions {
  readonly store: StoreOptions;
  /** Where the store is. */
  readonly directory: string;
  readonly minutes: number;
  readonly seed: number;
  readonly workerCount: number;
  readonly callers: number;
  /** Images on the node at a time. */
  readonly images: number;
  /** Ends it early; what there is so far is judged. */
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

/** What a soak gave. */
export interface SoakReport {
  readonly minutes: number;
  readonly operations: number;
  readonly imagesSeen: number;
  readonly workersKilled: number;
  readonly threadsAttached: number;
  readonly reopened: number;
  readonly pruned: number;
  /** Calls that failed, and decisions refused, because their worker had died. */
  readonly troubles: number;
  readonly wrongCount: number;
  readonly wrong: readonly string[];
  readonly failures: Readonly<Record<string, number>>;
  readonly atSeconds: readonly number[];
  readonly series: readonly Series[];
  /** Of what must not grow; empty where the soak was too short to say. */
  readonly flatness: readonly Flatness[];
}

/** Samples of a whole soak; more than a chart shows are of no use. */
const SAMPLES = 600;
const SAMPLE_MS_MIN = 1_000;
const PRUNE_MS = 1_000;
const ATTACH_MS = 5_000;
const KILL_MS = 7_500;
/** All while it warms up: what comes after is one life, in which nothing that has grown goes. */
const REOPENINGS = 3;
/** After so many images the caches of an engine, which are bounded, have grown to their bounds. */
const IMAGES_UNTIL_FULL = 100_000;
/** What these caches may still take where they have not, in bytes. */
const CACHE_BYTES = 96 * 1024 * 1024;
const QUESTIONS_OF_ATTACHED = 200;
/** What an attached thread runs: in a checkout the sources are not compiled. */
const ATTACHED = attachedCode(new URL(`./attached${extname(import.meta.url)}`, import.meta.url));

/** Runs it; rejects where the engine hangs or cannot be opened. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  return new Soak(options).run();
}

class Soak {
  readonly #options: SoakOptions;
  readonly #churn: Churn;
  readonly #sampler: Sampler;
  readonly #threads = new WorkerThreads();
  /** Calls under way that the engine must not be closed under. */
  #guests = 0;
  #isReopening = false;
  #manager!: PullManager;
  #load!: SoakLoad;
  #workersKilled = 0;
  #threadsAttached = 0;
  #reopened = 0;
  #seenAtReopening = 0;
  /** Whether caches were full when the warm-up was over. */
  #isFull = false;
  #pruned = 0;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#churn = new Churn(options.images);
    this.#sampler = new Sampler(options.directory);
  }

  async run(): Promise<SoakReport> {
    const { minutes, seed, callers, signal, log } = this.#options;
    const totalMs = minutes * 60_000;
    this.#manager = await this.#open();
    this.#load = new SoakLoad(this.#manager, this.#churn);
    const startedMs = performance.now();
    const running = this.#load.run(seed, callers);
    const chores = [
      this.#every(Math.max(SAMPLE_MS_MIN, totalMs / SAMPLES), () => this.#sample()),
      this.#every(PRUNE_MS, () => this.#asGuest(() => this.#prune())),
      this.#every(ATTACH_MS, () => this.#asGuest(() => this.#attach())),
      this.#every(KILL_MS, () => this.#kill()),
      this.#every((totalMs * WARM_UP_SHARE) / (REOPENINGS + 1), () => this.#reopen()),
      this.#every(Math.max(10_000, totalMs / 60), async () => log(this.#progress(startedMs))),
    ];
    try {
      await delay(totalMs * WARM_UP_SHARE, undefined, { signal });
      this.#isFull = this.#churn.seenCount - this.#seenAtReopening >= IMAGES_UNTIL_FULL;
      await delay(totalMs * (1 - WARM_UP_SHARE), undefined, { signal });
    } catch {
      // It is ended early.
    } finally {
      for (const chore of chores) chore.end();
      await Promise.all(chores.map(({ ended }) => ended));
      this.#load.stop();
      await inTime('ending the calls', running);
      await inTime('closing the engine', this.#manager.close());
      this.#threads.close();
    }
    return this.#report((performance.now() - startedMs) / 60_000);
  }

  #open(): Promise<PullManager> {
    const { store, workerCount } = this.#options;
    return inTime('opening the engine', PullManager.open({ store, workerCount }));
  }

  /** Does `work` again and again, never twice at a time. */
  #every(ms: number, work: () => Promise<void>): { end: () => void; ended: Promise<void> } {
    const controller = new AbortController();
    const { signal } = controller;
    const loop = async (): Promise<void> => {
      for (;;) {
        await delay(ms, undefined, { signal }).catch(() => {});
        if (signal.aborted) return;
        try {
          await work();
        } catch (error) {
          this.#load.complain((error as Error).message);
        }
      }
    };
    return { end: () => controller.abort(), ended: loop() };
  }

  /** Does `work` unless the engine is being reopened, which waits until it is done. */
  async #asGuest(work: () => Promise<void>): Promise<void> {
    if (this.#isReopening) return;
    this.#guests++;
    try {
      await work();
    } finally {
      this.#guests--;
    }
  }

  #lastOperations = 0;
  #lastMs = performance.now();

  async #sample(): Promise<void> {
    const nowMs = performance.now();
    const { operations } = this.#load;
    const perSecond = ((operations - this.#lastOperations) / (nowMs - this.#lastMs)) * 1_000;
    this.#lastOperations = operations;
    this.#lastMs = nowMs;
    const { records, intents } = this.#manager.stats();
    this.#sampler.sample({
      records,
      recordsTooMany: Math.max(0, records - this.#churn.recordCounts().most),
      intents,
      operationsPerSecond: perSecond,
      decideP99Ns: this.#load.takeDecideP99Ns(),
    });
  }

  async #prune(): Promise<void> {
    const until = new Date();
    const listed = this.#churn.listedRefs();
    try {
      const { pruned, errors } = await this.#manager.pruneUnknownRecords(listed, until);
      this.#pruned += pruned;
      if (errors.length === 0) this.#churn.collected();
    } catch (error) {
      // What is left is pruned the next time.
      this.#load.fail(error);
    }
  }

  async #attach(): Promise<void> {
    const chosen = this.#newestPulled();
    if (chosen === undefined) return;
    const { image, imageRef, tenant } = chosen;
    const { handle } = this.#manager;
    const task: AttachedTask = {
      handle,
      image,
      imageRef,
      tenant,
      questions: QUESTIONS_OF_ATTACHED,
    };
    const thread = new Worker(ATTACHED, { eval: true, workerData: task });
    this.#threads.ignore(thread);
    try {
      const [answer] = (await inTime('an attached thread', once(thread, 'message'))) as [
        AttachedAnswer,
      ];
      this.#threadsAttached++;
      // One that has left the window meanwhile may have been pruned: then it looks preloaded.
      if (!this.#churn.isInWindow(imageRef)) return;
      if (answer.ownersRefused > 0)
        this.#load.complain(`attached: the owner of ${image} is refused`);
      if (answer.strangersLetIn > 0) this.#load.complain(`attached: strangers get ${image}`);
    } finally {
      await thread.terminate();
    }
  }

  /** One that stays in the window while it is asked about. */
  #newestPulled(): ReturnType<Churn['pick']> {
    for (let back = 1; back <= this.#options.images / 4; back++) {
      const candidate = this.#churn.pick(Math.max(0, this.#churn.seenCount - back));
      if (candidate?.isPulled === true && !candidate.isLost) return candidate;
    }
    return undefined;
  }

  async #kill(): Promise<void> {
    if ((await this.#threads.kill(this.#workersKilled)) !== undefined) this.#workersKilled++;
  }

  async #reopen(): Promise<void> {
    if (this.#reopened === REOPENINGS) return;
    this.#isReopening = true;
    while (this.#guests > 0) await delay(1);
    await this.#load.between(async () => {
      await inTime('closing the engine', this.#manager.close());
      this.#manager = await this.#openAgain();
      const { records } = this.#manager.stats();
      const { least, most } = this.#churn.recordCounts();
      if (records < least || records > most) {
        this.#load.complain(`reopened with ${records} records instead of ${least} to ${most}`);
      }
      return this.#manager;
    });
    this.#isReopening = false;
    this.#reopened++;
    this.#seenAtReopening = this.#churn.seenCount;
  }

  /** A worker that dies while it opens the store makes the opening fail, once. */
  async #openAgain(): Promise<PullManager> {
    const killed = this.#workersKilled;
    try {
      return await this.#open();
    } catch (error) {
      if (this.#workersKilled === killed) throw error;
      this.#load.fail(error);
      return this.#open();
    }
  }

  #progress(startedMs: number): string {
    const { operations, wrongCount, troubles } = this.#load;
    const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
    const heap = (process.memoryUsage().heapUsed / 1e6).toFixed(0);
    return (
      `${minutes} min  ${operations} operations  ${this.#churn.seenCount} images  ` +
      `heap ${heap} MB  ${troubles} in trouble  ${wrongCount} wrong`
    );
  }

  #report(minutes: number): SoakReport {
    const load = this.#load;
    const series = this.#sampler.series();
    const judged = series.filter(({ noise }) => noise !== undefined);
    const isLong = this.#sampler.atSeconds.length >= SAMPLES_MIN;
    const ofCaches = this.#isFull ? 0 : CACHE_BYTES;
    return {
      minutes,
      operations: load.operations,
      imagesSeen: this.#churn.seenCount,
      workersKilled: this.#workersKilled,
      threadsAttached: this.#threadsAttached,
      reopened: this.#reopened,
      pruned: this.#pruned,
      troubles: load.troubles,
      wrongCount: load.wrongCount,
      wrong: load.wrong,
      failures: Object.fromEntries(load.failures),
      atSeconds: this.#sampler.atSeconds,
      series,
      flatness: isLong ? judged.map((one) => flatnessOf(one, ofCaches)) : [],
    };
  }
}

function attachedCode({ href }: URL): string {
  const load = `import(${JSON.stringify(href)})`;
  if (!href.endsWith('.ts')) return load;
  return `import('tsx/esm/api').then(({ register }) => { register(); return ${load}; })`;
}
