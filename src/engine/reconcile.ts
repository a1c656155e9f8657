/**
 * Start-up reconciliation: intents that the previous run left over, and whose image the runtime has,
 * become records without proof, so that the next pod must show that it may use the image.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go, initialize.
 */
import { PullManagerError, storeError } from '../errors.ts';
import type { ImageService, RuntimeImage } from '../images/image-service.ts';
import type { Logger } from '../logger.ts';
import type { ImagePullIntent, Listing } from '../records/record.ts';
import { untilAborted } from '../util/until-aborted.ts';

export interface ReconcileOptions {
  /** What was found in the store. */
  readonly intents: Listing<ImagePullIntent, PullManagerError>;
  readonly imageService: ImageService | undefined;
  /** Records the pull without proof and removes the intent; rejects where that failed. */
  readonly adopt: (image: string, imageRef: string) => Promise<void>;
  readonly onFailure: () => void;
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
}

/** An image of a left-over intent that the runtime has. */
export interface AdoptedImage {
  readonly image: string;
  readonly imageRef: string;
}

/**
 * Adopts the intents whose image the runtime lists under exactly that text. The others stay: their
 * pull may still be going on. Failures are counted and logged; the intents concerned stay, which
 * keeps their images protected. Resolves with what was adopted.
 */
export async function reconcile(options: ReconcileOptions): Promise<AdoptedImage[]> {
  const { imageService, logger, onFailure, signal } = options;
  for (const { code } of options.intents.errors) {
    onFailure();
    logger.error('an intent cannot be read', { code });
  }
  const left = new Set(options.intents.records.map(({ image }) => image));
  const adopted: AdoptedImage[] = [];
  if (left.size === 0) return adopted;
  if (imageService === undefined) {
    logger.info('intents are left over and there is no image service to ask', {
      intents: left.size,
    });
    return adopted;
  }
  let runtimeImages: readonly RuntimeImage[];
  try {
    runtimeImages = await listImages(imageService, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    onFailure();
    const error = new PullManagerError('IMAGE_SERVICE_FAILED', 'the runtime did not list images', {
      cause,
    });
    logger.error('left-over intents stay', { code: error.code, intents: left.size });
    return adopted;
  }
  for (const runtimeImage of runtimeImages) {
    const names = namesOf(runtimeImage);
    if (names === undefined) {
      onFailure();
      logger.error('the runtime listed an image that cannot be understood');
      continue;
    }
    const { id } = runtimeImage;
    for (const image of names) {
      if (!left.has(image)) continue;
      try {
        await options.adopt(image, id);
        adopted.push({ image, imageRef: id });
        // Not removed from `left`: the same name on another image is adopted there too.
      } catch (error) {
        signal?.throwIfAborted();
        onFailure();
        logger.error('a left-over intent stays', { code: storeError('reconcile', error).code });
      }
    }
  }
  return adopted;
}

/** The names of a listed image, digests first; undefined where it is not an image at all. */
function namesOf(image: RuntimeImage): string[] | undefined {
  if (typeof image?.id !== 'string') return undefined;
  // A runtime of the caller's own may leave out what it has none of.
  const { repoDigests, repoTags }: Partial<RuntimeImage> = image;
  const lists: unknown[] = [repoDigests ?? [], repoTags ?? []];
  if (!lists.every((list) => Array.isArray(list))) return undefined;
  return lists.flat() as string[];
}

/** The runtime's images; an abort does not wait for a runtime that never answers. */
async function listImages(
  imageService: ImageService,
  signal: AbortSignal | undefined,
): Promise<readonly RuntimeImage[]> {
  const listed = Promise.resolve(imageService.listImages(signal));
  const images = await (signal === undefined
    ? listed
    : untilAborted(listed, signal, (reason) => reason));
  if (!Array.isArray(images)) throw new TypeError('listImages did not answer an array');
  return images;
}
