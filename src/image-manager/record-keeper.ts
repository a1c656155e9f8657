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
import type { ImagePullManager, PruneResult } from '../image-pull-manager.ts';
import type { ImagePullCredentials } from '../records/record.ts';

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
      const ended = prune.then(
        () => {},
        () => {},
      );
      this.#pruning = ended.finally(() => {
        this.#pruning = undefined;
      });
      return await prune;
    } finally {
      this.#collections.delete(pulled);
    }
  }
}
