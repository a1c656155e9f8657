/**
 * One request: the copy on the node where the pod may use it, else a pull.
 *
 * Most requests end with the copy. So nothing but the runtime's answer is waited for where the image is
 * proven, and each step that waits for others ends with the signal by itself.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, EnsureImageExists.
 */
import type { PullCredential } from '../credentials/pull-credential.ts';
import { quote } from '../errors.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';
import type { LinkedSignal } from '../util/linked-signal.ts';
import type { BackOff } from './back-off.ts';
import { credentialsFailed, EnsureImageError, neverPull } from './ensure-image-error.ts';
import type { ImageManagerMetrics, Seen } from './image-manager-metrics.ts';
import {
  inspectFailed,
  isLetInAtOnce,
  type PresentImage,
  type PresentImages,
} from './present-images.ts';
import { PresentedCredentials } from './presented-credentials.ts';
import type { PullOrder } from './pull.ts';
import type { EnsuredImage, EnsureImageRequest } from './request.ts';
import { imageStatus } from './runtime-answers.ts';
import { requestedName } from './runtime-name.ts';
import type { SharedPulls } from './shared-pulls.ts';
import { endReason, unlessEnded } from './unless-ended.ts';

/** What requests are served with. */
export interface EnsureTools {
  readonly runtime: ImageRuntime;
  readonly present: PresentImages;
  readonly pulls: SharedPulls;
  readonly backOff: BackOff;
  readonly metrics: ImageManagerMetrics;
}

/** Serves a checked request and counts it; `linked` is its own. Errors: those of `ImageManager.ensureImage`. */
export async function ensureImage(
  request: Required<EnsureImageRequest>,
  tools: EnsureTools,
  linked: LinkedSignal,
): Promise<EnsuredImage> {
  const { image, podUid, pullPolicy } = request;
  const { present } = tools;
  const { signal } = linked;
  let isPresent: Seen = 'unknown';
  let isPullRequired: Seen = 'unknown';
  try {
    if (signal.aborted) throw endReason(signal.reason);
    const runtimeName = requestedName(image);
    const presented = new PresentedCredentials(request.credentials);
    if (pullPolicy !== 'Always') {
      let copy: PresentImage | undefined;
      // As `PresentImages.find` does, without the promise that its call would be.
      try {
        const areNamesKnown = present.areNamesKnown || (await present.learnNames(signal));
        const found = await imageStatus(tools.runtime, runtimeName, signal);
        signal.throwIfAborted();
        copy = present.copyOf(image, found, areNamesKnown);
      } catch (error) {
        throw inspectFailed(image, error, signal);
      }
      isPresent = copy === undefined ? 'false' : 'true';
      if (copy !== undefined) {
        const question = { image, present: copy, presented, signal };
        const mustPull = present.mustPull(question);
        if (
          isLetInAtOnce(question, mustPull) ||
          (await present.mayUse(question, mustPull, pullPolicy))
        ) {
          isPullRequired = 'false';
          return { imageRef: copy.imageRef, pulled: false };
        }
      }
      // The same, whether the image is absent or not for this pod.
      if (pullPolicy === 'Never') throw neverPull(image);
    }
    isPullRequired = 'true';
    const isAbsent = isPresent === 'false';
    return await pullFor({ image, podUid, runtimeName, isAbsent }, presented, tools, signal);
  } finally {
    linked.unlink();
    tools.metrics.ensured(pullPolicy, isPresent, isPullRequired);
  }
}

async function pullFor(
  order: Omit<PullOrder, 'credentials'>,
  presented: PresentedCredentials,
  tools: EnsureTools,
  signal: AbortSignal,
): Promise<EnsuredImage> {
  const credentials = await credentialsFor(order.image, presented, signal);
  const imageRef = await pullUnlessBackedOff({ ...order, credentials }, tools, signal);
  return { imageRef, pulled: true };
}

async function credentialsFor(
  image: string,
  presented: PresentedCredentials,
  signal: AbortSignal,
): Promise<readonly PullCredential[]> {
  try {
    return await unlessEnded(() => presented.all(), signal);
  } catch (error) {
    throw signal.aborted ? endReason(signal.reason) : credentialsFailed(image, error);
  }
}

async function pullUnlessBackedOff(
  order: PullOrder,
  { pulls, backOff }: EnsureTools,
  signal: AbortSignal,
): Promise<string> {
  const { image, podUid } = order;
  // No image name has a space, so each pair has a key of its own.
  const key = `${image} ${podUid}`;
  // Before an intent is written [W19].
  const refusal = backOff.refusal(key);
  if (refusal !== undefined) {
    const message = `Back-off pulling image ${quote(image)}: ${refusal.text}`;
    const retryAfterMs = refusal.leftMs;
    throw new EnsureImageError('ErrImagePullBackOff', message, { image, retryAfterMs });
  }
  try {
    const { imageRef } = await pulls.pull(order, signal);
    backOff.tidy();
    return imageRef;
  } catch (error) {
    if (signal.aborted) throw endReason(signal.reason);
    const isPullFailure = error instanceof EnsureImageError && error.code !== 'ErrImagePullIntent';
    if (isPullFailure) backOff.failed(key, error.message);
    throw error;
  }
}
