/**
 * An engine for tests of the storm: the sequential model behind asynchronous calls, each of which
 * takes effect at some random moment between call and answer. With `bug`, it is wrong on purpose.
 */
import { PullManagerError } from '../../src/errors.ts';
import type { EngineStats } from '../../src/metrics/stats.ts';
import type { VerificationPolicy } from '../../src/policies/enforcer.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  ImagePullIntent,
  Listing,
  PodCredentials,
  PodCredentialsSource,
} from '../../src/records/record.ts';
import type {
  StormDecision,
  StormEngine,
  StormRequest,
  StormRuntimeImage,
} from '../../src/storm/engine.ts';
import { Random } from '../../src/util/random.ts';
import { type ModelAnswer, type ModelOperation, PullModel } from '../support/pull-model.ts';

/** Ways of being wrong; each of them must be found. */
export type Bug =
  /** Decisions are sometimes made on the state of some writes ago. */
  | 'stale'
  /** The intent goes before the record is written. */
  | 'intentFirst'
  /** A pull is now and then answered but not recorded. */
  | 'lostPull'
  /** The first outcome of several pulls in flight removes the intent. */
  | 'noCounter'
  /** A rotated secret is let in, but its new content is not kept. */
  | 'noLearning'
  /** Pruning ignores the cut-off. */
  | 'noCutOff'
  /** Pruning deletes what is listed, keeps the rest. */
  | 'pruneListed'
  /** Any secret of the same namespace opens the image. */
  | 'wrongTenant'
  /** Accounts given together with secrets are dropped. */
  | 'dropAccounts'
  /** A restart loses left-over intents. */
  | 'lostIntents'
  /** A restart keeps the counters. */
  | 'keptCounters'
  /** A killed worker takes acknowledged records with it. */
  | 'forgetfulKill'
  /** A worker that is missing lets everybody in. */
  | 'openKill'
  /** Two copies, the second one updated later: a decision may go back behind an earlier one. */
  | 'flicker';

export interface ConcurrentModelOptions {
  readonly seed: number;
  readonly policy: VerificationPolicy;
  readonly bug?: Bug | undefined;
  /** What survives a restart; made by the first engine. */
  readonly disk: { model: PullModel | undefined };
  readonly images: readonly StormRuntimeImage[];
  readonly onAsk?: ((image: string) => void) | undefined;
  /** Writes that the disk has room for. @default as many as there are */
  readonly writesMax?: number | undefined;
}

const BUG_SHARE = 0.05;

export class ConcurrentModel implements StormEngine {
  readonly #model: PullModel;
  readonly #copy: PullModel;
  readonly #random: Random;
  readonly #bug: Bug | undefined;
  readonly #onAsk: ((image: string) => void) | undefined;
  #writesLeft: number;
  #isClosed = false;
  #pending = 0;
  /** Rises when the worker dies. */
  #generation = 0;
  #isDown = false;

  constructor(options: ConcurrentModelOptions) {
    const { seed, policy, bug, disk, images } = options;
    this.#random = new Random(seed, 77);
    this.#bug = bug;
    this.#onAsk = options.onAsk;
    this.#writesLeft = options.writesMax ?? Number.POSITIVE_INFINITY;
    const isRestart = disk.model !== undefined;
    disk.model ??= new PullModel({ policy });
    this.#model = disk.model;
    this.#copy = new PullModel({ policy });
    if (!isRestart) return;
    if (bug === 'lostIntents') {
      for (const image of this.#intents()) this.#loseIntent(image);
    }
    if (bug === 'keptCounters') return;
    this.#model.apply({ op: 'restart', images });
  }

  /** Ends the worker; its replacement is there a few turns later. */
  async kill(): Promise<string> {
    this.#generation++;
    this.#isDown = true;
    if (this.#bug === 'forgetfulKill') {
      const kept = this.#records().filter(() => this.#random.share() < 0.5);
      const imageRefs = kept.map(({ imageRef }) => imageRef);
      this.#model.apply({ op: 'prune', imageRefs, untilMs: Number.POSITIVE_INFINITY });
    }
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.#isDown = false;
    return 'thread 1';
  }

  async recordPullIntent(image: string): Promise<void> {
    await this.#atomic({ op: 'intent', image });
  }

  async recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    const given = { ...credentials };
    if (this.#bug === 'dropAccounts' && given.kubernetesSecrets !== undefined) {
      delete given.kubernetesServiceAccounts;
    }
    const write: ModelOperation = {
      op: 'writePulled',
      image,
      imageRef,
      credentials: credentials === null ? null : given,
    };
    const steps: ModelOperation[] = [write, { op: 'decrement', image }];
    if (this.#bug === 'intentFirst') steps.reverse();
    if (this.#bug === 'lostPull' && this.#random.share() < BUG_SHARE) steps.shift();
    if (this.#bug === 'noCounter') {
      while (this.#model.inFlight(image) > 1) this.#model.apply({ op: 'decrement', image });
    }
    for (const step of steps) await this.#atomic(step);
  }

  async recordImagePullFailed(image: string): Promise<void> {
    await this.#atomic({ op: 'failed', image });
  }

  async mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials?: PodCredentialsSource,
  ): Promise<boolean> {
    this.#onAsk?.(image);
    return (await this.decide(image, imageRef, credentials)).mustPull;
  }

  async decide(
    image: string,
    imageRef: string,
    source?: PodCredentialsSource,
  ): Promise<StormDecision> {
    const credentials = typeof source === 'function' ? await source() : source;
    await this.#delay();
    if (this.#isDown) {
      if (this.#bug === 'openKill') return { mustPull: false, reason: 'credentialRecordFound' };
      return { mustPull: true, reason: 'error', cause: workerLost() } as StormDecision;
    }
    const isBuggy = this.#random.share() < BUG_SHARE;
    const decision = this.decideNow(image, imageRef, credentials);
    const copied = ask(this.#copy, image, imageRef, credentials);
    await this.#delay();
    if (this.#bug === 'stale' && isBuggy) return this.#memory(image, imageRef, credentials);
    return this.#bug === 'flicker' && isBuggy ? copied : decision;
  }

  decideSync(
    image: string,
    imageRef: string,
    credentials?: PodCredentials,
  ): StormDecision | undefined {
    if (this.#isDown || this.#random.share() < 0.3) return undefined;
    return this.decideNow(image, imageRef, credentials);
  }

  async decideBatch(requests: readonly StormRequest[]): Promise<StormDecision[]> {
    return Promise.all(
      requests.map(({ image, imageRef, credentials }) => this.decide(image, imageRef, credentials)),
    );
  }

  async withPull<T extends { imageRef: string; credentials: ImagePullCredentials | null }>(
    image: string,
    pull: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    await this.recordPullIntent(image);
    let result: T;
    try {
      result = await pull(new AbortController().signal);
    } catch (error) {
      await this.recordImagePullFailed(image);
      throw error;
    }
    await this.recordImagePulled(image, result.imageRef, result.credentials);
    return result;
  }

  async pruneUnknownRecords(
    imageRefs: Iterable<string>,
    until: Date,
  ): Promise<{ pruned: number; errors: unknown[] }> {
    await this.#delay();
    const listed = new Set(imageRefs);
    const all = this.#records().map(({ imageRef }) => imageRef);
    const untilMs = this.#bug === 'noCutOff' ? Number.POSITIVE_INFINITY : until.getTime();
    let pruned = 0;
    for (const imageRef of all) {
      const isListed = listed.has(imageRef) !== (this.#bug === 'pruneListed');
      if (isListed) continue;
      // Key by key, as the engine does it: others get in between.
      if (this.#random.share() < 0.3) await this.#delay();
      const others = all.filter((other) => other !== imageRef);
      const answer = this.#model.apply({ op: 'prune', imageRefs: others, untilMs });
      if (answer.kind === 'pruned') pruned += answer.pruned;
    }
    return { pruned, errors: [] };
  }

  async listImagePullIntents(): Promise<Listing<ImagePullIntent>> {
    return { records: this.#intents().map((image) => ({ image })), errors: [] };
  }

  async listImagePulledRecords(): Promise<Listing<ImagePulledRecord>> {
    return { records: [...this.#records()], errors: [] };
  }

  async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
    await this.#delay();
    if (this.#isDown) throw workerLost();
    const answer = this.#model.apply({ op: 'get', imageRef });
    await this.#delay();
    return answer.kind === 'record' ? answer.record : undefined;
  }

  stats(): EngineStats {
    const none = { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
    return {
      workerCount: 0,
      stripeCount: 1,
      store: 'model',
      records: this.#records().length,
      intents: this.#intents().length,
      writtenBytes: 0,
      decisions: {
        credentialPolicyAllowed: 0,
        credentialRecordFound: 0,
        mustAuthenticate: 0,
        error: 0,
      },
      decisionsLocal: 0,
      decisionsRemote: 0,
      pending: 0,
      pendingLimit: 0,
      heldBack: 0,
      commits: { failures: 0, batchSize: none, latencyNs: none },
      failures: { reconcile: 0, matchWrite: 0, prune: 0 },
      workersReplaced: 0,
      replica: { records: 0, intents: 0 },
    };
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#pending > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  decideNow(image: string, imageRef: string, credentials?: PodCredentials): StormDecision {
    const before = this.#bug === 'noLearning' ? this.#record(imageRef) : undefined;
    const decision = ask(this.#model, image, imageRef, credentials);
    if (before !== undefined) this.#restore(before);
    if (this.#bug !== 'wrongTenant' || !decision.mustPull) return decision;
    const { namespace } = credentials?.secrets?.[0] ?? {};
    const proofs = Object.values(this.#record(imageRef)?.credentialMapping ?? {});
    const isNear = proofs.some((proof) =>
      proof.kubernetesSecrets?.some((secret) => secret.namespace === namespace),
    );
    return isNear ? { mustPull: false, reason: 'credentialRecordFound' } : decision;
  }

  /** Decides on what another, never updated engine would know: nothing. */
  #memory(image: string, imageRef: string, credentials?: PodCredentials): StormDecision {
    return ask(new PullModel({ policy: this.#model.policy }), image, imageRef, credentials);
  }

  #restore(record: ImagePulledRecord): void {
    this.#model.apply({ op: 'damage', imageRef: record.imageRef, kind: 'corrupt' });
    for (const [image, credentials] of Object.entries(record.credentialMapping)) {
      this.#model.apply({
        op: 'writePulled',
        image,
        imageRef: record.imageRef,
        credentials,
      });
    }
  }

  #record(imageRef: string): ImagePulledRecord | undefined {
    const answer = this.#model.apply({ op: 'get', imageRef });
    return answer.kind === 'record' ? answer.record : undefined;
  }

  #records(): readonly ImagePulledRecord[] {
    const answer = this.#model.apply({ op: 'listRecords' });
    return answer.kind === 'records' ? answer.records : [];
  }

  #intents(): readonly string[] {
    const answer = this.#model.apply({ op: 'listIntents' });
    return answer.kind === 'intents' ? answer.images : [];
  }

  #loseIntent(image: string): void {
    while (this.#model.inFlight(image) > 0) this.#model.apply({ op: 'failed', image });
    this.#model.apply({ op: 'failed', image });
  }

  async #atomic(operation: ModelOperation): Promise<ModelAnswer> {
    if (this.#isClosed)
      throw Object.assign(new Error('closed'), { code: 'ERR_PULLMANAGER_CLOSED' });
    if (this.#isDown) throw workerLost();
    if (--this.#writesLeft < 0) throw new PullManagerError('STORE_UNAVAILABLE', 'no room');
    this.#pending++;
    const generation = this.#generation;
    try {
      await this.#delay();
      const isLost = generation !== this.#generation;
      // What a worker had begun may be done or not.
      if (isLost && this.#random.share() < 0.5) throw workerLost();
      const answer = this.#model.apply(operation);
      if (isLost) throw workerLost();
      await this.#delay();
      if (generation !== this.#generation) throw workerLost();
      if (this.#bug === 'flicker') {
        this.#copy.apply(operation);
        await this.#delay();
      }
      return answer;
    } finally {
      this.#pending--;
    }
  }

  /** Zero to a few turns of the microtask queue or of the event loop. */
  async #delay(): Promise<void> {
    const turns = this.#random.below(4);
    const isLong = this.#random.share() < 0.2;
    for (let turn = 0; turn < turns; turn++) {
      if (isLong) await new Promise((resolve) => setImmediate(resolve));
      else await Promise.resolve();
    }
  }
}

function workerLost(): PullManagerError {
  return new PullManagerError('WORKER_LOST', 'worker 0 died');
}

function ask(
  model: PullModel,
  image: string,
  imageRef: string,
  credentials: PodCredentials | undefined,
): StormDecision {
  const answer = model.apply({ op: 'decide', image, imageRef, credentials });
  if (answer.kind !== 'decision') throw new Error('not a decision');
  return { mustPull: answer.mustPull, reason: answer.reason };
}
