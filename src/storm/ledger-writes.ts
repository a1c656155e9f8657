/** What is under way in the ledger of a storm: writes, and who may read them. */
import type { Register, Write } from './register.ts';
import type { SecretNumbers } from './tenants.ts';

/** A `recordImagePulled` under way. */
export interface PullWrite {
  readonly image: number;
  readonly ref: number;
  readonly writes: readonly Write[];
  readonly startedMs: number;
  /** Whether it surely sets the record's time. */
  readonly isChange: boolean;
}

/** A secret that a decision under way may add to a record. */
export interface Learning {
  readonly ref: number;
  readonly secret: SecretNumbers;
  readonly place: Register;
  readonly proof: Write;
  readonly existence: Write;
}

/**
 * How a learning ended: it may have been written, surely was not, or may be written yet, because
 * its decision failed.
 */
export type LearningEnd = 'maybe' | 'never' | 'stray';

/** A `pruneUnknownRecords` under way. */
export interface PruneWrite {
  readonly removals: readonly { readonly ref: number; readonly write: Write }[];
}

/** What the ledger must know of the decisions under way. */
export interface Readers {
  /** The oldest event that a read of a reference under way began after; `clock` without one. */
  oldestRead(ref: number, clock: number): number;
  /** A write to the record of a reference began: decisions about it may now learn from it. */
  writeBegan(ref: number): void;
}

/** It is not known whether these writes took effect, or still will: they join the strays. */
export function leaveAstray(writes: readonly Write[], strays: Write[]): void {
  for (const write of writes) {
    write.end = Number.POSITIVE_INFINITY;
    write.isMaybe = true;
  }
  strays.push(...writes);
}
