/** What a process that is to end at a point is told, and what it tells. */

/** Name of the environment variable that holds a `KillOrder` as JSON. */
export const KILL_ORDER = 'PULLWARDEN_KILL_ORDER';

/** When a process ends itself. */
export interface KillOrder {
  /** Directory of the store, without symbolic links; files elsewhere are no points. */
  readonly root: string;
  /** As in the catalogue. */
  readonly point: string;
  /** So many times a thread comes to it, 1 or more. */
  readonly count: number;
  /** File to which each point is appended, one a line, when a thread first comes to it. */
  readonly reportPath: string;
}
