/**
 * Writes the outcomes of pulls, and deletes the records of images that are gone, so that neither
 * undoes the other.
 *
 * To record a pull that adds nothing to a record leaves the record's time as it was. So a record of
 * long ago may belong to an image that was removed and pulled again while a collection was under way:
 * the runtime's list was made without it, and the record, older than that list, would be deleted. The
 * image would then look preloaded, and be everybody's. Hence images pulled since the list was asked
 * for count as listed, and while records are being deleted no pull is recorded.
 */
import { errorCode, PULL_MANAGER_ERROR_CODES } from '../errors.ts';
import type { ImagePullManager, PruneResult } from '../image-pull-manager.ts';
import type { ImagePullCredentials } from '../records/record.ts';

/** Of writes that may have been made: to make them again could end another pull of the image. */
const UNCERTAIN_CODES: ReadonlySet<unknown> = new Set<string>([
  PULL_MANAGER_ERROR_CODES.WORKER_LOST,
  PULL_MANAGER_ERROR_CODES.CLOSED,
]);

/** Whether a write that has failed may have been made. */
export function mayBeDone(error: unknown): boolean {
  return UNCERTAIN_CODES.has(errorCode(error));
}

/** Used by one thread. */
export class RecordKeeper {
  readonly #pullManager: ImagePullManager;
  /** References of pulls recorded since each collection under way began. */
  readonly #collections = new Set<Set<string>>();
  /** Settles when no records are being deleted. */
  #pruning: Promise<unknown> | undefined;

  constructor(pullManager: ImagePullManager) {
    this.#pullManager = pullManager;
  }

  /** Ends a pull that gave `imageRef`. Rejects as the pull manager does. */
  async pulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    while (this.#pruning !== undefined) await this.#pruning;
    for (const pulled of this.#collections) pulled.add(imageRef);
    await this.#pullManager.recordImagePulled(image, imageRef, credentials);
  }

  /** Ends a pull that gave nothing. Rejects as the pull manager does. */
  failed(image: string): Promise<void> {
    return this.#pullManager.recordImagePullFailed(image);
  }

  /**
   * Deletes the records of images that the runtime has not. `listImageRefs` has to answer all that it
   * has: in use, pinned and nameless ones included.
   *
   * Rejects where the list cannot be had; nothing is deleted then.
   */
  async collect(listImageRefs: () => Promise<Iterable<string>>): Promise<PruneResult> {
    const pulled = new Set<string>();
    this.#collections.add(pulled);
    try {
      // Before the list is asked for: what is recorded meanwhile is newer.
      const until = new Date();
      const listed = await listImageRefs();
      while (this.#pruning !== undefined) await this.#pruning;
      const prune = this.#pullManager.pruneUnknownRecords(new Set([...listed, ...pulled]), until);
      this.#pruning = prune
        .catch(() => {})
        .finally(() => {
          this.#pruning = undefined;
        });
      return await prune;
    } finally {
      this.#collections.delete(pulled);
    }
  }
}
