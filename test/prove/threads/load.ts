/** Callers that pull, fail and decide, and tell a ledger. */
import { setTimeout as delay, setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { errorCode } from '../../../src/errors.ts';
import { ownerOf, stripeOf } from '../../../src/locks/stripe.ts';
import type { PullManager } from '../../../src/pull-manager.ts';
import { Random } from '../../../src/util/random.ts';
import { STRIPE_COUNT } from './board.ts';
import { type Entry, type Ledger, secretOf } from './ledger.ts';

const IMAGES_PER_CALLER = 4;
/** Pulls of one image that a caller has under way at most. */
const UNDERWAY_MAX = 3;
/** What a caller does whose call failed: not the same again at once. */
const PAUSE_MS = 10;

export interface LoadOptions {
  readonly manager: PullManager;
  readonly ledger: Ledger;
  readonly seed: number;
  /** Callers of each worker; every caller's keys are of one worker. */
  readonly callers: number;
  /** The engine's own number, 1 where all happens in the calling thread. */
  readonly workerCount: number;
}

/** Runs until it is stopped. */
export class Load {
  /** Operations that ended well, by worker. */
  readonly operations: number[];
  /** Failures, by code. */
  readonly failures: Map<string, number> = new Map<string, number>();
  /** Answers that must not be. */
  readonly wrong: string[] = [];
  /** Longest call of each worker since `resetDelays`, in milliseconds. */
  readonly longestMs: number[];
  readonly #options: LoadOptions;
  /** Every reference that its callers may record. */
  readonly refs: string[] = [];
  readonly #stop: AbortController = new AbortController();
  readonly #ended: Promise<unknown>;

  constructor(options: LoadOptions) {
    this.#options = options;
    const { workerCount, callers } = options;
    this.operations = new Array<number>(workerCount).fill(0);
    this.longestMs = new Array<number>(workerCount).fill(0);
    const ended: Promise<void>[] = [];
    for (let worker = 0; worker < workerCount; worker++) {
      for (let i = 0; i < callers; i++) ended.push(this.#call(worker, i));
    }
    this.#ended = Promise.all(ended);
  }

  /** Resolves when every call is answered. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  resetDelays(): void {
    this.longestMs.fill(0);
  }

  async #call(worker: number, caller: number): Promise<void> {
    const { seed, workerCount } = this.#options;
    const random = new Random(seed, worker * 1_000 + caller);
    const name = `w${worker}c${caller}s${seed}`;
    const images = keysOf(`registry.io/${name}/app`, worker, workerCount);
    const refs = keysOf(`sha256:${name}`, worker, workerCount);
    this.refs.push(...refs);
    for (let turn = 0; !this.#stop.signal.aborted; turn++) {
      const place = turn % IMAGES_PER_CALLER;
      // Others share this thread: no caller has it to itself.
      await turnOfEventLoop();
      const isWell = await this.#pull(random, worker, images[place]!, refs[place]!);
      if (!isWell) await delay(PAUSE_MS);
    }
  }

  async #pull(random: Random, worker: number, image: string, ref: string): Promise<boolean> {
    const { manager, ledger } = this.#options;
    const begun = ledger.begin(image);
    if (!(await this.#done(worker, begun, manager.recordPullIntent(image)))) return false;
    await this.#ask(worker, image, ref, 'nobody');
    const count = ledger.certain(image) ?? UNDERWAY_MAX;
    if (count < UNDERWAY_MAX && random.below(4) === 0) return true;
    if (random.below(3) === 0) {
      const failed = ledger.fail(image);
      return this.#done(worker, failed, manager.recordImagePullFailed(image));
    }
    const tenant = `tenant${random.below(5)}`;
    const pulled = ledger.pulled(image, ref, tenant);
    const credentials = { kubernetesSecrets: [secretOf(tenant)] };
    const call = manager.recordImagePulled(image, ref, credentials);
    if (!(await this.#done(worker, pulled, call))) return false;
    await this.#ask(worker, image, ref, tenant);
    return true;
  }

  async #done(worker: number, entry: Entry, call: Promise<void>): Promise<boolean> {
    const startedMs = performance.now();
    try {
      await call;
    } catch (error) {
      this.#failed(error);
      return false;
    }
    entry.done();
    this.operations[worker]!++;
    this.longestMs[worker] = Math.max(this.longestMs[worker]!, performance.now() - startedMs);
    return true;
  }

  async #ask(worker: number, image: string, ref: string, tenant: string): Promise<void> {
    const { manager } = this.#options;
    const presented = { secrets: [secretOf(tenant)] };
    const { mustPull, reason, cause } = await manager.decide(image, ref, presented);
    if (reason === 'error') this.#failed(cause);
    // A store in memory that was lost with its worker says so, which is an error too.
    const isRight = tenant === 'nobody' ? mustPull : !mustPull || reason === 'error';
    if (!isRight) this.wrong.push(`${tenant} was told ${reason} of ${image} ${ref}`);
    this.operations[worker]!++;
  }

  #failed(error: unknown): void {
    const code = errorCode(error) ?? String(error);
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}

/** Keys that one worker owns. */
export function keysOf(
  prefix: string,
  worker: number,
  workerCount: number,
  count: number = IMAGES_PER_CALLER,
): string[] {
  const keys: string[] = [];
  for (let i = 0; keys.length < count; i++) {
    const key = `${prefix}${i}`;
    if (ownerOf(stripeOf(key, STRIPE_COUNT), workerCount) === worker) keys.push(key);
  }
  return keys;
}
