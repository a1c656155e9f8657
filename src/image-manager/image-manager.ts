/**
 * Makes sure that an image is on the node and that a workload may use it.
 *
 * Here is what callers see. Requests are served by `ensure-image.ts`; pulls are made by `pull.ts`, equal
 * ones as one by `SharedPulls`; what became of those that the runtime left open `UnansweredPulls` finds
 * out; outcomes and collections are kept from undoing each other by the `RecordKeeper`.
 */
import { signalOf } from '../engine/arguments.ts';
import { closedError, errorCode } from '../errors.ts';
import {
  closeEmitters,
  type Emitters,
  type EventListener,
  imageManagerEmitters,
  listenTo,
  type Unsubscribe,
} from '../events/emitter.ts';
import type { ImageManagerEvents } from '../events/messages.ts';
import type { PruneResult } from '../image-pull-manager.ts';
import type { Logger } from '../logger.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';
import { abortListeners } from '../util/abort-listeners.ts';
import { type LinkedSignal, linkedSignal } from '../util/linked-signal.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { within } from '../util/within.ts';
import { BackOff } from './back-off.ts';
import { BackgroundWork } from './background-work.ts';
import { checkedQuestion, checkedRequest } from './check-request.ts';
import { type EnsureTools, ensureImage } from './ensure-image.ts';
import { ImageManagerMetrics } from './image-manager-metrics.ts';
import { OpenNames } from './open-names.ts';
import { type ImageManagerOptions, resolveImageManagerOptions } from './options.ts';
import { PresentImages } from './present-images.ts';
import { PresentedCredentials } from './presented-credentials.ts';
import { type Pulled, type PullTools, pull } from './pull.ts';
import { RecordKeeper } from './record-keeper.ts';
import type {
  CheckedImage,
  CheckImageRequest,
  EnsuredImage,
  EnsureImageRequest,
  ImageManagerCallOptions,
} from './request.ts';
import { listedIdsOf } from './runtime-answers.ts';
import { requestedName } from './runtime-name.ts';
import { Semaphore } from './semaphore.ts';
import { SharedPulls } from './shared-pulls.ts';
import { TokenBucket } from './token-bucket.ts';
import { UnansweredPulls } from './unanswered-pulls.ts';
import { endReason, unlessEnded } from './unless-ended.ts';

const MS_PER_SECOND = 1_000;
/** Longer than what `close` waits for takes while pull manager and runtime answer. */
const CLOSE_LIMIT_MS = 10_000;

/**
 * Makes sure that images may be used.
 *
 * ```js
 * import { criRuntime, ImageManager, PullManager } from 'pullwarden';
 *
 * const runtime = criRuntime({ socket: '/run/containerd/containerd.sock' });
 * const pullManager = await PullManager.open({ imageService: runtime });
 * const images = new ImageManager({ pullManager, runtime });
 * const { imageRef } = await images.ensureImage({
 *   image: 'registry.example.com/team-a/app:1',
 *   pullPolicy: 'IfNotPresent',
 *   podUid: pod.uid,
 *   credentials: () => credentialsOf(pod),
 * });
 * ```
 *
 * One image manager for a pull manager and runtime. All methods may be called concurrently, from the
 * thread that made it.
 */
export class ImageManager implements AsyncDisposable {
  readonly #runtime: ImageRuntime;
  readonly #logger: Logger;
  readonly #keeper: RecordKeeper;
  readonly #present: PresentImages;
  readonly #unanswered: UnansweredPulls;
  readonly #pulls: SharedPulls;
  readonly #tools: EnsureTools;
  readonly #background: BackgroundWork;
  readonly #metrics = new ImageManagerMetrics();
  readonly #events: Emitters<ImageManagerEvents>;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  /**
   * Takes over the intents that an earlier run left, if the pull manager can list them.
   *
   * Errors: `INVALID_ARGUMENT` naming the option.
   */
  constructor(options: ImageManagerOptions) {
    const resolved = resolveImageManagerOptions(options);
    const { pullManager, runtime, logger, unansweredGraceMs: graceMs } = resolved;
    this.#runtime = runtime;
    this.#logger = logger;
    this.#events = imageManagerEmitters({ manager: this, logger });
    const now = (): number => performance.now();
    const keeper = new RecordKeeper(pullManager);
    this.#keeper = keeper;
    const { unansweredPullSettled } = this.#events;
    const common = { pullManager, runtime, openNames: new OpenNames(), logger };
    const unanswered = new UnansweredPulls({
      ...common,
      keeper,
      graceMs,
      onSettled: (settled) => unansweredPullSettled.emit(settled),
    });
    this.#unanswered = unanswered;
    this.#present = new PresentImages({ ...common, unanswered });
    this.#background = new BackgroundWork(this.#closing.signal);
    const tools: PullTools = {
      ...common,
      keeper,
      unanswered,
      background: this.#background,
      slots: new Semaphore(resolved.maxParallelPulls),
      rateLimit: new TokenBucket(resolved.qps, resolved.burst, now),
      events: this.#events,
    };
    this.#pulls = new SharedPulls(async (order, signal, shared) => {
      const startedMs = performance.now();
      const pulled = await pull(order, tools, signal, shared);
      void this.#measure(pulled, performance.now() - startedMs);
      return pulled;
    });
    this.#tools = {
      runtime,
      present: this.#present,
      pulls: this.#pulls,
      backOff: new BackOff(resolved.backOffMs, resolved.backOffMaxMs, now),
      metrics: this.#metrics,
    };
    // Kept, so that no request adds a listener to the signal and removes it again.
    abortListeners.add(this.#closing.signal, () => {});
    this.#background.untilDone(() => this.#adoptIntents());
    const { collectEveryMs } = resolved;
    if (collectEveryMs > 0) this.#background.every(collectEveryMs, () => this.#collectUnasked());
  }

  /**
   * Makes sure that the image is on the node and that who presents the credentials may use it: asks
   * the registry with them where the records do not say so.
   *
   * Rejects with an `EnsureImageError`, whose `code` says what to do; with a `PullManagerError` of
   * code `ABORTED` or `CLOSED`, or `INVALID_ARGUMENT` naming the field of the request.
   */
  ensureImage(
    request: EnsureImageRequest,
    options: ImageManagerCallOptions = {},
  ): Promise<EnsuredImage> {
    let asked: Required<EnsureImageRequest>;
    let linked: LinkedSignal;
    try {
      if (this.#closing.signal.aborted) throw closedError('ensureImage', 'the image manager');
      // Read once: what is asked must be what was checked, also where the caller uses the object again.
      asked = checkedRequest(request);
      linked = linkedSignal(this.#closing.signal, signalOf(options));
    } catch (error) {
      return Promise.reject(error);
    }
    const ensured = ensureImage(asked, this.#tools, linked);
    if (this.#events.ensure.isWatched) {
      const { image, podUid, pullPolicy } = asked;
      this.#events.ensure.emitAfter(ensured, { image, podUid, pullPolicy }, (answer) => answer);
    }
    return ensured;
  }

  /**
   * Says whether a pod may use the copy of an image that is on the node, and why, as `ensureImage`
   * would decide it for `IfNotPresent`. Pulls nothing and records nothing: an answer that is acted on
   * later may no longer be true, where `ensureImage` makes it so.
   *
   * Where credentials cannot be looked up, the answer is "must pull", with reason and cause. Rejects
   * with an `EnsureImageError` of code `ErrImageInspect` where the runtime cannot say what it has, and
   * `ErrInvalidImageName` where it cannot be asked; with `ABORTED`, `CLOSED`, or `INVALID_ARGUMENT` naming the field of the request.
   */
  async check(
    request: CheckImageRequest,
    options: ImageManagerCallOptions = {},
  ): Promise<CheckedImage> {
    if (this.#closing.signal.aborted) throw closedError('check', 'the image manager');
    const { image, imageRef, credentials } = checkedQuestion(request);
    const { signal, unlink } = linkedSignal(this.#closing.signal, signalOf(options));
    try {
      return await unlessEnded(async () => {
        const found =
          imageRef === undefined
            ? await this.#present.find(image, requestedName(image), signal)
            : await this.#present.ofId(image, imageRef, signal);
        const present = found ?? { imageRef: '', openNames: [] };
        const presented = new PresentedCredentials(credentials);
        return await this.#present.check({ image, present, presented, signal });
      }, signal);
    } catch (error) {
      throw signal.aborted ? endReason(signal.reason) : error;
    } finally {
      unlink();
    }
  }

  /**
   * Deletes the records of images that the runtime no longer has. Rejects where the runtime does not
   * list its images; nothing is deleted then. Errors: `RUNTIME_FAILED`, `ABORTED`, `CLOSED`, and those
   * of the pull manager.
   */
  async collect(options: ImageManagerCallOptions = {}): Promise<PruneResult> {
    if (this.#closing.signal.aborted) throw closedError('collect', 'the image manager');
    return this.#collect(signalOf(options), false);
  }

  /** Hears of an event of this manager. Errors: `INVALID_ARGUMENT` for one that there is not. */
  on<Name extends keyof ImageManagerEvents>(
    event: Name,
    listener: EventListener<ImageManagerEvents[Name]>,
  ): Unsubscribe {
    return listenTo(this.#events, event, listener);
  }

  /** Prometheus text under upstream's metric names. Also after `close`. */
  async metrics(): Promise<string> {
    return this.#metrics.exposition();
  }

  /**
   * Ends what is under way: requests reject with `CLOSED`, pulls are aborted. Takes some seconds
   * where pulls were under way. Intents of pulls of which it is not known what became of them stay;
   * the next image manager on the same store takes them over. Idempotent. Leaves pull manager and
   * runtime open.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close().finally(() => closeEmitters(this.#events));
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort(closedError('the request', 'the image manager'));
    // A store that never answers must not keep who closes it next.
    await within(CLOSE_LIMIT_MS, this.#ended());
  }

  async #ended(): Promise<void> {
    await this.#pulls.ended();
    await this.#unanswered.close();
    await this.#background.ended();
  }

  async #collect(given: AbortSignal | undefined, periodic: boolean): Promise<PruneResult> {
    const linked = linkedSignal(this.#closing.signal, given);
    let imageCount: number | undefined;
    const collected = this.#keeper.collect(async () => {
      const images = await unlessEnded(
        () => this.#runtime.listImages(linked.signal),
        linked.signal,
      );
      imageCount = images.length;
      return listedIdsOf(images);
    });
    if (this.#events.collect.isWatched) {
      this.#events.collect.emitAfter(collected, { periodic }, (result) => ({
        result,
        ...(imageCount === undefined ? {} : { imageCount }),
      }));
    }
    return untilAborted(collected, linked.signal, endReason).finally(() => linked.unlink());
  }

  async #collectUnasked(): Promise<void> {
    try {
      const { pruned, errors } = await this.#collect(undefined, true);
      this.#logger.debug('records of images that are gone were deleted', { pruned });
      for (const { code } of errors) this.#logger.warn('a record could not be deleted', { code });
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#logger.warn('records could not be collected', { code: errorCode(error) });
    }
  }

  async #adoptIntents(): Promise<boolean> {
    try {
      await this.#unanswered.adopt();
      return true;
    } catch (error) {
      if (this.#closing.signal.aborted) return true;
      this.#logger.warn('intents of an earlier run cannot be taken over', {
        code: errorCode(error),
      });
      return false;
    }
  }

  /** Nobody waits for it: the size takes another call. Never rejects. */
  async #measure({ imageRef }: Pulled, durationMs: number): Promise<void> {
    let sizeBytes: unknown;
    try {
      if (this.#runtime.reportsSizes === true) {
        sizeBytes = (await this.#runtime.imageStatus(imageRef, this.#closing.signal))?.sizeBytes;
      }
    } catch {
      // The pull counts all the same, without its size.
    }
    const isKnown = typeof sizeBytes === 'number' && !Number.isNaN(sizeBytes);
    this.#metrics.pulled(durationMs / MS_PER_SECOND, isKnown ? (sizeBytes as number) : undefined);
  }
}
