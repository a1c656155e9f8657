/**
 * The image pull manager: the five operations of the reference, and what the reference lacks.
 *
 * Here is what callers see, and what their arguments must be. The work is done elsewhere: the
 * `Decider` decides, the `PullWriter` writes intents and outcomes, `OngoingPulls` runs the pulls of
 * `withPull`, the `Inventory` lists and prunes. The `Host` holds this thread's end of the engine.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go, KEP-2535.
 */
import { checkCompatibility } from './compatibility.ts';
import { listedRefs, signalOf, textProblem } from './engine/arguments.ts';
import type { Decider, DecisionRequest } from './engine/decider.ts';
import { type Decision, failed } from './engine/decision.ts';
import { decideBatch } from './engine/decision-batch.ts';
import { abortedOpening, Engine, type EngineHandle } from './engine/engine.ts';
import { engineStats, metricValues } from './engine/engine-stats.ts';
import { Host } from './engine/host.ts';
import { Inventory } from './engine/inventory.ts';
import { MUST_PULL, NEED_NOT_PULL } from './engine/known-answers.ts';
import { OngoingPulls } from './engine/ongoing-pulls.ts';
import { PullWriter } from './engine/pull-writer.ts';
import { reconcile } from './engine/reconcile.ts';
import { abortedError, closedError, invalidArgument, type PullManagerError } from './errors.ts';
import { CHANNELS } from './events/channels.ts';
import {
  closeEmitters,
  type EventListener,
  listenTo,
  listenToAll,
  type Unsubscribe,
} from './events/emitter.ts';
import type { PullManagerEvents } from './events/messages.ts';
import type { ImagePullManager, PruneResult } from './image-pull-manager.ts';
import type { Logger } from './logger.ts';
import { exposition, type MetricValues } from './metrics/exposition.ts';
import { HOST_ROW, SharedMetrics } from './metrics/shared-metrics.ts';
import type { EngineStats } from './metrics/stats.ts';
import {
  type PullManagerOptions,
  type ResolvedOptions,
  resolveOptions,
  resolvePolicy,
} from './options.ts';
import type { ImagePullPolicyEnforcer, VerificationPolicy } from './policies/enforcer.ts';
import { ENGINE_STATE, SharedState } from './protocol/shared-state.ts';
import {
  type ImagePullCredentials,
  type ImagePulledRecord,
  type ImagePullIntent,
  type Listing,
  NO_CREDENTIALS,
  type PodCredentials,
  type PodCredentialsSource,
} from './records/record.ts';
import { untilAborted } from './util/until-aborted.ts';
import { within } from './util/within.ts';

/** What `PullManager.attach` takes besides the handle. */
export interface AttachOptions {
  /**
   * Needed where the engine was opened with an enforcer of the caller's own: those do not travel.
   * Data is read at the engine's compatibility level.
   */
  readonly policy?: ImagePullPolicyEnforcer | VerificationPolicy;
  /** @default silent */
  readonly logger?: Logger;
}

/** Per-call options of decisions. */
export interface DecideOptions {
  /** Ends the wait for a credentials source: the decision is then "must pull" with cause `ABORTED`. */
  readonly signal?: AbortSignal;
  /**
   * Whether a secret that is recorded under other coordinates, or with another hash, is recorded as it
   * was presented; false: asking changes nothing. @default true, as the reference
   */
  readonly recordsMatch?: boolean;
}

/** A constant of the module: see `CHANNELS`. */
const DECISION_CHANNEL = CHANNELS.decision;
/** How long `close` waits for a store to answer, and again for its owners to end. */
const CLOSE_LIMIT_MS = 10_000;

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
  readonly #host: Host;
  /** The host's, at hand for decisions. */
  readonly #decider: Decider;
  readonly #writer: PullWriter;
  readonly #pulls: OngoingPulls;
  readonly #inventory: Inventory;
  /** Only in the thread that opened the engine. */
  readonly #engine: Engine | undefined;
  #closing: Promise<void> | undefined;

  private constructor(host: Host, engine: Engine | undefined) {
    this.handle = host.handle;
    this.#host = host;
    host.origin.manager = this;
    this.#decider = host.decider;
    this.#writer = new PullWriter(host);
    this.#pulls = new OngoingPulls(this.#writer);
    this.#inventory = new Inventory(host);
    this.#engine = engine;
  }

  /**
   * Opens the store, starts the threads, and reconciles the intents that an earlier run left.
   *
   * Errors: `INVALID_ARGUMENT` naming the option, `POLICY_UNKNOWN`, `ALLOWLIST_PATTERN_INVALID`,
   * `STORE_IN_USE`, `STORE_UNAVAILABLE`, `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`, `WORKER_LOST`,
   * `ABORTED`.
   * After an error nothing is left open.
   */
  static async open(options?: PullManagerOptions): Promise<PullManager> {
    const resolved = resolveOptions(options);
    const { signal } = resolved;
    if (isAborted(signal)) throw abortedOpening(signal?.reason);
    const engine = await Engine.start(resolved);
    const { policy, logger, listeners } = resolved;
    const host = Host.join({ handle: engine.handle, policy, logger, engine });
    listenToAll(host.events, listeners);
    const manager = new PullManager(host, engine);
    try {
      const reconciled = manager.#reconcile(resolved);
      // Store and runtime may never answer.
      await (signal === undefined ? reconciled : untilAborted(reconciled, signal, abortedOpening));
      signal?.throwIfAborted();
    } catch (error) {
      await manager.close();
      throw isAborted(signal) ? abortedOpening(signal?.reason) : error;
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
    const compatibility = checkCompatibility(handle.compatibility, 'handle.compatibility');
    const isOwn = options.policy !== undefined;
    const policy = isOwn ? options.policy : handle.policy;
    const policyLevel = isOwn ? compatibility : handle.policyCompatibility;
    checkCompatibility(policyLevel, 'handle.policyCompatibility');
    if (policy === undefined) {
      throw invalidArgument('options.policy', 'is needed: the engine has an enforcer of its own');
    }
    const { logger } = resolveOptions(
      options.logger === undefined ? {} : { logger: options.logger },
    );
    const enforcer = resolvePolicy(policy, policyLevel).policy;
    const host = Host.join({ handle, policy: enforcer, logger, engine: undefined });
    return new PullManager(host, undefined);
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
    return this.#writer.recordIntent(image);
  }

  /**
   * Records that a pull of `image` gave `imageRef` and that `credentials` opened it (`null`:
   * unknown), and ends the pull. Resolves when that would survive a power cut. Where it rejects,
   * the intent stays, and with it the protection of the image.
   *
   * Errors: `INVALID_ARGUMENT`, `IMAGE_NAME_INVALID`, `STORE_UNAVAILABLE`, `WORKER_LOST`,
   * `QUEUE_FULL`, `CLOSED`.
   */
  recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    const refused = this.#refusal('recordImagePulled') ?? textProblem('image', image);
    if (refused !== undefined) return Promise.reject(refused);
    try {
      return this.#writer.recordPulled(image, imageRef, credentials);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Ends a pull of `image` that gave nothing. With the last pull of an image its intent goes.
   *
   * Errors: as `recordPullIntent`; the intent then stays.
   */
  recordImagePullFailed(image: string): Promise<void> {
    const refused = this.#refusal('recordImagePullFailed') ?? textProblem('image', image);
    if (refused !== undefined) return Promise.reject(refused);
    return this.#writer.recordFailure(image);
  }

  /**
   * Whether the registry must be asked before a pod that presents `credentials` may use the copy
   * of `image` on the node. Every storage trouble answers `true`.
   *
   * @param imageRef The runtime's reference of the copy; empty where there is none.
   * @param credentials What the pod presents, or a function that is asked at most once, and only
   * where the answer depends on it. At compatibility v1.33 and v1.34 it is asked first, on every
   * call: also where `imageRef` is empty or the policy exempts the image [W31]. @default none
   *
   * Rejects only where that function fails, with what it threw.
   */
  mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource = NO_CREDENTIALS,
  ): Promise<boolean> {
    if (typeof credentials !== 'function') {
      const decision = this.decideSync(image, imageRef, credentials);
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
      signal = signalOf(options);
    } catch (error) {
      return Promise.resolve(failed(error as PullManagerError));
    }
    // Only what says so on purpose keeps a decision from what the reference does.
    return this.#decide(image, imageRef, credentials, signal, options.recordsMatch !== false);
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
    const decision = this.#decider.decideSync(image, imageRef, credentials);
    if (DECISION_CHANNEL.hasSubscribers) this.#tell(image, imageRef, decision);
    return decision;
  }

  /** One decision for each request, in their order; those that need a worker share one trip. */
  decideBatch(requests: readonly DecisionRequest[]): Promise<Decision[]> {
    const decided = decideBatch(this.#decider, requests);
    if (DECISION_CHANNEL.hasSubscribers) this.#tellAll(requests, decided);
    return decided;
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
    const signal = signalOf(options);
    if (isAborted(signal)) throw abortedError('the pull', signal?.reason);
    await this.recordPullIntent(image);
    return this.#pulls.run(image, pull, signal);
  }

  /**
   * Deletes the records of images that are not in `imageRefs` and were last updated before `until`.
   *
   * A pull that adds nothing to a record leaves the record's time as it was, as in the reference. So list
   * also what was pulled since the runtime was asked, and record no pull before this call has ended:
   * an image that loses its record counts as preloaded. `ImageManager.collect` sees to that.
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
    return this.#inventory.prune(listedRefs(imageRefs), untilMs);
  }

  /** All intents in the store. Errors: `WORKER_LOST`, `STORE_UNAVAILABLE`, `CLOSED`. */
  async listImagePullIntents(): Promise<Listing<ImagePullIntent, PullManagerError>> {
    const refused = this.#refusal('listImagePullIntents');
    if (refused !== undefined) throw refused;
    return this.#inventory.intents();
  }

  /** All pulled records in the store. Errors: as `listImagePullIntents`. */
  async listImagePulledRecords(): Promise<Listing<ImagePulledRecord, PullManagerError>> {
    const refused = this.#refusal('listImagePulledRecords');
    if (refused !== undefined) throw refused;
    return this.#inventory.pulledRecords();
  }

  /** One pulled record. Errors: `RECORD_CORRUPT`, `STORE_UNAVAILABLE`, `WORKER_LOST`, `CLOSED`. */
  async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
    const refused = this.#refusal('getImagePulledRecord') ?? textProblem('imageRef', imageRef);
    if (refused !== undefined) throw refused;
    return this.#inventory.pulledRecord(imageRef);
  }

  /**
   * Calls `listener` at each event of this manager, in this thread, during the call that caused it;
   * the result ends that. What a listener throws is logged and goes no further. The event `reconcile`
   * is over when the manager is there: give its listener to `open`.
   *
   * ```js
   * const stop = manager.on('decision', ({ image, decision }) => {
   *   if (decision.mustPull) console.log(image, decision.reason);
   * });
   * ```
   *
   * Errors: throws `INVALID_ARGUMENT` for what is no event or no listener.
   */
  on<Name extends keyof PullManagerEvents>(
    event: Name,
    listener: EventListener<PullManagerEvents[Name]>,
  ): Unsubscribe {
    return listenTo(this.#host.events, event, listener);
  }

  /** Counters of the engine; see `EngineStats`. Also after `close`. */
  stats(): EngineStats {
    return engineStats(this.#host);
  }

  /** Prometheus text under upstream's metric names. Also after `close`. */
  async metrics(): Promise<string> {
    return exposition(this.metricValues());
  }

  /** The numbers behind `metrics`, for exporters of other kinds. Also after `close`. */
  metricValues(): MetricValues {
    return metricValues(this.#host);
  }

  /** Aborted as soon as `close` is called, or the signal given to `open` is aborted. */
  get closing(): AbortSignal {
    return this.#pulls.closing;
  }

  /**
   * Refuses new calls, ends waits for credentials and pulls in `withPull`, finishes what was called
   * before, and closes the store; an attached manager only leaves. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close().finally(() => closeEmitters(this.#host.events));
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
    else signal.addEventListener('abort', onAbort, { once: true, signal: this.#pulls.closing });
  }

  async #close(): Promise<void> {
    const { client } = this.#host;
    this.#decider.close();
    await this.#pulls.close();
    this.#engine?.beginClose();
    // A store that never answers must not keep the agent: what waits for it is then rejected.
    await within(CLOSE_LIMIT_MS, client.drain());
    const stopped = this.#engine?.stop(CLOSE_LIMIT_MS);
    if (client.pending > 0) client.leave(closedError('this call'));
    await stopped;
    client.leave(closedError('this call'));
  }

  #decide(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource,
    signal: AbortSignal | undefined,
    recordsMatch = true,
  ): Promise<Decision> {
    const decided = this.#decider.decide(image, imageRef, credentials, signal, recordsMatch);
    if (DECISION_CHANNEL.hasSubscribers) {
      // The first to wait for it, so that listeners hear before the caller does.
      void decided.then((decision) => this.#tell(image, imageRef, decision));
    }
    return decided;
  }

  #tell(image: string, imageRef: string, decision: Decision | undefined): void {
    if (decision !== undefined) this.#host.events.decision.emit({ image, imageRef, decision });
  }

  #tellAll(requests: readonly DecisionRequest[], decided: Promise<Decision[]>): void {
    const tell = (decisions: readonly Decision[]): void => {
      for (const [i, decision] of decisions.entries()) {
        const request: DecisionRequest | undefined | null = requests[i];
        if (request) this.#tell(request.image, request.imageRef, decision);
      }
    };
    // What is no list of requests, the caller is told.
    decided.then(tell, () => {});
  }

  async #mustAttempt(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource,
  ): Promise<boolean> {
    const { mustPull, cause } = await this.#decide(image, imageRef, credentials, undefined);
    if (cause?.code === 'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED') throw cause.cause;
    return mustPull;
  }

  async #reconcile({ imageService, logger, signal }: ResolvedOptions): Promise<void> {
    const { row, events } = this.#host;
    const startedAtMs = performance.now();
    let failureCount = 0;
    const intents = await this.#inventory.intents();
    const adopted = await reconcile({
      intents,
      imageService,
      adopt: async (image, imageRef) => this.#writer.adopt(image, imageRef, null),
      onFailure: () => {
        failureCount++;
        row[HOST_ROW.RECONCILE_FAILURES]!++;
      },
      logger,
      signal,
    });
    if (!events.reconcile.isWatched) return;
    const durationMs = performance.now() - startedAtMs;
    const foundCount = intents.records.length;
    events.reconcile.emit({ foundCount, adopted, failureCount, durationMs });
  }

  #refusal(what: string): PullManagerError | undefined {
    const isOpen =
      this.#closing === undefined && this.#host.state.engineState === ENGINE_STATE.OPEN;
    return isOpen ? undefined : closedError(what);
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
