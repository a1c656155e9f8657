/** How far a storm is, for live views. */

/** A moment of a running storm. */
export interface Progress {
  readonly phase: 'filling' | 'running' | 'checking';
  readonly elapsedMs: number;
  /** From 0 to 1, of the whole run. */
  readonly share: number;
  readonly leftMs: number | undefined;
  /** Which run it is, with `--repeat`. */
  readonly run: { readonly number: number; readonly of: number };
  readonly stage: {
    readonly name: string;
    readonly number: number;
    readonly of: number;
    readonly share: number;
  };
  readonly operations: number;
  /** Since the last snapshot. */
  readonly operationsPerSecond: number;
  /** Open load: requests a second that are to arrive now. */
  readonly wantedPerSecond: number | undefined;
  /** Of the latest requests. */
  readonly lagNs: number;
  /** So far in this stage. */
  readonly decideNs: { readonly p50: number; readonly p99: number };
  readonly writeNs: { readonly p50: number; readonly p99: number };
  readonly errors: number;
  readonly expectedErrors: number;
  readonly wrong: number;
  /** For example `restart` or `worker killed`. */
  readonly lastEvent: string | undefined;
}
