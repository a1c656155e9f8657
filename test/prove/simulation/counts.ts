/** How much was simulated, and how much of it may stay open. */
import type { DisturbanceCounts } from './disturber.ts';

/** Counts of sessions; of one process, or of several. */
export interface Counts {
  /** Histories that an order of their calls explains. */
  explained: number;
  /** Histories in which too many calls ran at a time to say. */
  undecided: number;
  operations: number;
  decisions: number;
  readonly disturbances: DisturbanceCounts;
}

/** Of all histories, so much may be undecided; the programs are made so small that hardly any is. */
const UNDECIDED_SHARE_MAX = 0.01;
/** Of few histories, so many may be. */
const UNDECIDED_FEW = 2;

export function noCounts(): Counts {
  return {
    explained: 0,
    undecided: 0,
    operations: 0,
    decisions: 0,
    disturbances: { clock: 0, death: 0, hold: 0, restart: 0, storeFails: 0 },
  };
}

export function addCounts(sum: Counts, counts: Counts): void {
  sum.explained += counts.explained;
  sum.undecided += counts.undecided;
  sum.operations += counts.operations;
  sum.decisions += counts.decisions;
  for (const kind of ['clock', 'death', 'hold', 'restart', 'storeFails'] as const) {
    sum.disturbances[kind] += counts.disturbances[kind];
  }
}

/** Why the histories that were not decided are too many, if they are. */
export function tooOpen({ explained, undecided }: Counts): string | undefined {
  const all = explained + undecided;
  if (undecided <= Math.max(UNDECIDED_FEW, all * UNDECIDED_SHARE_MAX)) return undefined;
  return `${undecided} of ${all} histories are too wide to decide`;
}
