/**
 * The image pull manager: the five operations of the reference, and what the reference lacks.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager (interfaces.go, image_pull_manager.go), KEP-2535.
 */

import { setMaxListeners } from 'node:events';
import { Decider, type DecisionRequest } from './engine/decider.ts';
import { type Decision, failed } from './engine/decision.ts';
import { Engine, type EngineHandle } from './engine/engine.ts';
import { EngineClient } from './engine/engine-client.ts';
import { reconcile } from './engine/reconcile.ts';
import { Replica } from './engine/replica.ts';
import {
  abortedError,
  closedError,
  fromWire,
  invalidArgument,
  PullManagerError,
  type WireError,
} from './errors.ts';
import { exposition } from './metrics/exposition.ts';
import { HOST_ROW, SharedHistogram, SharedMetrics, WORKER_ROW } from './metrics/shared-metrics.ts';
import { DECISION_REASONS, type DecisionReason, type EngineStats } from './metrics/stats.ts';
import {
  type Logger,
  type PullManagerOptions,
  type ResolvedOptions,
  resolveOptions,
  resolvePolicy,
} from './options.ts';
import type { ImagePullPolicyEnforcer, VerificationPolicy } from './policies/enforcer.ts';
import { REQUEST, TEXT_LENGTH_MAX } from './protocol/frames.ts';
import { ENGINE_STATE, SharedState } from './protocol/shared-state.ts';
import { unpackRecord } from './records/codec.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  ImagePullIntent,
  Listing,
  PodCredentials,
  PodCredentialsSource,
} from './records/record.ts';
import { normalizeCredentials } from './records/validate.ts';
import { wellFormed } from './util/well-formed.ts';
import { within } from './util/within.ts';

/** What pruning did. */
export interface PruneResult {
  /** Records that were deleted. */
  readonly pruned: number;
  /** Records that stay: listed, new enough, or not deletable. */
  readonly kept: number;
  readonly errors: PullManagerError[];
}

/** The five operations of the reference. */
export interface ImagePullManager {
  recordPullIntent(image: string): Promise<void>;
  recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void>;
  recordImagePullFailed(image: string): Promise<void>;
  mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials?: PodCredentialsSource,
  ): Promise<boolean>;
  pruneUnknownRecords(imageRefs: Iterable<string>, until: Date): Promise<PruneResult>;
}

/** What `PullManager.attach` takes besides the handle. */
export interface AttachOptions {
  /** Needed where the engine was opened with an enforcer of the caller's own: those do not travel. */
  readonly policy?: ImagePullPolicyEnforcer | VerificationPolicy;
  /** @default silent */
  readonly logger?: Logger;
}

/** Per-call options of decisions. */
export interface DecideOptions {
  /** Ends the wait for a credentials source: the decision is then "must pull" with cause `ABORTED`. */
  readonly signal?: AbortSignal;
}

/** How long `close` waits for aborted pulls to come to an end. */
const CLOSE_GRACE_MS = 1_000;
/** How long `close` waits for a store to answer, and again for its owners to end. */
const CLOSE_LIMIT_MS = 10_000;

const NO_CREDENTIALS: PodCredentials = Object.freeze({});

// Shared: a promise per decision would cost more than the decision.
const MUST_PULL: Promise<boolean> = Promise.resolve(true);
const NEED_NOT_PULL: Promise<boolean> = Promise.resolve(false);

/**
 * Decides who may use an image that is on the node, and records who has proven access.
 *
 * ```js
 * import { PullManager } from 'pullwarden';
 *
 * const manager = await PullManager.open({ store: { kind: 'memory' } });
 * const secret = { uid: '1', namespace: 'team-a', name: 'pull', credentialHash: 'abc' };
 * await manager.withPull('registry.example.com/team-a/app:1', async () => ({
 *   imageRef: 'sha256:0123',
 *   credentials: { kubernetesSecrets: [secret] },
 * }));
 * await manager.mustAttemptImagePull('registry.example.com/team-a/app:1', 'sha256:0123', {
 *   secrets: [secret],
 * }); // false: no pull needed
 * await manager.close();
 * ```
 *
 * All methods may be called concurrently, from the thread that opened or attached the manager.
 */
export class PullManager implements ImagePullManager, AsyncDisposable {
  /** Give it to another thread of the process, which joins with `PullManager.attach`. */
  readonly handle: EngineHandle;
  readonly #state: SharedState;
  readonly #metrics: SharedMetrics;
  readonly #client: EngineClient;
  readonly #decider: Decider;
  /** Only in the thread that opened the engine. */
  readonly #engine: Engine | undefined;
  readonly #pulls = new AbortController();
  /** Pulls of `withPull` whose outcome is not recorded yet. */
  readonly #ongoing = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  private constructor(
    handle: EngineHandle,
    parts: {
      state: SharedState;
      metrics: SharedMetrics;
      client: EngineClient;
      decider: Decider;
      engine: Engine | undefined;
    },
  ) {
    this.handle = handle;
    this.#state = parts.state;
    this.#metrics = parts.metrics;
    this.#client = parts.client;
    this.#decider = parts.decider;
    this.#engine = parts.engine;
    // One listener for each pull under way.
    setMaxListeners(0, this.#pulls.signal);
  }

  /**
   * Opens the store, starts the threads, and reconciles the intents that an earlier run left.
   *
   * Errors: `INVALID_ARGUMENT` naming the option, `POLICY_UNKNOWN`, `ALLOWLIST_PATTERN_INVALID`,
   * `STORE_IN_USE`, `STORE_UNAVAILABLE`, `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`, `ABORTED`.
   * After an error nothing is left open.
   */
  static async open(options?: PullManagerOptions): Promise<PullManager> {
    const resolved = resolveOptions(options);
    const { signal } = resolved;
    if (isAborted(signal)) throw abortedError('opening the pull manager', signal?.reason);
    const engine = await Engine.start(resolved);
    const manager = PullManager.#join(engine.handle, resolved.policy, resolved.logger, engine);
    try {
      await manager.#reconcile(resolved);
      signal?.throwIfAborted();
    } catch (error) {
      await manager.close();
      throw isAborted(signal) ? abortedError('opening the pull manager', signal?.reason) : error;
    }
    engine.open();
    manager.#closeOn(signal);
    return manager;
  }

  /**
   * Joins an engine that another thread of this process has open. The new manager decides on a
   * replica of its own; its `close` leaves the engine running.
   * A thread that ends without `close` keeps its place until the engine closes.
   *
   * Errors: `INVALID_ARGUMENT` for what is no handle, or where `options.policy` is needed;
   * `ENGINE_UNAVAILABLE` where no place is left (16 threads in all), `CLOSED`.
   */
  static async attach(handle: EngineHandle, options: AttachOptions = {}): Promise<PullManager> {
    if (typeof handle !== 'object' || handle === null) {
      throw invalidArgument('handle', 'is not the handle of an engine');
    }
    if (typeof options !== 'object' || options === null) {
      throw invalidArgument('options', 'must be an object');
    }
    // Throw for what is no handle, before a place is taken.
    const { workerCount } = SharedState.attach(handle.control);
    SharedMetrics.attach(handle.metrics, workerCount);
    if (!(handle.maxPending >= 1) || !(handle.reverifyAfterMs > 0)) {
      throw invalidArgument('handle', 'is not the handle of an engine');
    }
    const policy = options.policy ?? handle.policy;
    if (policy === undefined) {
      throw invalidArgument('options.policy', 'is needed: the engine has an enforcer of its own');
    }
    const { logger } = resolveOptions(
      options.logger === undefined ? {} : { logger: options.logger },
    );
    return PullManager.#join(handle, resolvePolicy(policy).policy, logger, undefined);
  }

  static #join(
    handle: EngineHandle,
    policy: ImagePullPolicyEnforcer,
    logger: Logger,
    engine: Engine | undefined,
  ): PullManager {
    const state = engine?.state ?? SharedState.attach(handle.control);
    if (state.engineState >= ENGINE_STATE.CLOSING) throw closedError('attaching');
    const hostIndex = EngineClient.claimHost(state);
    if (hostIndex < 0) {
      throw new PullManagerError('ENGINE_UNAVAILABLE', 'too many threads are attached already');
    }
    const metrics = engine?.metrics ?? SharedMetrics.attach(handle.metrics, state.workerCount);
    const replica = new Replica(state);
    const client = new EngineClient({
      state,
      hostIndex,
      maxPending: handle.maxPending,
      kick: () => engine?.kick(),
      learn: ({ imageRef, image }, reply) => replica.learn(imageRef, image, reply),
    });
    const decider = new Decider({
      state,
      replica,
      client,
      policy,
      trustsRotatedSecrets: handle.rotatedSecrets !== 'verify',
      reverifyAfterMs: handle.reverifyAfterMs,
      row: metrics.hostRow(hostIndex),
      logger,
    });
    return new PullManager(handle, { state, metrics, client, decider, engine });
  }

  /**
   * Notes durably that a pull of `image` begins. Call before each pull, and exactly one of
   * `recordImagePulled` and `recordImagePullFailed` after it. Resolves when the note would survive
   * a power cut; where it rejects, do not pull.
   *
   * @param image Any text of at most 1,048,576 characters; lone surrogates count as U+FFFD.
   *
   * Errors: `INVALID_ARGUMENT`, `STORE_UNAVAILABLE`, `WORKER_LOST`, `QUEUE_FULL`, `CLOSED`.
   */
  recordPullIntent(image: string): Promise<void> {
    const refused = this.#refusal('recordPullIntent') ?? textProblem('image', image);
    if (refused !== undefined) return Promise.reject(refused);
    return this.#client.write(this.#client.ownerOf(image), REQUEST.INTENT, image);
  }

  /**
   * Records that a pull of `image` gave `imageRef` and that `credentials` opened it (`null`:
   * unknown), and ends the pull. Resolves when that would survive a power cut. Where it rejects,
   * the intent stays, and with it the protection of the image.
   *
   * Errors: `INVALID_ARGUMENT`, `IMAGE_NAME_INVALID`, `STORE_UNAVAILABLE`, `WORKER_LOST`,
   * `QUEUE_FULL`, `CLOSED`.
   */
  async recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    const refused =
      this.#refusal('recordImagePulled') ??
      textProblem('image', image) ??
      textProblem('imageRef', imageRef);
    if (refused !== undefined) throw refused;
    const normal = this.#proven(normalizeCredentials(credentials));
    await this.#recordPulled(image, imageRef, normal);
  }

  /**
   * Ends a pull of `image` that gave nothing. With the last pull of an image its intent goes.
   *
   * Errors: as `recordPullIntent`; the intent then stays.
   */
  recordImagePullFailed(image: string): Promise<void> {
    const refused = this.#refusal('recordImagePullFailed') ?? textProblem('image', image);
    if (refused !== undefined) return Promise.reject(refused);
    return this.#client.write(this.#client.ownerOf(image), REQUEST.OUTCOME, image);
  }

  /**
   * Whether the registry must be asked before a pod that presents `credentials` may use the copy
   * of `image` on the node. Every storage trouble answers `true`.
   *
   * @param imageRef The runtime's reference of the copy; empty where there is none.
   * @param credentials What the pod presents, or a function that is asked at most once, and only
   * where the answer depends on it. @default none
   *
   * Rejects only where that function fails, with what it threw.
   */
  mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource = NO_CREDENTIALS,
  ): Promise<boolean> {
    if (typeof credentials !== 'function') {
      const decision = this.#decider.decideSync(image, imageRef, credentials);
      if (decision !== undefined) return decision.mustPull ? MUST_PULL : NEED_NOT_PULL;
    }
    return this.#mustAttempt(image, imageRef, credentials);
  }

  /** As `mustAttemptImagePull`, with the reason. Never rejects. */
  decide(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource = NO_CREDENTIALS,
    options: DecideOptions = {},
  ): Promise<Decision> {
    let signal: AbortSignal | undefined;
    try {
      signal = checkedOptions(options).signal;
    } catch (error) {
      return Promise.resolve(failed(error as PullManagerError));
    }
    return this.#decider.decide(image, imageRef, credentials, signal);
  }

  /**
   * The decision, where this thread's replica has it: nothing is awaited, and the answer was true
   * at a moment during the call. `undefined` where a worker must be asked: use `decide` then.
   */
  decideSync(
    image: string,
    imageRef: string,
    credentials: PodCredentials = NO_CREDENTIALS,
  ): Decision | undefined {
    return this.#decider.decideSync(image, imageRef, credentials);
  }

  /** One decision for each request, in their order; those that need a worker share one trip. */
  async decideBatch(requests: readonly DecisionRequest[]): Promise<Decision[]> {
    if (!Array.isArray(requests)) throw invalidArgument('requests', 'must be an array');
    const decisions: Decision[] = new Array(requests.length);
    const trips: Promise<void>[] = [];
    for (let i = 0; i < requests.length; i++) {
      const request: DecisionRequest | undefined = requests[i];
      if (typeof request !== 'object' || request === null) {
        decisions[i] = failed(invalidArgument(`requests[${i}]`, 'must be an object'));
        continue;
      }
      const { image, imageRef, credentials = NO_CREDENTIALS } = request;
      const decision =
        typeof credentials === 'function'
          ? undefined
          : this.#decider.decideSync(image, imageRef, credentials);
      if (decision !== undefined) {
        decisions[i] = decision;
        continue;
      }
      const trip = this.#decider.decide(image, imageRef, credentials, undefined);
      trips.push(
        trip.then((late) => {
          decisions[i] = late;
        }),
      );
    }
    if (trips.length > 0) await Promise.all(trips);
    return decisions;
  }

  /**
   * Runs `pull` between an intent and exactly one outcome, whatever happens. Resolves with what
   * `pull` resolved with, after it is recorded.
   *
   * The signal given to `pull` is aborted by `options.signal` and by `close`; the call then rejects
   * at once with `ABORTED`, and the outcome is recorded when `pull` settles: as long as it goes on,
   * its intent protects the image. Where `pull` rejects, the failure is recorded and its error
   * passed on. Where its result cannot be recorded, rejects with that error, and the intent stays.
   */
  async withPull<T extends { imageRef: string; credentials: ImagePullCredentials | null }>(
    image: string,
    pull: (signal: AbortSignal) => Promise<T>,
    options: { signal?: AbortSignal } = {},
  ): Promise<T> {
    if (typeof pull !== 'function') throw invalidArgument('pull', 'must be a function');
    const { signal: given } = checkedOptions(options);
    if (isAborted(given)) throw abortedError('the pull', given?.reason);
    await this.recordPullIntent(image);
    const signal =
      given === undefined ? this.#pulls.signal : AbortSignal.any([given, this.#pulls.signal]);
    const outcome = this.#pullAndRecord(image, pull, signal);
    this.#ongoing.add(outcome);
    const done = (): boolean => this.#ongoing.delete(outcome);
    outcome.then(done, done);
    return untilAborted(outcome, signal);
  }

  /**
   * Deletes the records of images that are not in `imageRefs` and were last updated before `until`.
   *
   * @param imageRefs Every image reference that the runtime has; in use and pinned ones included.
   * @param until A time from before that list was asked for.
   *
   * Errors: `INVALID_ARGUMENT`, `WORKER_LOST`, `CLOSED`; records that could not be deleted are in
   * the result's `errors`.
   */
  async pruneUnknownRecords(imageRefs: Iterable<string>, until: Date): Promise<PruneResult> {
    const refused = this.#refusal('pruneUnknownRecords');
    if (refused !== undefined) throw refused;
    const untilMs = until instanceof Date ? until.getTime() : Number.NaN;
    if (Number.isNaN(untilMs)) throw invalidArgument('until', 'must be a valid Date');
    const listed = listedRefs(imageRefs);
    const answers = await this.#client.callAll('prune', [listed, untilMs]);
    let pruned = 0;
    let kept = 0;
    const errors: PullManagerError[] = [];
    for (const [answer] of answers as [number, number, WireError[]][][]) {
      pruned += answer![0];
      kept += answer![1];
      errors.push(...answer![2].map((wire) => fromWire(wire) as PullManagerError));
    }
    this.#row[HOST_ROW.PRUNE_FAILURES]! += errors.length;
    return { pruned, kept, errors };
  }

  /** All intents in the store. Errors: `WORKER_LOST`, `STORE_UNAVAILABLE`, `CLOSED`. */
  async listImagePullIntents(): Promise<Listing<ImagePullIntent, PullManagerError>> {
    const refused = this.#refusal('listImagePullIntents');
    if (refused !== undefined) throw refused;
    return this.#list('listIntents', (image) => ({ image: image as string }));
  }

  /** All pulled records in the store. Errors: as `listImagePullIntents`. */
  async listImagePulledRecords(): Promise<Listing<ImagePulledRecord, PullManagerError>> {
    const refused = this.#refusal('listImagePulledRecords');
    if (refused !== undefined) throw refused;
    return this.#list('listPulled', (packed) => unpackRecord(packed).toPlain());
  }

  /** One pulled record. Errors: `RECORD_CORRUPT`, `STORE_UNAVAILABLE`, `WORKER_LOST`, `CLOSED`. */
  async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
    const refused = this.#refusal('getImagePulledRecord') ?? textProblem('imageRef', imageRef);
    if (refused !== undefined) throw refused;
    const owner = this.#client.ownerOf(imageRef);
    const reply = await this.#client.read(owner, imageRef, undefined);
    return reply.record?.toPlain();
  }

  /** Counters of the engine; see `EngineStats`. Also after `close`. */
  stats(): EngineStats {
    const { workerCount, stripeCount } = this.#state;
    const metrics = this.#metrics;
    const workers = Array.from({ length: workerCount }, (_, worker) => worker);
    return {
      workerCount: this.handle.workerCount,
      stripeCount,
      store: this.handle.store,
      records: metrics.workerSum(WORKER_ROW.RECORDS),
      intents: metrics.workerSum(WORKER_ROW.INTENTS),
      writtenBytes: metrics.workerSum(WORKER_ROW.WRITTEN_BYTES),
      decisions: this.#decisions(),
      decisionsLocal: metrics.hostSum(HOST_ROW.LOCAL),
      decisionsRemote: metrics.hostSum(HOST_ROW.REMOTE),
      pending: this.#client.pending,
      pendingLimit: this.#client.pendingLimit,
      commits: {
        failures: metrics.workerSum(WORKER_ROW.COMMIT_FAILURES),
        batchSize: SharedHistogram.summarize(workers.map((i) => metrics.batchSizes(i))),
        latencyNs: SharedHistogram.summarize(workers.map((i) => metrics.commitLatencies(i))),
      },
      failures: {
        reconcile: metrics.hostSum(HOST_ROW.RECONCILE_FAILURES),
        matchWrite: metrics.hostSum(HOST_ROW.MATCH_WRITE_FAILURES),
        prune: metrics.hostSum(HOST_ROW.PRUNE_FAILURES),
      },
      workersReplaced: metrics.hostSum(HOST_ROW.WORKERS_REPLACED),
      replica: {
        records: this.#decider.replica.recordCount,
        intents: this.#decider.replica.intentCount,
      },
    };
  }

  /** Prometheus text under upstream's metric names. */
  async metrics(): Promise<string> {
    const { replica } = this.#decider;
    return exposition({
      intents: this.#metrics.workerSum(WORKER_ROW.INTENTS),
      records: this.#metrics.workerSum(WORKER_ROW.RECORDS),
      intentsUsagePercent: Math.floor((100 * replica.intentCount) / replica.intentsMax),
      recordsUsagePercent: Math.floor((100 * replica.recordCount) / replica.recordsMax),
      decisions: this.#decisions(),
    });
  }

  /**
   * Refuses new calls, ends waits for credentials and pulls in `withPull`, finishes what was called
   * before, and closes the store; an attached manager only leaves. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #closeOn(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const onAbort = (): void => {
      // Whoever calls `close` as well is told of a failure.
      this.close().catch(() => {});
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true, signal: this.#pulls.signal });
  }

  async #close(): Promise<void> {
    this.#decider.close();
    this.#pulls.abort(closedError('the pull'));
    await this.#settleOngoing();
    this.#engine?.beginClose();
    // A store that never answers must not keep the agent: what waits for it is then rejected.
    await within(CLOSE_LIMIT_MS, this.#client.drain());
    const stopped = this.#engine?.stop(CLOSE_LIMIT_MS);
    if (this.#client.pending > 0) this.#client.leave(closedError('this call'));
    await stopped;
    this.#client.leave(closedError('this call'));
  }

  /**
   * Waits until the outcomes of aborted pulls are recorded. A pull that ignores its abort keeps its
   * intent, which protects the image until the next start finds out what became of it.
   */
  async #settleOngoing(): Promise<void> {
    if (this.#ongoing.size > 0) await within(CLOSE_GRACE_MS, Promise.allSettled(this.#ongoing));
  }

  /** Runs the pull and records its outcome, however long that takes. */
  async #pullAndRecord<T extends { imageRef: string; credentials: ImagePullCredentials | null }>(
    image: string,
    pull: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    let result: T;
    try {
      if (signal.aborted) throw abortedError('the pull', signal.reason);
      result = await pull(signal);
    } catch (error) {
      await this.#client.write(this.#client.ownerOf(image), REQUEST.OUTCOME, image);
      throw error;
    }
    // From here on the image may be on the node: whatever is wrong, its intent must stay.
    if (typeof result !== 'object' || result === null) {
      throw invalidArgument('the result of pull', 'must be an object');
    }
    const { imageRef, credentials } = result;
    const problem = textProblem('imageRef', imageRef);
    if (problem !== undefined) throw problem;
    await this.#recordPulled(image, imageRef, this.#proven(normalizeCredentials(credentials)));
    return result;
  }

  async #mustAttempt(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource,
  ): Promise<boolean> {
    const { mustPull, cause } = await this.#decider.decide(image, imageRef, credentials, undefined);
    if (cause?.code === 'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED') throw cause.cause;
    return mustPull;
  }

  /** The record first, then the end of the pull: a crash in between leaves an intent too many. */
  #recordPulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    const client = this.#client;
    const imageName = this.#decider.imageName(image);
    const recordOwner = client.ownerOf(imageRef);
    const intentOwner = client.ownerOf(image);
    const { PULLED, OUTCOME } = REQUEST;
    // Who has decided on the image is likely to again: the answer spares that decision a trip.
    const isAsked = this.#decider.replica.wasUsed(imageRef);
    if (recordOwner === intentOwner) {
      return client.write(recordOwner, PULLED, image, imageRef, imageName, credentials, isAsked);
    }
    return client
      .write(recordOwner, PULLED, undefined, imageRef, imageName, credentials, isAsked)
      .then(() => client.write(intentOwner, OUTCOME, image));
  }

  /** The same credentials, stamped as proven now where this engine keeps such times. */
  #proven(credentials: ImagePullCredentials | null): ImagePullCredentials | null {
    if (credentials === null || !Number.isFinite(this.handle.reverifyAfterMs)) return credentials;
    const provenAtMs = Date.now();
    const { nodePodsAccessible, kubernetesSecrets, kubernetesServiceAccounts } = credentials;
    return normalizeCredentials({
      ...(nodePodsAccessible === true ? { nodePodsAccessible, provenAtMs } : {}),
      kubernetesSecrets: kubernetesSecrets?.map((secret) => ({ ...secret, provenAtMs })),
      kubernetesServiceAccounts: kubernetesServiceAccounts?.map((account) => ({
        ...account,
        provenAtMs,
      })),
    });
  }

  async #list<T>(
    method: 'listIntents' | 'listPulled',
    read: (item: unknown) => T,
  ): Promise<Listing<T, PullManagerError>> {
    // Of these stores each owner knows only its own keys; of the others each one knows all.
    const isPartitioned = this.handle.store === 'journal' || this.handle.store === 'memory';
    const answers = isPartitioned
      ? await this.#client.callAll(method, [])
      : [await this.#client.call(0, method, [])];
    const records: T[] = [];
    const errors: PullManagerError[] = [];
    for (const pages of answers as [WireError[], ...unknown[]][][]) {
      for (const [wires, ...items] of pages) {
        for (const item of items) records.push(read(item));
        for (const wire of wires) errors.push(fromWire(wire) as PullManagerError);
      }
    }
    return { records, errors };
  }

  async #reconcile(options: ResolvedOptions): Promise<void> {
    const { logger, imageService, signal } = options;
    const { records, errors } = await this.#list('listIntents', (image) => image as string);
    const row = this.#row;
    const onFailure = (): void => {
      row[HOST_ROW.RECONCILE_FAILURES]!++;
    };
    for (const error of errors) {
      onFailure();
      logger.error('an intent cannot be read', { code: error.code });
    }
    const adopt = async (image: string, imageRef: string): Promise<void> => {
      const problem = textProblem('imageRef', imageRef);
      if (problem !== undefined) throw problem;
      await this.#recordPulled(image, imageRef, null);
    };
    await reconcile({ images: records, imageService, adopt, onFailure, logger, signal });
  }

  #refusal(what: string): PullManagerError | undefined {
    const isOpen = this.#closing === undefined && this.#state.engineState === ENGINE_STATE.OPEN;
    return isOpen ? undefined : closedError(what);
  }

  get #row(): Float64Array {
    return this.#metrics.hostRow(this.#client.hostIndex);
  }

  #decisions(): Record<DecisionReason, number> {
    const counts = DECISION_REASONS.map((reason, i) => [
      reason,
      this.#metrics.hostSum(HOST_ROW.DECISIONS + i),
    ]);
    return Object.fromEntries(counts) as Record<DecisionReason, number>;
  }
}

/** The image references of a caller's list, as the owners spell them. */
function listedRefs(imageRefs: unknown): string[] {
  const isIterable =
    typeof imageRefs === 'object' && imageRefs !== null && Symbol.iterator in imageRefs;
  if (!isIterable) throw invalidArgument('imageRefs', 'must be an iterable of strings');
  return Array.from(imageRefs as Iterable<unknown>, (imageRef, i) => {
    const problem = textProblem(`imageRefs[${i}]`, imageRef);
    if (problem !== undefined) throw problem;
    return wellFormed(imageRef as string);
  });
}

function checkedOptions<T extends { signal?: AbortSignal }>(options: T): T {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal)) {
    throw invalidArgument('options.signal', 'must be an AbortSignal');
  }
  return options;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function textProblem(argument: string, value: unknown): PullManagerError | undefined {
  if (typeof value !== 'string') return invalidArgument(argument, 'must be a string');
  if (value.length <= TEXT_LENGTH_MAX) return undefined;
  return invalidArgument(argument, `must have at most ${TEXT_LENGTH_MAX} characters`);
}

/** What `promise` gives, or a rejection as soon as the signal is aborted. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortedError('the pull', signal.reason));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
