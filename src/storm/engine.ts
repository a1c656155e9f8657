/** What a storm needs of an engine: a part of `PullManager`. */
import type { ImagePullManager } from '../image-pull-manager.ts';
import type { DecisionReason, EngineStats } from '../metrics/stats.ts';
import type { VerificationPolicy } from '../policies/enforcer.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  ImagePullIntent,
  Listing,
  PodCredentials,
  PodCredentialsSource,
} from '../records/record.ts';

/** A decision with its reason. */
export interface StormDecision {
  readonly mustPull: boolean;
  readonly reason: DecisionReason;
}

/** One question of a batch. */
export interface StormRequest {
  image: string;
  imageRef: string;
  credentials?: PodCredentialsSource;
}

/** The engine under storm; `PullManager` is one. */
export interface StormEngine extends Omit<ImagePullManager, 'pruneUnknownRecords'> {
  decide(
    image: string,
    imageRef: string,
    credentials?: PodCredentialsSource,
  ): Promise<StormDecision>;
  decideSync(
    image: string,
    imageRef: string,
    credentials?: PodCredentials,
  ): StormDecision | undefined;
  decideBatch(requests: readonly StormRequest[]): Promise<StormDecision[]>;
  withPull<T extends { imageRef: string; credentials: ImagePullCredentials | null }>(
    image: string,
    pull: (signal: AbortSignal) => Promise<T>,
  ): Promise<T>;
  pruneUnknownRecords(
    imageRefs: Iterable<string>,
    until: Date,
  ): Promise<{ readonly pruned: number; readonly errors: readonly unknown[] }>;
  listImagePullIntents(): Promise<Listing<ImagePullIntent>>;
  listImagePulledRecords(): Promise<Listing<ImagePulledRecord>>;
  getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined>;
  stats(): EngineStats;
  close(): Promise<void>;
}

/** What the runtime lists at the start of an engine. */
export interface StormRuntimeImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** Opens an engine on the storm's store; called again for each restart. */
export type OpenEngine = (
  images: readonly StormRuntimeImage[],
  policy: VerificationPolicy,
) => Promise<StormEngine>;
