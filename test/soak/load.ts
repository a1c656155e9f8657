/** The load of a soak: pulls and decisions on a changing node, each answer compared with what is known. */
import { setTimeout as delay, setImmediate as turnOfEventLoop } from 'node:timers/promises';
import hdr, { type Histogram } from 'hdr-histogram-js';
import { errorCode } from '../../src/errors.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import { Random } from '../../src/util/random.ts';
import { type Churn, type ChurnImage, podOf, secretOf, strangerOf } from './churn.ts';

const PULL_SHARE = 0.08;
const NEW_IMAGE_SHARE = 0.5;
const FAILING_SHARE = 0.05;
const STRANGER_SHARE = 0.3;
/** Contents that a tenant's secret goes through. */
const VERSIONS = 3;
const STEPS_PER_TURN = 64;
/** Wrong answers that are kept as text. */
const WRONG_KEPT_MAX = 20;

/** A worker is replaced in less time than these take. */
const GIVE_UP_ATTEMPTS = 200;
const GIVE_UP_PAUSE_MS = 50;

/** What happens to a call when a worker has died. */
const WORKER_LOST = 'ERR_PULLMANAGER_WORKER_LOST';

/** Callers that go on until told to stop, on whatever engine is open. */
export class SoakLoad {
  readonly wrong: string[] = [];
  wrongCount = 0;
  operations = 0;
  /** Calls that failed because their worker died, and decisions refused for the same reason. */
  troubles = 0;
  /** Failures that nothing explains, by code. */
  readonly failures: Map<string, number> = new Map();
  readonly #latency: Histogram;
  readonly #churn: Churn;
  #manager: PullManager;
  #isStopped = false;
  #pause: { readonly until: Promise<void>; readonly end: () => void } | undefined;
  #busy = 0;

  constructor(manager: PullManager, churn: Churn) {
    this.#manager = manager;
    this.#churn = churn;
    this.#latency = hdr.build({ useWebAssembly: false, highestTrackableValue: 60e9 });
  }

  /** Runs `callers` callers until `stop`. */
  async run(seed: number, callers: number): Promise<void> {
    await Promise.all(
      Array.from({ length: callers }, (_, number) => this.#call(new Random(seed, number))),
    );
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Lets nobody call while `work` runs, and goes on with the engine that it gives. */
  async between(work: () => Promise<PullManager>): Promise<void> {
    let end = (): void => {};
    const until = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#pause = { until, end };
    try {
      while (this.#busy > 0) await turnOfEventLoop();
      this.#manager = await work();
    } finally {
      this.#pause = undefined;
      end();
    }
  }

  /** 99th percentile of the decisions since the last call, in nanoseconds. */
  takeDecideP99Ns(): number {
    const p99 = this.#latency.totalCount === 0 ? 0 : this.#latency.getValueAtPercentile(99);
    this.#latency.reset();
    return p99;
  }

  complain(text: string): void {
    this.wrongCount++;
    if (this.wrong.length < WRONG_KEPT_MAX) this.wrong.push(text);
  }

  async #call(random: Random): Promise<void> {
    for (let step = 1; !this.#isStopped; step++) {
      if (this.#pause !== undefined) await this.#pause.until;
      this.#busy++;
      try {
        if (random.share() < PULL_SHARE) await this.#pull(random);
        else await this.#decide(random);
      } finally {
        this.#busy--;
      }
      // Callers answered at once would never let a timer run.
      if (step % STEPS_PER_TURN === 0) await turnOfEventLoop();
    }
  }

  async #pull(random: Random): Promise<void> {
    const isNew = random.share() < NEW_IMAGE_SHARE;
    const image = isNew ? this.#churn.advance() : this.#churn.pick(random.next());
    if (image === undefined || image.isPulling || image.isLost) return;
    const manager = this.#manager;
    const fails = random.share() < FAILING_SHARE;
    image.isPulling = true;
    try {
      await manager.recordPullIntent(image.image);
      if (fails) await manager.recordImagePullFailed(image.image);
      else {
        const secret = secretOf(image.tenant, random.below(VERSIONS));
        const credentials = { kubernetesSecrets: [secret] };
        await manager.recordImagePulled(image.image, image.imageRef, credentials);
        image.isPulled = true;
      }
      this.operations += 2;
    } catch (error) {
      image.isLost = true;
      this.fail(error);
      await this.#giveUp(manager, image);
    } finally {
      image.isPulling = false;
    }
  }

  /** Takes back an intent that may have been left, so that those of lost images do not pile up. */
  async #giveUp(manager: PullManager, { image }: ChurnImage): Promise<void> {
    for (let attempt = 0; attempt < GIVE_UP_ATTEMPTS; attempt++) {
      try {
        await delay(GIVE_UP_PAUSE_MS);
        await manager.recordImagePullFailed(image);
        return;
      } catch (error) {
        this.fail(error);
      }
    }
    this.complain(`the intent of ${image} cannot be taken back`);
  }

  async #decide(random: Random): Promise<void> {
    const image = this.#churn.pick(random.next());
    if (image === undefined || !image.isPulled || image.isLost) return;
    const isStranger = random.share() < STRANGER_SHARE;
    const credentials = isStranger
      ? strangerOf(image.tenant)
      : podOf(image.tenant, random.below(VERSIONS));
    const startedMs = performance.now();
    const { mustPull, reason } = await this.#manager.decide(
      image.image,
      image.imageRef,
      credentials,
    );
    this.#latency.recordValue(Math.max(1, Math.round((performance.now() - startedMs) * 1e6)));
    this.operations++;
    if (mustPull === isStranger) return;
    if (reason === 'error') this.troubles++;
    else this.complain(`${describe(image, isStranger)} is told ${reason}`);
  }

  /** Counts a failure; one of a dead worker is expected. */
  fail(error: unknown): void {
    const code = errorCode(error) ?? String(error);
    if (code === WORKER_LOST) this.troubles++;
    else this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}

function describe(image: ChurnImage, isStranger: boolean): string {
  return `${isStranger ? 'a stranger to' : 'the owner of'} ${image.image}`;
}
