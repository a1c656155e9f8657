/**
 * Makes sure that an image is on the node and that a workload may use it.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, EnsureImageExists.
 */
import type { PullCredentialsSource } from '../credentials/pull-credential.ts';
import type { ImagePullManager, PruneResult } from '../image-pull-manager.ts';
import type { Logger } from '../options.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';

/** When to ask the registry. */
export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** One question: make sure that this pod may use this image. */
export interface EnsureImageRequest {
  /** As the pod has it. */
  readonly image: string;
  readonly pullPolicy: PullPolicy;
  /** Back-off is per pod and image. */
  readonly podUid: string;
  /** What the pod can present, or a function asked at most once, and only where needed. @default none */
  readonly credentials?: PullCredentialsSource;
}

/** The image that the pod may use. */
export interface EnsuredImage {
  /** The runtime's id: start the workload from this, not from the name, which may move. */
  readonly imageRef: string;
  /** Whether the registry was asked. */
  readonly pulled: boolean;
}

/** Options of `new ImageManager`. */
export interface ImageManagerOptions {
  readonly pullManager: ImagePullManager;
  readonly runtime: ImageRuntime;
  /** One pull at a time. @default false */
  readonly serializePulls?: boolean;
  /** Pulls at the same time; absent or less than 1: no limit. */
  readonly maxParallelPulls?: number;
  /** Pulls a second that may reach the runtime; 0: no limit. @default 0 */
  readonly qps?: number;
  /** How many pulls may exceed `qps` at once. @default 10 */
  readonly burst?: number;
  /** First delay after a failed pull, and the longest. @default 10_000 and 300_000 */
  readonly backOffMs?: number;
  readonly backOffMaxMs?: number;
  /** Collects records every so many milliseconds. @default never: call `collect` */
  readonly collectEveryMs?: number;
  /**
   * How long after an unanswered pull its image must have been absent before the intent goes.
   * @default 5_000
   */
  readonly absenceGraceMs?: number;
  /** @default silent */
  readonly logger?: Logger;
}

/** What `ImageManager` offers; here while it is being built. */
export interface ImageManagerContract extends AsyncDisposable {
  /** Rejects with `EnsureImageError`, or `PullManagerError` `ABORTED`, `CLOSED`, `INVALID_ARGUMENT`. */
  ensureImage(
    request: EnsureImageRequest,
    options?: { readonly signal?: AbortSignal },
  ): Promise<EnsuredImage>;
  collect(options?: { readonly signal?: AbortSignal }): Promise<PruneResult>;
  /** Prometheus text of the metrics of section 10 that are the image manager's. */
  metrics(): Promise<string>;
  close(): Promise<void>;
}
