/**
 * One pull: a slot, an intent, the credentials in turn, and exactly one outcome.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, pullImage; puller.go.
 */
import type { PullCredential } from '../credentials/pull-credential.ts';
import { abortedError, errorCode, type PullManagerError, quote } from '../errors.ts';
import type { Emitters } from '../events/emitter.ts';
import type { ImageManagerEvents } from '../events/messages.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import type { Logger } from '../logger.ts';
import {
  type ImageRuntime,
  ImageRuntimeError,
  type ImageRuntimeErrorKind,
} from '../runtime/image-runtime.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { within } from '../util/within.ts';
import type { BackgroundWork } from './background-work.ts';
import { EnsureImageError } from './ensure-image-error.ts';
import type { OpenNames } from './open-names.ts';
import { recordedCredentials } from './presented-credentials.ts';
import { pullFailureOf, runtimeErrorOf } from './pull-failure.ts';
import { mayBeDone, type RecordKeeper } from './record-keeper.ts';
import { pulledIdOf, type SeenRef, seenRef } from './runtime-answers.ts';
import type { Semaphore } from './semaphore.ts';
import type { SharedPull } from './shared-pulls.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { UnansweredPulls } from './unanswered-pulls.ts';

/** What pulls are made with. */
export interface PullTools {
  readonly pullManager: ImagePullManager;
  readonly runtime: ImageRuntime;
  readonly keeper: RecordKeeper;
  readonly unanswered: UnansweredPulls;
  readonly openNames: OpenNames;
  /** What could not be recorded is tried again there. */
  readonly background: BackgroundWork;
  readonly slots: Semaphore;
  readonly rateLimit: TokenBucket;
  readonly events: Emitters<ImageManagerEvents>;
  readonly logger: Logger;
}

/** What is to be pulled, and with what. */
export interface PullOrder {
  /** As requested: what intents and records are kept under. */
  readonly image: string;
  /** Of the request that caused the pull; only for events. */
  readonly podUid: string;
  /** What the runtime is asked for. */
  readonly runtimeName: string;
  /** Tried in turn; none: anonymously. */
  readonly credentials: readonly PullCredential[];
  /** Whether the runtime has said so when the pull was asked for; else it is asked when it begins. */
  readonly isAbsent: boolean;
}

/** What a pull gave. */
export interface Pulled {
  readonly imageRef: string;
  /** The one that worked; `undefined`: none was needed. */
  readonly credential: PullCredential | undefined;
}

/** How long an aborted pull may take to end: its answer, if it comes, is better than a guess. */
const ABORT_GRACE_MS = 1_000;

/**
 * Pulls, and records what came of it. Rejects with `EnsureImageError`, or with `ABORTED` once the
 * signal is aborted.
 *
 * The pull has ended for the records when this settles, unless it was left unanswered; then
 * `tools.unanswered` has taken it over.
 */
export async function pull(
  order: PullOrder,
  tools: PullTools,
  signal: AbortSignal,
  shared: SharedPull,
): Promise<Pulled> {
  await tools.slots.take(signal);
  try {
    // Before the intent: where the runtime is not asked, nothing has to be recorded.
    if (!tools.rateLimit.tryTake()) throw pullFailureOf(order.image, [overTheLimit()]);
    tools.openNames.begin(order.image);
    try {
      await recordIntent(order, tools);
      return await withEvents(order, tools, shared, () => tryInTurn(order, tools, signal));
    } finally {
      tools.openNames.end(order.image);
    }
  } finally {
    tools.slots.release();
  }
}

/** Tells of a pull for which the runtime is asked. */
async function withEvents(
  { image, podUid, credentials }: PullOrder,
  { events: { pullStarted, pullFinished, pullFailed } }: PullTools,
  shared: SharedPull,
  run: () => Promise<Pulled | FailedPull>,
): Promise<Pulled> {
  if (pullStarted.isWatched) {
    pullStarted.emit({ image, podUid, credentialCount: credentials.length });
  }
  const startedMs = performance.now();
  const outcome = await run();
  const { callerCount } = shared;
  const about = { image, podUid, callerCount, durationMs: performance.now() - startedMs };
  if ('error' in outcome) {
    pullFailed.emit({ ...about, ...outcome });
    throw outcome.error;
  }
  const { imageRef, credential } = outcome;
  const credentialKind = credential?.source.kind ?? 'none';
  pullFinished.emit({ ...about, imageRef, credentialKind });
  return outcome;
}

async function recordIntent(
  { image }: PullOrder,
  { pullManager, unanswered }: PullTools,
): Promise<void> {
  try {
    await unanswered.adopt();
    await pullManager.recordPullIntent(image);
  } catch (cause) {
    const message = `the pull of image ${quote(image)} was not begun: it could not be recorded`;
    throw new EnsureImageError('ErrImagePullIntent', message, { image, cause });
  }
}

/** A pull that gave nothing. */
interface FailedPull {
  readonly error: Error;
  /** False: the image may still appear. */
  readonly answered: boolean;
}

async function tryInTurn(
  order: PullOrder,
  tools: PullTools,
  signal: AbortSignal,
): Promise<Pulled | FailedPull> {
  const errors: ImageRuntimeError[] = [];
  const { image, credentials } = order;
  // An image that was there may have been removed, and its record, while the pull waited for its turn.
  const refBefore = order.isAbsent
    ? undefined
    : await seenRef(tools.runtime, order.runtimeName, signal);
  const inTurn = credentials.length === 0 ? [undefined] : credentials;
  for (const credential of inTurn) {
    if (signal.aborted) break;
    if (errors.length > 0 && !tools.rateLimit.tryTake()) {
      errors.push(overTheLimit());
      break;
    }
    const answer = await attempt(order, credential, tools, signal);
    if (typeof answer === 'string') {
      await recordPulled(image, answer, credential, tools);
      return { imageRef: answer, credential };
    }
    errors.push(answer);
    if (answer.answered) continue;
    // The image may still appear, and whose it then is nobody has shown.
    tools.unanswered.add(image);
    return { error: errorOf(image, errors, signal), answered: false };
  }
  const error = errorOf(image, errors, signal);
  if (await hasAppeared(refBefore, order, errors, tools, signal)) {
    tools.unanswered.add(image);
    return { error, answered: false };
  }
  await recordFailure(image, tools);
  return { error, answered: true };
}

/** Failures after which nothing can have come: the registry gave nothing. */
const EMPTY_HANDED: ReadonlySet<string> = new Set([
  'denied',
  'invalidName',
  'notFound',
] satisfies ImageRuntimeErrorKind[]);

/**
 * Whether the name stands for another image than before, though the pull has failed: a runtime may
 * fail at its last steps, after the image has become visible.
 */
async function hasAppeared(
  refBefore: SeenRef,
  order: PullOrder,
  errors: readonly ImageRuntimeError[],
  tools: PullTools,
  signal: AbortSignal,
): Promise<boolean> {
  if (errors.every(({ kind }) => EMPTY_HANDED.has(kind))) return false;
  const refAfter = await seenRef(tools.runtime, order.runtimeName, signal);
  // Not known, so it may have.
  return refAfter === null || (refAfter !== undefined && refAfter !== refBefore);
}

function errorOf(
  image: string,
  errors: readonly ImageRuntimeError[],
  signal: AbortSignal,
): EnsureImageError | PullManagerError {
  return signal.aborted ? abortedError('the pull', signal.reason) : pullFailureOf(image, errors);
}

/** The id of the image, or why there is none. */
async function attempt(
  { runtimeName }: PullOrder,
  credential: PullCredential | undefined,
  { runtime }: PullTools,
  signal: AbortSignal,
): Promise<string | ImageRuntimeError> {
  const auth = credential?.auth;
  try {
    const call = runtime.pullImage(runtimeName, auth, signal);
    return pulledIdOf(await withGrace(call, signal));
  } catch (error) {
    return runtimeErrorOf(error, auth, signal);
  }
}

/** What the call gives, also within the grace after an abort. */
async function withGrace(call: Promise<string>, signal: AbortSignal): Promise<string> {
  try {
    return await untilAborted(call, signal, () => new AbortedCall());
  } catch (error) {
    if (!(error instanceof AbortedCall)) throw error;
    if (await within(ABORT_GRACE_MS, call)) return await call;
    throw new ImageRuntimeError('aborted', 'the pull was aborted', { answered: false });
  }
}

/** Tells an abort from whatever a runtime may reject with. */
class AbortedCall extends Error {}

async function recordPulled(
  image: string,
  imageRef: string,
  credential: PullCredential | undefined,
  tools: PullTools,
): Promise<void> {
  // Where it fails, the registry has let this pod in all the same, so it may use the image. The intent
  // stays: others may not.
  await recordOutcome(image, tools, () =>
    tools.keeper.pulled(image, imageRef, recordedCredentials(credential)),
  );
}

async function recordFailure(image: string, tools: PullTools): Promise<void> {
  await recordOutcome(image, tools, () => tools.keeper.failed(image));
}

/** Records, or has it recorded later; never rejects. */
async function recordOutcome(
  image: string,
  { background, openNames, logger }: PullTools,
  record: () => Promise<void>,
): Promise<void> {
  const tried = async (): Promise<'recorded' | 'failed' | 'uncertain'> => {
    try {
      await record();
      return 'recorded';
    } catch (error) {
      const message = 'the outcome of a pull cannot be recorded; its intent stays';
      logger.error(message, { image, code: errorCode(error) });
      // What may be recorded must not be recorded again: that could end another pull of the image.
      return mayBeDone(error) ? 'uncertain' : 'failed';
    }
  };
  const first = await tried();
  if (first === 'recorded') return;
  // Until it is recorded; where that stays uncertain, for good.
  openNames.begin(image);
  if (first === 'uncertain') return;
  background.untilDone(async () => {
    const outcome = await tried();
    if (outcome === 'recorded') openNames.end(image);
    return outcome !== 'failed';
  });
}

function overTheLimit(): ImageRuntimeError {
  const reason = 'pull QPS exceeded';
  return new ImageRuntimeError('other', reason, { answered: true, reason });
}
