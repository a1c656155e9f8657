/**
 * The contract of an image pull manager: the five operations of the reference.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/interfaces.go.
 */
import type { PullManagerError } from './errors.ts';
import type { ImagePullCredentials, PodCredentialsSource } from './records/record.ts';

/** What pruning did. */
export interface PruneResult {
  /** Records that were deleted. */
  readonly pruned: number;
  /** Records that stay: listed, new enough, or not deletable. */
  readonly kept: number;
  readonly errors: PullManagerError[];
}

/** The five operations of the reference. */
export interface ImagePullManager {
  recordPullIntent(image: string): Promise<void>;
  recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void>;
  recordImagePullFailed(image: string): Promise<void>;
  mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials?: PodCredentialsSource,
  ): Promise<boolean>;
  pruneUnknownRecords(imageRefs: Iterable<string>, until: Date): Promise<PruneResult>;
}
