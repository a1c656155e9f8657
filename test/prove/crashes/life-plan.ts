/** What a life of a store is told by its parent. */

import type { StoreOptions } from '../../../src/accessors/backend.ts';
import type { JournalTuning } from '../../../src/accessors/journal/tuning.ts';
import type { WriteBehindTuning } from '../../../src/accessors/kubelet/write-behind.ts';

/** After a time under load, or after so many acknowledged writes and some prunings. */
export type CloseAfter =
  | { readonly ms: number }
  | { readonly writes: number; readonly prunes: number };

/** The plan of one life; JSON. */
export interface LifePlan {
  readonly store: StoreOptions;
  readonly workerCount: number;
  readonly stripeCount: number;
  readonly journal: Partial<JournalTuning>;
  readonly writeBehind: Partial<WriteBehindTuning>;
  readonly seed: number;
  readonly callers: number;
  /** See `StormOptions`. */
  readonly version: number;
  /** Images that the runtime has; absent: there is no runtime to ask. */
  readonly runtimeSeed?: number;
  /** When it closes by itself; absent: never. */
  readonly closeAfter?: CloseAfter;
  /** Codes of failures that end a caller and nothing else. */
  readonly tolerated: readonly string[];
  readonly logPath: string;
  readonly dumpPath: string;
}
