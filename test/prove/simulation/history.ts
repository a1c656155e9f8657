/** A recorded history: who called what, when, and what came back. Plain data, so that it travels. */
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  PodCredentials,
} from '../../../src/records/record.ts';
import type { ModelReason } from '../../../src/storm/model-decision.ts';
import type { ModelImage } from '../../support/pull-model.ts';

/** A call of a pull manager. `restart` closes the engine and opens it on the same store. */
export type Call =
  | { readonly op: 'intent' | 'failed'; readonly image: string }
  | {
      readonly op: 'pulled';
      readonly image: string;
      readonly imageRef: string;
      readonly credentials: ImagePullCredentials | null;
    }
  | {
      readonly op: 'decide';
      readonly how: 'decide' | 'mustAttempt' | 'sync' | 'batch';
      readonly image: string;
      readonly imageRef: string;
      readonly credentials: PodCredentials;
    }
  | { readonly op: 'get'; readonly imageRef: string }
  | { readonly op: 'prune'; readonly listed: readonly string[]; readonly untilMs: number }
  | { readonly op: 'listIntents' | 'listRecords' }
  | { readonly op: 'restart'; readonly images: readonly ModelImage[] };

/** What came back. */
export type Answer =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly code: string }
  | {
      readonly kind: 'decision';
      readonly mustPull: boolean;
      /** Unknown of `mustAttemptImagePull`. */
      readonly reason: ModelReason | undefined;
    }
  | { readonly kind: 'record'; readonly record: ImagePulledRecord | undefined }
  | { readonly kind: 'pruned'; readonly count: number; readonly errorCount: number }
  | { readonly kind: 'intents'; readonly images: readonly string[]; readonly errorCount: number }
  | {
      readonly kind: 'records';
      readonly records: readonly ImagePulledRecord[];
      readonly errorCount: number;
    };

/** One call. `start` and `end` are numbers of events of the one count that all threads share. */
export interface Entry {
  readonly caller: string;
  readonly call: Call;
  readonly start: number;
  readonly end: number;
  readonly answer: Answer;
}

/** A time during which something was so: from some moment after `from` to some moment before `to`. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** The wall clock was set; it may have been read as before until `to`, as after since `from`. */
export interface ClockChange extends Interval {
  readonly ms: number;
}

export interface History {
  readonly entries: readonly Entry[];
  /** While the store or a worker failed: answers may be errors, and errors may have done something. */
  readonly troubles: readonly Interval[];
  /** What the clock showed at first, and each change. */
  readonly startedAtMs: number;
  readonly clock: readonly ClockChange[];
  /** Somebody else held all stripes, surely so throughout: nothing may be written. */
  readonly holds: readonly Interval[];
}

/** Counts the events of all threads. */
export class EventCount {
  /** Shared; give it to the other threads. */
  readonly words: Int32Array;

  constructor(words: Int32Array = new Int32Array(new SharedArrayBuffer(4))) {
    this.words = words;
  }

  /** The number of a new event. */
  next(): number {
    return Atomics.add(this.words, 0, 1) + 1;
  }

  get last(): number {
    return Atomics.load(this.words, 0);
  }
}
