/**
 * The form of a trace: what a pull manager was asked, and when. JSON Lines: a header, then lines that
 * each have `op`. `docs/trace-format.md` describes it for users.
 */

/** Name and version of the form; rises where a line goes or changes its meaning. */
export const TRACE_SCHEMA = 'pullwarden.trace/1';

/** Whether texts are as they were, or numbered in the order in which they appeared. */
export type TraceNaming = 'pseudonyms' | 'kept';

/** The first line. */
export interface TraceHeader {
  readonly schema: typeof TRACE_SCHEMA;
  /** ISO 8601; `at` counts from here. */
  readonly startedAt: string;
  /** Of the uid, namespace and name of secrets and service accounts. */
  readonly names: TraceNaming;
  /** Of images and their references. */
  readonly images: TraceNaming;
}

/** Where a secret or service account is. */
export interface TracedPlace {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** A secret; its hash is a number in the order of appearance, such as `h7`, or empty as it was. */
export interface TracedSecret extends TracedPlace {
  readonly credentialHash: string;
}

/** What a pod presents, or a pull is recorded with. */
export interface TracedCredentials {
  readonly nodePodsAccessible?: boolean;
  readonly secrets?: readonly TracedSecret[];
  readonly serviceAccounts?: readonly TracedPlace[];
}

/** A question; without `credentials`: the pod presents none, or it is not known which. */
export interface TracedQuestion {
  readonly image: string;
  /** Empty where the image is not on the node. */
  readonly imageRef: string;
  /** Number of a line `credentials`. */
  readonly credentials?: number;
}

/** Gives a number to credentials, before the first line that names it. From 1. */
export interface CredentialsLine extends TracedCredentials {
  readonly op: 'credentials';
  readonly number: number;
}

/** What the store held when the recording began: one name of a record, or an intent. */
export type StateLine =
  | {
      readonly op: 'record';
      readonly imageRef: string;
      /** Image name without tag and digest. */
      readonly name: string;
      /** Null: nothing is recorded for the name. */
      readonly credentials: number | null;
    }
  | { readonly op: 'leftOver'; readonly image: string };

/** An operation; `at` is when it was called, in milliseconds since `startedAt`. */
export type OperationLine = { readonly at: number } & (
  | { readonly op: 'intent' | 'failed'; readonly image: string }
  | {
      readonly op: 'pulled';
      readonly image: string;
      readonly imageRef: string;
      /** Null: nobody knows what opened the image. */
      readonly credentials: number | null;
    }
  | ({ readonly op: 'decide' } & TracedQuestion)
  | { readonly op: 'decideBatch'; readonly requests: readonly TracedQuestion[] }
  | {
      readonly op: 'prune';
      /** What the runtime has. */
      readonly imageRefs: readonly string[];
      /** Records last updated at this time or later stay: milliseconds since `startedAt`. */
      readonly until: number;
    }
);

/** Operations that are not here, because they came faster than they could be written. */
export interface DroppedLine {
  readonly op: 'dropped';
  readonly at: number;
  readonly count: number;
}

/** The last line of a recording that was ended. */
export interface EndLine {
  readonly op: 'end';
  readonly at: number;
  readonly operations: number;
  readonly dropped: number;
}

/** Every line but the first. */
export type TraceLine = CredentialsLine | StateLine | OperationLine | DroppedLine | EndLine;
