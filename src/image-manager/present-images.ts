/**
 * Copies of images that are on the node, and whether a pod may use them without a pull.
 *
 * A request that ends early is told so by the image manager, whatever is awaited here. What is left
 * then of the work ends at its next step.
 */

import { quote } from '../errors.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import type { Logger } from '../logger.ts';
import type { PullManager } from '../pull-manager.ts';
import type { PodCredentialsSource } from '../records/record.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';
import { credentialsFailed, EnsureImageError } from './ensure-image-error.ts';
import type { OpenNames } from './open-names.ts';
import type { PresentedCredentials } from './presented-credentials.ts';
import { runtimeErrorOf } from './pull-failure.ts';
import type { CheckedImage, EnsureImageRequest } from './request.ts';
import { idOf } from './runtime-answers.ts';
import type { UnansweredPulls } from './unanswered-pulls.ts';
import { endReason } from './unless-ended.ts';

/** A copy on the node. */
export interface PresentImage {
  readonly imageRef: string;
  /** Under which else it is being pulled; `undefined`: it is not known what an earlier run left. */
  readonly openNames: readonly string[] | undefined;
}

/** Who asks for a copy. */
export interface Question {
  readonly image: string;
  readonly present: PresentImage;
  readonly presented: PresentedCredentials;
  readonly signal: AbortSignal;
}

export interface PresentImagesOptions {
  readonly pullManager: ImagePullManager;
  readonly runtime: ImageRuntime;
  readonly openNames: OpenNames;
  readonly unanswered: Pick<UnansweredPulls, 'hasListed' | 'list'>;
  readonly logger: Logger;
}

/** The answer where it is not known what an earlier run left. */
const UNKNOWN = {
  mustPull: true,
  reason: 'error',
  detail:
    'It is not known which pulls an earlier run left: the image may have come of one of them.',
} as const;

/** Used by one thread. */
export class PresentImages {
  readonly #options: PresentImagesOptions;

  constructor(options: PresentImagesOptions) {
    this.#options = options;
  }

  /** The copy on the node, if there is one. Errors: `ErrImageInspect`, `ABORTED`, `CLOSED`. */
  async find(
    image: string,
    runtimeName: string,
    signal: AbortSignal,
  ): Promise<PresentImage | undefined> {
    const { runtime, openNames } = this.#options;
    const areKnown = this.#options.unanswered.hasListed || (await this.#lists());
    try {
      signal.throwIfAborted();
      const status = await runtime.imageStatus(runtimeName, signal);
      signal.throwIfAborted();
      if (status === undefined) return undefined;
      const others = areKnown ? openNames.othersThan(image, status) : undefined;
      return { imageRef: idOf(status), openNames: others };
    } catch (error) {
      if (signal.aborted) throw endReason(signal.reason);
      const cause = runtimeErrorOf(error, undefined, signal);
      const message = `the runtime could not say whether it has image ${quote(image)}: ${cause.reason ?? cause.message}`;
      throw new EnsureImageError('ErrImageInspect', message, { image, cause });
    }
  }

  /**
   * The copy of that id, of which the names are asked for only where a pull is under way. Errors as
   * `find`.
   */
  async ofId(image: string, imageRef: string, signal: AbortSignal): Promise<PresentImage> {
    const areKnown = this.#options.unanswered.hasListed || (await this.#lists());
    signal.throwIfAborted();
    if (areKnown && this.#options.openNames.isEmpty) return { imageRef, openNames: [] };
    const found = await this.find(image, imageRef, signal);
    return { imageRef, openNames: found === undefined ? [] : found.openNames };
  }

  /** Whether the pod may use it. Errors: `ErrImageCredentials`, `ABORTED`, `CLOSED`. */
  async mayUse(
    { image, pullPolicy }: EnsureImageRequest,
    present: PresentImage,
    presented: PresentedCredentials,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { pullManager, logger } = this.#options;
    const ask = (name: string, credentials?: PodCredentialsSource): Promise<boolean> =>
      pullManager.mustAttemptImagePull(name, present.imageRef, credentials);
    try {
      // A pull manager of the caller's own may answer anything: only this lets a pod in.
      const isLetIn = (answer: boolean | undefined): boolean => answer === false;
      return isLetIn(await this.#decided({ image, present, presented, signal }, ask, isLetIn));
    } catch (error) {
      if (signal.aborted) throw endReason(signal.reason);
      // Another error than for an absent image would tell that it is there.
      if (pullPolicy !== 'Never') throw credentialsFailed(image, error);
      logger.warn('the credentials for an image could not be looked up', { image });
      return false;
    }
  }

  /** The decision that `mayUse` is made of, with its reason. Errors: `ABORTED`, `CLOSED`. */
  async check(question: Question): Promise<CheckedImage> {
    const { present, signal } = question;
    const { imageRef } = present;
    const { pullManager } = this.#options;
    const ask = async (
      name: string,
      credentials?: PodCredentialsSource,
    ): Promise<Omit<CheckedImage, 'imageRef'>> => {
      if (decides(pullManager)) {
        return pullManager.decide(name, imageRef, credentials, { signal, recordsMatch: false });
      }
      return {
        mustPull: (await pullManager.mustAttemptImagePull(name, imageRef, credentials)) !== false,
      };
    };
    const answer = await this.#decided(question, ask, ({ mustPull }) => mustPull === false);
    return { imageRef, ...(answer ?? UNKNOWN) };
  }

  /**
   * What is answered for a copy: about the image, and where that lets the pod in, about the pulls under
   * way that the copy may have come of; `undefined` where those are not known.
   */
  async #decided<Answer>(
    { image, present: { imageRef, openNames }, presented, signal }: Question,
    ask: (name: string, credentials?: PodCredentialsSource) => Promise<Answer>,
    isLetIn: (answer: Answer) => boolean,
  ): Promise<Answer | undefined> {
    const answer = await ask(image, presented.ofPod(signal));
    signal.throwIfAborted();
    if (!isLetIn(answer) || openNames?.length === 0) return answer;
    // Where it has come of one of them and is not recorded yet, it is not preloaded.
    const isRecorded = await this.#isRecorded(imageRef);
    signal.throwIfAborted();
    if (isRecorded) return await ask(image, presented.ofPod(signal));
    if (openNames === undefined) return undefined;
    for (const name of openNames) {
      const other = await ask(name);
      signal.throwIfAborted();
      if (!isLetIn(other)) return other;
    }
    return answer;
  }

  /** Finds out which pulls an earlier run left; false: that cannot be known. */
  async #lists(): Promise<boolean> {
    try {
      await this.#options.unanswered.list();
      return true;
    } catch {
      return false;
    }
  }

  /** Whether the decision has the last word: records tell all there is, or cannot be read. */
  async #isRecorded(imageRef: string): Promise<boolean> {
    const { pullManager } = this.#options;
    if (!readsRecords(pullManager)) return true;
    try {
      return (await pullManager.getImagePulledRecord(imageRef)) !== undefined;
    } catch {
      // A decision on such a record lets nobody in.
      return true;
    }
  }
}

function decides(
  pullManager: ImagePullManager,
): pullManager is ImagePullManager & Pick<PullManager, 'decide'> {
  return typeof (pullManager as Partial<PullManager>).decide === 'function';
}

function readsRecords(
  pullManager: ImagePullManager,
): pullManager is ImagePullManager & Pick<PullManager, 'getImagePulledRecord'> {
  return typeof (pullManager as Partial<PullManager>).getImagePulledRecord === 'function';
}
