/** What callers ask of an image manager, and what it answers. */
import type { PullCredentialsSource } from '../credentials/pull-credential.ts';
import type { Decision } from '../engine/decision.ts';
import type { PullPolicy } from '../images/pull-policy.ts';

/** One question: make sure that this pod may use this image. */
export interface EnsureImageRequest {
  /** As the pod has it. */
  readonly image: string;
  readonly pullPolicy: PullPolicy;
  /** After a failed pull, this pod waits before the next pull of this image. */
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

/** One question: may this pod use the copy of an image that is on the node, without a pull? */
export interface CheckImageRequest {
  /** As the pod has it. */
  readonly image: string;
  /** The runtime's id of the copy. @default what the runtime has under the name */
  readonly imageRef?: string;
  /** What the pod can present, or a function asked at most once, and only where needed. @default none */
  readonly credentials?: PullCredentialsSource;
}

/**
 * Whether a pod may use a copy. Reason and detail are those of a pull manager that can `decide`, as
 * `PullManager` does.
 */
export interface CheckedImage extends Partial<Omit<Decision, 'mustPull'>> {
  /** Empty: the image is not on the node. */
  readonly imageRef: string;
  /** True: the registry must be asked. */
  readonly mustPull: boolean;
}

/** Options of single calls. */
export interface ImageManagerCallOptions {
  /** Ends the call with `ABORTED`. A pull goes on as long as others wait for it. */
  readonly signal?: AbortSignal;
}
