/**
 * Copies of images that are on the node, and whether a pod may use them without a pull.
 *
 * Each wait of `ensureImage` here ends with the signal; those of `check` the image manager ends. What is
 * left of the work then ends at its next step.
 */

import { NEED_NOT_PULL } from '../engine/known-answers.ts';
import { quote } from '../errors.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import type { RuntimeImage } from '../images/image-service.ts';
import type { PullPolicy } from '../images/pull-policy.ts';
import type { Logger } from '../logger.ts';
import type { PullManager } from '../pull-manager.ts';
import type { PodCredentialsSource } from '../records/record.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { credentialsFailed, EnsureImageError } from './ensure-image-error.ts';
import type { OpenNames } from './open-names.ts';
import type { PresentedCredentials } from './presented-credentials.ts';
import { runtimeErrorOf } from './pull-failure.ts';
import type { CheckedImage } from './request.ts';
import { idOf, imageStatus } from './runtime-answers.ts';
import type { UnansweredPulls } from './unanswered-pulls.ts';
import { endReason, unlessEnded } from './unless-ended.ts';

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

  /**
   * Whether it is known under which names images are being pulled. To be asked before the runtime is: a
   * pull that has ended since may have brought what the runtime saw.
   */
  get areNamesKnown(): boolean {
    return this.#options.unanswered.hasListed;
  }

  /** Finds out which pulls an earlier run left; false: that cannot be known. Errors: `ABORTED`, `CLOSED`. */
  async learnNames(signal: AbortSignal): Promise<boolean> {
    try {
      await unlessEnded(() => this.#options.unanswered.list(), signal);
      return true;
    } catch {
      if (signal.aborted) throw endReason(signal.reason);
      return false;
    }
  }

  /** What the runtime has found, as a copy. Throws an `ImageRuntimeError` where it has no id. */
  copyOf(
    image: string,
    found: RuntimeImage | undefined,
    areNamesKnown: boolean,
  ): PresentImage | undefined {
    // Anything else that is no image is refused: it does not say that there is none.
    if (found === undefined) return undefined;
    const imageRef = idOf(found);
    const openNames = areNamesKnown ? this.#options.openNames.othersThan(image, found) : undefined;
    return { imageRef, openNames };
  }

  /** The copy on the node, if there is one. Errors: `ErrImageInspect`, `ABORTED`, `CLOSED`. */
  async find(
    image: string,
    runtimeName: string,
    signal: AbortSignal,
  ): Promise<PresentImage | undefined> {
    try {
      const areNamesKnown = this.areNamesKnown || (await this.learnNames(signal));
      const found = await imageStatus(this.#options.runtime, runtimeName, signal);
      signal.throwIfAborted();
      return this.copyOf(image, found, areNamesKnown);
    } catch (error) {
      throw inspectFailed(image, error, signal);
    }
  }

  /**
   * The copy of that id, of which the names are asked for only where a pull is under way. Errors as
   * `find`.
   */
  async ofId(image: string, imageRef: string, signal: AbortSignal): Promise<PresentImage> {
    const areNamesKnown = this.areNamesKnown || (await this.learnNames(signal));
    if (areNamesKnown && this.#options.openNames.isEmpty) return { imageRef, openNames: [] };
    const found = await this.find(image, imageRef, signal);
    return { imageRef, openNames: found === undefined ? [] : found.openNames };
  }

  /** Whether the pull manager wants a pull all the same, asked about this image alone. */
  mustPull({ image, present, presented, signal }: Question): Promise<boolean> {
    try {
      const { pullManager } = this.#options;
      return pullManager.mustAttemptImagePull(image, present.imageRef, presented.ofPod(signal));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Whether the pod may use the copy. Errors: `ErrImageCredentials`, `ABORTED`, `CLOSED`.
   *
   * @param mustPull What `mustPull` gave.
   */
  async mayUse(
    question: Question,
    mustPull: Promise<boolean>,
    pullPolicy: PullPolicy,
  ): Promise<boolean> {
    const { image, present, signal } = question;
    const { pullManager, logger } = this.#options;
    const ask = (name: string, credentials?: PodCredentialsSource): Promise<boolean> =>
      pullManager.mustAttemptImagePull(name, present.imageRef, credentials);
    // A pull manager of the caller's own may answer anything: only this lets a pod in.
    const isLetIn = (answer: boolean | undefined): boolean => answer === false;
    const decided = async (): Promise<boolean> =>
      isLetIn(await this.#decided(question, await mustPull, ask, isLetIn));
    try {
      return await untilAborted(decided(), signal, endReason);
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
    const first = await ask(question.image, question.presented.ofPod(signal));
    const answer = await this.#decided(question, first, ask, ({ mustPull }) => mustPull === false);
    return { imageRef, ...(answer ?? UNKNOWN) };
  }

  /**
   * What is answered for a copy: about the image, and where that lets the pod in, about the pulls under
   * way that the copy may have come of; `undefined` where those are not known.
   *
   * @param answer About the image.
   */
  async #decided<Answer>(
    { image, present: { imageRef, openNames }, presented, signal }: Question,
    answer: Answer,
    ask: (name: string, credentials?: PodCredentialsSource) => Promise<Answer>,
    isLetIn: (answer: Answer) => boolean,
  ): Promise<Answer | undefined> {
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

/** The error for what the runtime's answer, or its lack, comes to. */
export function inspectFailed(image: string, error: unknown, signal: AbortSignal): Error {
  if (signal.aborted) return endReason(signal.reason);
  const cause = runtimeErrorOf(error, undefined, signal);
  const message = `the runtime could not say whether it has image ${quote(image)}: ${cause.reason ?? cause.message}`;
  return new EnsureImageError('ErrImageInspect', message, { image, cause });
}

/** Whether an answer that lets the pod in is there already, and is all that there is to ask. */
export function isLetInAtOnce({ present, signal }: Question, mustPull: Promise<boolean>): boolean {
  // Who listens to decisions may have ended the request meanwhile.
  return mustPull === NEED_NOT_PULL && present.openNames?.length === 0 && !signal.aborted;
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
