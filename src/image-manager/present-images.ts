/** Copies of images that are on the node, and whether a pod may use them without a pull. */
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
import type { EnsureImageRequest } from './request.ts';
import { idOf } from './runtime-answers.ts';
import { endReason, unlessEnded } from './unless-ended.ts';

/** A copy on the node. */
export interface PresentImage {
  readonly imageRef: string;
  /** Under which else it is being pulled. */
  readonly openNames: readonly string[];
}

export interface PresentImagesOptions {
  readonly pullManager: ImagePullManager;
  readonly runtime: ImageRuntime;
  readonly openNames: OpenNames;
  readonly logger: Logger;
}

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
    try {
      const status = await unlessEnded(() => runtime.imageStatus(runtimeName, signal), signal);
      if (status === undefined) return undefined;
      return { imageRef: idOf(status), openNames: openNames.othersThan(image, status) };
    } catch (error) {
      if (signal.aborted) throw endReason(signal.reason);
      const cause = runtimeErrorOf(error, undefined, signal);
      const message = `the runtime could not say whether it has image ${quote(image)}: ${cause.reason ?? cause.message}`;
      throw new EnsureImageError('ErrImageInspect', message, { image, cause });
    }
  }

  /** Whether the pod may use it. Errors: `ErrImageCredentials`, `ABORTED`, `CLOSED`. */
  async mayUse(
    { image, pullPolicy }: EnsureImageRequest,
    { imageRef, openNames }: PresentImage,
    presented: PresentedCredentials,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { pullManager, logger } = this.#options;
    // A pull manager of the caller's own may answer anything: only this lets a pod in.
    const isLetIn = async (name: string, credentials?: PodCredentialsSource): Promise<boolean> =>
      (await unlessEnded(
        () => pullManager.mustAttemptImagePull(name, imageRef, credentials),
        signal,
      )) === false;
    try {
      if (!(await isLetIn(image, presented.ofPod()))) return false;
      if (openNames.length === 0) return true;
      // It may have come by one of these pulls, and not be recorded yet: then it is not preloaded.
      if (await this.#isRecorded(imageRef, signal)) return await isLetIn(image, presented.ofPod());
      for (const name of openNames) if (!(await isLetIn(name))) return false;
      return true;
    } catch (error) {
      if (signal.aborted) throw endReason(signal.reason);
      // Another error than for an absent image would tell that it is there.
      if (pullPolicy !== 'Never') throw credentialsFailed(image, error);
      logger.warn('the credentials for an image could not be looked up', { image });
      return false;
    }
  }

  /** Whether the decision has the last word: records tell all there is, or cannot be read. */
  async #isRecorded(imageRef: string, signal: AbortSignal): Promise<boolean> {
    const { pullManager } = this.#options;
    if (!readsRecords(pullManager)) return true;
    try {
      const asked = (): Promise<unknown> => pullManager.getImagePulledRecord(imageRef);
      return (await unlessEnded(asked, signal)) !== undefined;
    } catch {
      // A decision on such a record lets nobody in.
      return true;
    }
  }
}

function readsRecords(
  pullManager: ImagePullManager,
): pullManager is ImagePullManager & Pick<PullManager, 'getImagePulledRecord'> {
  return typeof (pullManager as Partial<PullManager>).getImagePulledRecord === 'function';
}
