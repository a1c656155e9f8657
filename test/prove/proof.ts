/** What every proof of `npm run prove` looks like. */

/** How a proof is to be run. */
export interface ProofOptions {
  /** Every random choice comes from it. */
  readonly seed: number;
  /** About how long it may take; what it does not get to, it does not claim. */
  readonly seconds: number;
  /** Scratch space of its own: exists, is empty, and is removed afterwards unless something failed. */
  readonly directory: string;
  /** What follows `--` on the command line, for arguments of one proof. */
  readonly rest: readonly string[];
  /** Takes a line about the progress, for people. */
  readonly log: (line: string) => void;
}

/** One line of the table. */
export interface ProofRow {
  readonly what: string;
  readonly count: number;
  /** What is counted, in the plural. */
  readonly unit: string;
  readonly failures: number;
  /** Why it was not done here. */
  readonly skipped?: string;
  /** More figures, in few words. */
  readonly note?: string;
}

/** Something that must not be. */
export interface ProofFailure {
  readonly what: string;
  readonly detail: string;
  /** One command line that shows it again. */
  readonly replay: string;
}

export interface ProofReport {
  readonly rows: readonly ProofRow[];
  readonly failures: readonly ProofFailure[];
}

/** A proof; `test/prove/<name>/proof.ts` exports one as `proof`. */
export interface Proof {
  readonly name: string;
  /** One line: what is proven. */
  readonly what: string;
  /** About how long it takes where nothing else is said. */
  readonly seconds: number;
  readonly run: (options: ProofOptions) => Promise<ProofReport>;
}
