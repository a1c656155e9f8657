/**
 * The storage contract: what a store implements. It runs inside the worker that owns the keys.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/interfaces.go (PullRecordsAccessor), plus
 * `commit`, which upstream lacks: a batch is durable with one flush.
 */
import type { PullManagerError } from '../errors.ts';
import type {
  ImagePulledRecord,
  ImagePullIntent,
  Listing,
  RecordChange,
} from '../records/record.ts';

/** At once or as a promise. */
export type Awaitable<T> = T | Promise<T>;
/** What a listing of a store answers: what could be read, and what could not. */
export type RecordListing<T> = Listing<T, PullManagerError>;

/** One write of a batch. Writes of one key take effect in batch order. */
export type RecordWrite =
  | { readonly op: 'writeIntent'; readonly image: string }
  | { readonly op: 'deleteIntent'; readonly image: string }
  | {
      readonly op: 'writePulled';
      readonly record: ImagePulledRecord;
      /** A hint: the difference from the record before this write. Absent: the record is new. */
      readonly change?: RecordChange | undefined;
    }
  | { readonly op: 'deletePulled'; readonly imageRef: string };

/**
 * A store of intents and pulled records, used by one thread.
 *
 * Methods may answer at once or with a promise; the engine awaits only promises. Values handed out
 * are shared: treat them as read-only. An error whose `code` ends in `RECORD_CORRUPT` means "present
 * but undecodable", any other error is a storage failure.
 */
export interface PullRecordsAccessor {
  listImagePullIntents(): Awaitable<RecordListing<ImagePullIntent>>;
  imagePullIntentExists(image: string): Awaitable<boolean>;
  writeImagePullIntent(image: string): Awaitable<void>;
  /** Absent: no error. */
  deleteImagePullIntent(image: string): Awaitable<void>;
  listImagePulledRecords(): Awaitable<RecordListing<ImagePulledRecord>>;
  /** Present but undecodable: throws `RECORD_CORRUPT`. */
  getImagePulledRecord(imageRef: string): Awaitable<ImagePulledRecord | undefined>;
  writeImagePulledRecord(record: ImagePulledRecord): Awaitable<void>;
  deleteImagePulledRecord(imageRef: string): Awaitable<void>;
  /** All or nothing per key; durable when it returns. */
  commit(batch: readonly RecordWrite[]): Awaitable<void>;
  close(): Awaitable<void>;
}

/** Which part of the key space an accessor serves. */
export interface AccessorContext {
  /** 0-based. */
  readonly workerIndex: number;
  /** Number of workers, at least 1; also 1 when everything runs in the calling thread. */
  readonly workerCount: number;
  readonly stripeCount: number;
  /** 1 for the first worker at this index, raised by one for each replacement of a dead one. */
  readonly generation: number;
  /** Whether blocking system calls are welcome (a worker) or not (the calling thread). */
  readonly mayBlock: boolean;
  /**
   * Has the owner call `takeForeignChanges` soon; may be called at any time from the event loop.
   * Absent: nobody will.
   */
  readonly wake?: () => void;
}

/** What the engine's own stores offer beyond the contract. */
export interface OwnedAccessor extends PullRecordsAccessor {
  /** How many a listing would return, without reading them. */
  count(): Awaitable<{ readonly intents: number; readonly records: number }>;
  /**
   * Why a write can never be stored; undefined where nothing is known against it. Asked before a
   * batch is committed, so that one bad write does not fail the others. @default all can
   */
  refusalOf?(write: RecordWrite): PullManagerError | undefined;
  /** Bytes written to the store since it was opened. */
  readonly writtenBytes: number;
  /** Whether listings and `count` cover this owner's keys only; else each owner sees the whole store. */
  readonly listsOnlyOwnKeys: boolean;
  /**
   * Background work that is under way (preallocation, a snapshot), if any. Settles when there is
   * none left and never rejects; the owner lets the event loop turn while it is pending.
   */
  readonly maintenance: Promise<void> | undefined;
  /** Times of records are kept in steps of so many milliseconds, rounded down. @default 1 */
  readonly timeResolutionMs?: number;
  /** Whether `takeForeignChanges` may have something to do. Absent: nobody else writes to the store. */
  readonly hasForeignChanges?: boolean;
  /**
   * Takes in what others have written to the store since the last call, or a part of it, and answers
   * the keys whose answers may differ now; `all`: it cannot be told which. Called between batches.
   */
  takeForeignChanges?(): readonly string[] | 'all';
}
