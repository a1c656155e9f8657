/** The part of a container runtime that the engine asks at start-up. */

/** An image that the runtime has. */
export interface RuntimeImage {
  /** The reference under which records are kept. */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** What the image takes up, as far as the runtime tells. */
  readonly sizeBytes?: number;
  /** Whether the runtime was told never to remove it. */
  readonly pinned?: boolean;
}

/** The part of a container runtime that is asked at start-up. */
export interface ImageService {
  listImages(signal?: AbortSignal): Promise<readonly RuntimeImage[]>;
}
