/**
 * What happened, as messages: one type for each event, none with a secret, hash or token in it.
 *
 * Times are durations in milliseconds by a monotonic clock. `error` is there where it failed.
 */
import type { CredentialSourceIdentity } from '../credentials/pull-credential.ts';
import type { Decision } from '../engine/decision.ts';
import type { AdoptedImage } from '../engine/reconcile.ts';
import type { PruneResult } from '../image-pull-manager.ts';
import type { PullPolicy } from '../images/pull-policy.ts';

/** What every message has. */
export interface EventMessage {
  /** The `PullManager` or `ImageManager` of which it tells. */
  readonly manager: object;
}

/** What messages have that tell how an operation ended. */
export interface OperationMessage extends EventMessage {
  readonly durationMs: number;
  /** Present where it failed. */
  readonly error?: Error;
}

/** A pull is about to begin: its intent is durable, or could not be written: then it must not begin. */
export interface IntentMessage extends OperationMessage {
  readonly image: string;
}

/** A pull has ended, and that is recorded, or could not be: then its intent stays. */
export interface OutcomeMessage extends OperationMessage {
  readonly image: string;
  readonly outcome: 'pulled' | 'failed';
  /** Present with `pulled`. */
  readonly imageRef?: string;
}

/** Who asked about a copy on the node has been answered. */
export interface DecisionMessage extends EventMessage {
  readonly image: string;
  /** Empty where the image is not on the node. */
  readonly imageRef: string;
  /** With reason and sentence. */
  readonly decision: Decision;
}

/** Records of images that are gone were deleted. */
export interface PruneMessage extends OperationMessage {
  /** Images that the runtime was said to have. */
  readonly listedCount: number;
  /** Records last updated at this time or later stayed. */
  readonly until: Date;
  /** Absent where pruning failed as a whole. */
  readonly result?: PruneResult;
}

/** At the opening, intents that an earlier run left were compared with what the runtime has. */
export interface ReconcileMessage extends EventMessage {
  /** Intents found in the store. */
  readonly foundCount: number;
  /** Images of those that the runtime had: they are now recorded without proof. */
  readonly adopted: readonly AdoptedImage[];
  /** What could not be read, listed or recorded; the intents concerned stay. */
  readonly failureCount: number;
  readonly durationMs: number;
}

/** The events of a `PullManager`, by name. */
export interface PullManagerEvents {
  readonly intent: IntentMessage;
  readonly outcome: OutcomeMessage;
  readonly decision: DecisionMessage;
  readonly prune: PruneMessage;
  readonly reconcile: ReconcileMessage;
}

/** The kind of credential that opened an image; `none`: it was pulled anonymously. */
export type PullCredentialKind = CredentialSourceIdentity['kind'] | 'none';

/** The runtime is asked to pull. */
export interface PullStartedMessage extends EventMessage {
  readonly image: string;
  /** Of the request that caused the pull. */
  readonly podUid: string;
  /** Credentials that are tried in turn; 0: anonymously. */
  readonly credentialCount: number;
}

/** A pull has succeeded and is recorded. */
export interface PullFinishedMessage extends EventMessage {
  readonly image: string;
  readonly podUid: string;
  readonly imageRef: string;
  readonly credentialKind: PullCredentialKind;
  /** Requests that this pull has served; more than 1: some joined. */
  readonly callerCount: number;
  readonly durationMs: number;
}

/** A pull has failed, or was given up. */
export interface PullFailedMessage extends EventMessage {
  readonly image: string;
  readonly podUid: string;
  readonly callerCount: number;
  /** False: the image may still appear, so its intent stays until it is known to be absent. */
  readonly answered: boolean;
  readonly durationMs: number;
  readonly error: Error;
}

/** It is known what became of a pull that the runtime did not answer. */
export interface UnansweredPullSettledMessage extends EventMessage {
  readonly image: string;
  /** `absent`: its intent is gone. `present`: recorded without proof. */
  readonly became: 'absent' | 'present';
  /** Since the pull was given up. */
  readonly durationMs: number;
}

/** A call of `ensureImage` has been answered. */
export interface EnsureMessage extends OperationMessage {
  readonly image: string;
  readonly podUid: string;
  readonly pullPolicy: PullPolicy;
  /** Absent where the image may not be used. */
  readonly imageRef?: string;
  /** Whether the registry was asked; absent where the image may not be used. */
  readonly pulled?: boolean;
}

/** The records were compared with what the runtime has. */
export interface CollectMessage extends OperationMessage {
  /** By the image manager itself, every `collectEveryMs`. */
  readonly periodic: boolean;
  /** Images that the runtime has; absent where it did not say. */
  readonly imageCount?: number;
  readonly result?: PruneResult;
}

/** The events of an `ImageManager`, by name. */
export interface ImageManagerEvents {
  readonly pullStarted: PullStartedMessage;
  readonly pullFinished: PullFinishedMessage;
  readonly pullFailed: PullFailedMessage;
  readonly unansweredPullSettled: UnansweredPullSettledMessage;
  readonly ensure: EnsureMessage;
  readonly collect: CollectMessage;
}
