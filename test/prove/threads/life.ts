/** The life of one store whose workers die: what is struck and when, and what must hold afterwards. */
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { StoreOptions } from '../../../src/accessors/backend.ts';
import { errorCode } from '../../../src/errors.ts';
import { StripedLockSet } from '../../../src/locks/striped-lock-set.ts';
import type { PullManagerOptions } from '../../../src/options.ts';
import { SharedState, WORKER } from '../../../src/protocol/shared-state.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { Random } from '../../../src/util/random.ts';
import { inTime, until } from '../../support/wait.ts';
import { arm, BOARD, disarm, type Kind, STRIPE_COUNT, STRUCK_MESSAGE } from './board.ts';
import { Ledger, secretOf } from './ledger.ts';
import { keysOf, Load } from './load.ts';
import { type LifePlan, type Strike, storeAt } from './strikes.ts';

export interface LifeResult {
  /** What must not be. */
  readonly wrong: readonly string[];
  /** Calls that were acknowledged and looked up again. */
  readonly acknowledged: number;
  /** Calls that failed with their worker. */
  readonly lost: number;
  /** Operations of the other workers' callers while a struck one was away. */
  readonly others: number;
  /** Longest of those, in milliseconds. */
  readonly longestMs: number;
}

/** Operations of other workers that must end while one is away. */
const OTHERS_LEAST = 30;
const CALLERS = 3;
/** Images whose pulls are ended after a death, to see whether they were counted. */
const ENDED = 6;
const SEEDS: readonly number[] = Array.from({ length: 20 }, (_, i) => i);
/** Begun at first and never ended: what the next opening finds. */
const LEFT_OVER: readonly string[] = SEEDS.map((i) => `registry.io/left/app${i}:v1`);
/** Begun three times: whether pulls are counted shows when two of them have ended. */
const MANY: readonly string[] = SEEDS.map((i) => `registry.io/many/app${i}:v1`);
/** Reads of shared memory after which a worker is struck, at most. */
const ANYWHERE_MAX = 4_000;
const ANYWHERE_IN_LISTING_MAX = 200;
const LOST = 'ERR_PULLMANAGER_WORKER_LOST';
const CLOSED = 'ERR_PULLMANAGER_CLOSED';
const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';

export class Life {
  readonly #plan: LifePlan;
  readonly #board: Int32Array;
  readonly #store: StoreOptions;
  readonly #threads: ReadonlySet<Worker>;
  readonly #random: Random;
  readonly #ledger = new Ledger();
  readonly #wrong: string[] = [];
  #lost = 0;
  #others = 0;
  #longestMs = 0;

  /** @param threads Every thread of this process that lives. */
  constructor(plan: LifePlan, directory: string, board: Int32Array, threads: ReadonlySet<Worker>) {
    this.#plan = plan;
    this.#board = board;
    this.#threads = threads;
    this.#random = new Random(plan.seed);
    this.#store = storeAt(plan.store, join(directory, 'store'));
  }

  /** Rejects where something hangs. */
  async run(): Promise<LifeResult> {
    try {
      const manager = await this.#open();
      const load = await this.#work(manager);
      await this.#close(manager, load);
      await this.#reopen();
    } finally {
      disarm(this.#board);
      this.#openGate();
    }
    return {
      wrong: this.#wrong,
      acknowledged: this.#ledger.acknowledged,
      lost: this.#lost,
      others: this.#others,
      longestMs: this.#longestMs,
    };
  }

  /** Strikes at work, one after the other; every call is answered in between. */
  async #work(manager: PullManager): Promise<Load> {
    await this.#seed(manager);
    let load = this.#load(manager, 0);
    for (const [i, strike] of this.#plan.atWork.entries()) {
      if (strike.scene === 'idle') await inTime('calls are unanswered', load.stop());
      await this.#strikeAtWork(manager, load, strike, i);
      this.#hear(load);
      await this.#checkAtRest(manager);
      load = this.#load(manager, i + 1);
    }
    return load;
  }

  async #strikeAtWork(
    manager: PullManager,
    load: Load,
    strike: Strike,
    number: number,
  ): Promise<void> {
    const { scene, kind, moment } = strike;
    const target = this.#random.below(this.#plan.workerCount);
    const replacedBefore = manager.stats().workersReplaced;
    if (scene === 'during a prune') await this.#seedForPrune(manager, number);
    this.#closeGate();
    if (scene === 'while its replacement opens') {
      await this.#kill(manager, target);
    } else {
      const limit = scene === 'during a listing' ? ANYWHERE_IN_LISTING_MAX : ANYWHERE_MAX;
      const countdown = moment === 'anywhere' ? 1 + this.#random.below(limit) : 1;
      arm(this.#board, { ...strike, thread: threadOf(manager, target), countdown });
    }
    const called = this.#call(manager, load, scene, number);
    if (scene !== 'while its replacement opens') await this.#untilStruck(kind);
    if (scene !== 'idle') await this.#watchOthers(load, target);
    if (scene === 'while its replacement opens') {
      arm(this.#board, strike);
      this.#openGate();
      await this.#untilStruck(kind);
    }
    this.#openGate();
    if (kind === 'blocks') await until('it goes on', () => !this.#isBlocked);
    await called;
    await inTime('calls are unanswered', load.stop());
    // What throws inside its store fails as a store does, and its worker lives.
    const mayLive = kind === 'blocks' || (kind === 'throws' && load.failures.has(UNAVAILABLE));
    const isReplaced = (): boolean => manager.stats().workersReplaced > replacedBefore;
    if (!mayLive) await until('the worker is replaced', isReplaced);
    await this.#everyWorkerServes(manager, number);
  }

  /** What the scene has under way besides the load. */
  async #call(
    manager: PullManager,
    load: Load,
    scene: Strike['scene'],
    number: number,
  ): Promise<void> {
    if (scene === 'during a listing') {
      while (this.#struck === 0) await this.#answer(manager.listImagePulledRecords());
    }
    if (scene !== 'during a prune') return;
    const gone = SEEDS.map((i) => `sha256:gone${number}-${i}`);
    const entry = this.#ledger.prune(gone);
    const kept = [...this.#ledger.refs()].filter((ref) => !gone.includes(ref));
    const listed = [...kept, ...load.refs];
    const result = await this.#answer(manager.pruneUnknownRecords(listed, new Date(8.64e15)));
    if (result?.errors.length === 0) entry.done();
  }

  /** Others must get on with their work while one is away. */
  async #watchOthers(load: Load, target: number): Promise<void> {
    if (this.#plan.workerCount < 2) return;
    const done = (): number =>
      load.operations.reduce((sum, count, worker) => sum + (worker === target ? 0 : count), 0);
    const before = done();
    load.resetDelays();
    await until('others get on', () => done() >= before + OTHERS_LEAST);
    this.#others += done() - before;
    const longest = load.longestMs.filter((_, worker) => worker !== target);
    this.#longestMs = Math.max(this.#longestMs, ...longest);
  }

  async #everyWorkerServes(manager: PullManager, number: number): Promise<void> {
    const { workerCount } = this.#plan;
    for (let worker = 0; worker < workerCount; worker++) {
      const [image] = keysOf(`registry.io/probe${number}-`, worker, workerCount, 1);
      await until('every worker serves', async () => {
        const begun = this.#ledger.begin(image!);
        const isDone = await this.#answer(manager.recordPullIntent(image!).then(() => true));
        if (isDone === true) begun.done();
        return isDone === true;
      });
    }
  }

  /** No stripe is held, the store is as the ledger says, and so are the pulls that are counted. */
  async #checkAtRest(manager: PullManager): Promise<void> {
    const locks = StripedLockSet.attach(manager.handle.locks);
    await until('no stripe is held', () => {
      for (let i = 0; i < STRIPE_COUNT; i++) if (locks.holderOf(i) !== 0) return false;
      return true;
    });
    const keeps = this.#plan.store !== 'memory' || manager.stats().workersReplaced === 0;
    this.#wrong.push(...(await this.#ledger.check(manager, keeps)));
    const ended = this.#ledger.underway().filter(([image]) => !LEFT_OVER.includes(image));
    // Those with most pulls first: of a single one, a count that was lost does not show.
    ended.sort(([, a], [, b]) => b - a);
    for (const [image, count] of ended.slice(0, ENDED)) {
      await this.#end(manager, image, count - 1);
      const before = await manager.decide(image, 'sha256:unknown', {});
      if (!before.mustPull) this.#wrong.push(`a pull of ${image} is no longer counted`);
      await this.#end(manager, image, 1);
    }
  }

  async #end(manager: PullManager, image: string, times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const failed = this.#ledger.fail(image);
      await inTime('ending a pull', manager.recordImagePullFailed(image));
      failed.done();
    }
  }

  /** Under load; a worker may be struck while it drains, or when everything is drained. */
  async #close(manager: PullManager, load: Load): Promise<void> {
    const { atClose } = this.#plan;
    let last: Promise<unknown> | undefined;
    if (atClose !== undefined) {
      const some = this.#random.below(20);
      await until('some work is done', () => load.operations.every((count) => count >= some));
      arm(this.#board, atClose);
      // Whatever the load is at, something is to be written.
      last = this.#answer(this.#pull(manager, 'registry.io/last/app:v1', 'sha256:last'));
    }
    const closing = inTime('closing', manager.close());
    if (atClose !== undefined) await this.#untilStruck(atClose.kind);
    await this.#answer(closing);
    await last;
    await inTime('calls are unanswered', load.stop());
    this.#hear(load, CLOSED);
  }

  /** The next opening, in which a worker may be struck; then one that shows what is there. */
  async #reopen(): Promise<void> {
    const { atOpen, store } = this.#plan;
    disarm(this.#board);
    if (atOpen !== undefined) await this.#strikeAtOpen(atOpen);
    if (store === 'memory') return;
    // Under another number of workers, most often none, which starts no threads.
    const manager = await this.#open({ workerCount: this.#random.below(4) });
    const wrong = await this.#ledger.check(manager, true);
    this.#wrong.push(...wrong.map((text) => `after reopening: ${text}`));
    await inTime('closing', manager.close());
  }

  async #strikeAtOpen(strike: Strike): Promise<void> {
    const images = LEFT_OVER;
    const isReconcile = strike.scene === 'during reconcile';
    const listImages = async (): Promise<object[]> => {
      arm(this.#board, strike);
      return images.map((image, i) => ({
        id: `sha256:left${i}`,
        repoTags: [image],
        repoDigests: [],
      }));
    };
    if (isReconcile)
      for (const [i, image] of images.entries()) this.#ledger.adopt(image, `sha256:left${i}`);
    else arm(this.#board, strike);
    const options = isReconcile ? { imageService: { listImages } } : {};
    const opening = this.#answer(this.#open(options as Partial<PullManagerOptions>));
    await this.#untilStruck(strike.kind);
    const opened = await opening;
    if (opened === undefined) return;
    if (!isReconcile) this.#wrong.push('opened without a worker');
    await this.#answer(inTime('closing', opened.close()));
  }

  /** Records and intents that nobody touches again. */
  async #seed(manager: PullManager): Promise<void> {
    const pulls = [...LEFT_OVER, ...MANY, ...MANY, ...MANY];
    await Promise.all(pulls.map((image) => this.#begin(manager, image)));
    await Promise.all(
      SEEDS.map((i) => {
        const image = `registry.io/seed/app${i}:v1`;
        return i % 3 === 0
          ? this.#begin(manager, image)
          : this.#pull(manager, image, `sha256:seed${i}`);
      }),
    );
  }

  async #seedForPrune(manager: PullManager, number: number): Promise<void> {
    await Promise.all(
      SEEDS.map((i) =>
        this.#pull(manager, `registry.io/gone/app${number}-${i}:v1`, `sha256:gone${number}-${i}`),
      ),
    );
  }

  async #begin(manager: PullManager, image: string): Promise<void> {
    const begun = this.#ledger.begin(image);
    await inTime('a first call', manager.recordPullIntent(image));
    begun.done();
  }

  async #pull(manager: PullManager, image: string, ref: string): Promise<void> {
    await this.#begin(manager, image);
    const pulled = this.#ledger.pulled(image, ref, 'owner');
    const credentials = { kubernetesSecrets: [secretOf('owner')] };
    await inTime('a first call', manager.recordImagePulled(image, ref, credentials));
    pulled.done();
  }

  #load(manager: PullManager, number: number): Load {
    const { seed, workerCount } = this.#plan;
    const ledger = this.#ledger;
    return new Load({ manager, ledger, seed: seed * 100 + number, callers: CALLERS, workerCount });
  }

  #hear(load: Load, ...more: string[]): void {
    this.#wrong.push(...load.wrong.splice(0));
    const allowed = new Set([LOST, ...more]);
    // A store whose memory was lost calls every key damaged that it no longer knows.
    if (this.#plan.store === 'memory') allowed.add('ERR_PULLMANAGER_RECORD_CORRUPT');
    const throws = this.#plan.atWork.some(({ kind }) => kind === 'throws');
    if (throws || this.#plan.atClose?.kind === 'throws') allowed.add(UNAVAILABLE);
    for (const [code, count] of load.failures) {
      if (code === LOST) this.#lost += count;
      if (!allowed.has(code)) this.#wrong.push(`${count} calls failed with ${code}`);
    }
    load.failures.clear();
  }

  /** What a call gives; undefined where it failed as calls of a dead worker do. */
  async #answer<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await inTime('a call', call);
    } catch (error) {
      const code = errorCode(error);
      if (code === LOST) this.#lost++;
      else if (code !== UNAVAILABLE && code !== CLOSED && !wasStruck(error)) throw error;
      return undefined;
    }
  }

  #open(options: Partial<PullManagerOptions> = {}): Promise<PullManager> {
    const { workerCount } = this.#plan;
    const shape = { store: this.#store, workerCount, stripeCount: STRIPE_COUNT };
    return inTime('opening', PullManager.open({ ...shape, ...options }));
  }

  async #kill(manager: PullManager, target: number): Promise<void> {
    const kind = 'is terminated';
    arm(this.#board, { moment: 'anywhere', kind, thread: threadOf(manager, target) });
    await this.#untilStruck(kind);
  }

  async #untilStruck(kind: Kind): Promise<void> {
    await until('the worker is struck', () => this.#struck !== 0);
    if (kind !== 'is terminated') return;
    const struck = this.#struck;
    const thread = [...this.#threads].find(({ threadId }) => threadId === struck);
    await thread!.terminate();
  }

  get #struck(): number {
    return Atomics.load(this.#board, BOARD.STRUCK);
  }

  get #isBlocked(): boolean {
    return Atomics.load(this.#board, BOARD.BLOCKED) !== 0;
  }

  #closeGate(): void {
    Atomics.store(this.#board, BOARD.GATE, 1);
  }

  #openGate(): void {
    Atomics.store(this.#board, BOARD.GATE, 0);
    Atomics.notify(this.#board, BOARD.GATE);
  }
}

/** An opening is told what its worker threw. */
function wasStruck(error: unknown): boolean {
  return error instanceof Error && error.message === STRUCK_MESSAGE;
}

/** The `threadId` of a worker, as the engine has noted it. */
function threadOf(manager: PullManager, worker: number): number {
  const state = SharedState.attach(manager.handle.control);
  return Atomics.load(state.words, state.workerAt(worker) + WORKER.HOLDER) - 1;
}
