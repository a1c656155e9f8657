/** What `PullManager.stats()` answers. */

/** Why a decision came out as it did; upstream's metric labels. */
export type DecisionReason =
  | 'credentialPolicyAllowed'
  | 'credentialRecordFound'
  | 'mustAuthenticate'
  | 'error';

export const DECISION_REASONS: readonly DecisionReason[] = [
  'credentialPolicyAllowed',
  'credentialRecordFound',
  'mustAuthenticate',
  'error',
];

/** Quantiles of a distribution; 0 where nothing was counted. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Counters since the engine was opened, summed over all threads unless said otherwise. */
export interface EngineStats {
  readonly workerCount: number;
  readonly stripeCount: number;
  /** Kind of the store: `journal`, `memory`, `lmdb`, `module`. */
  readonly store: string;
  /** Pulled records and intents in the store. */
  readonly records: number;
  readonly intents: number;
  /** Bytes written to the store. */
  readonly writtenBytes: number;
  /** Decisions by reason. */
  readonly decisions: Readonly<Record<DecisionReason, number>>;
  /** Decisions answered from the calling thread's replica, and those that took a trip to a worker. */
  readonly decisionsLocal: number;
  readonly decisionsRemote: number;
  /** Calls of this thread that wait for a worker now, and how many may. */
  readonly pending: number;
  readonly pendingLimit: number;
  /** Calls of this thread that are held back until there is room; see `whenFull`. */
  readonly heldBack: number;
  readonly commits: {
    readonly failures: number;
    /** Writes in one commit. */
    readonly batchSize: Distribution;
    /** Time of one durable commit, in nanoseconds. */
    readonly latencyNs: Distribution;
  };
  /** Failures that no caller was told of: start-up reconciliation, writes while matching, pruning. */
  readonly failures: {
    readonly reconcile: number;
    readonly matchWrite: number;
    readonly prune: number;
  };
  /** Dead workers that were replaced. */
  readonly workersReplaced: number;
  /** Entries of the calling thread's replica. */
  readonly replica: { readonly records: number; readonly intents: number };
}
