/** The part of a container runtime that the engine asks at start-up. */

/** An image that the runtime has. */
export interface RuntimeImage {
  /** The reference under which records are kept. */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** The part of a container runtime that is asked at start-up. */
export interface ImageService {
  listImages(signal?: AbortSignal): Promise<readonly RuntimeImage[]>;
}
