/** Snapshots of storms that never ran. */
import type { Progress } from '../../src/storm/progress.ts';

export const RUNNING: Progress = {
  phase: 'running',
  elapsedMs: 12_300,
  share: 0.43,
  leftMs: 16_400,
  run: { number: 2, of: 5 },
  stage: { name: 'surge', number: 2, of: 3, share: 0.3 },
  operations: 300_000,
  operationsPerSecond: 24_812,
  wantedPerSecond: 25_000,
  lagNs: 12_000,
  decideNs: { p50: 1_200, p99: 38_000 },
  writeNs: { p50: 310_000, p99: 1.8e6 },
  errors: 0,
  expectedErrors: 3,
  wrong: 0,
  lastEvent: 'worker killed',
};

/** A storm of one stage, of 10 s at 1,000 operations a second, as it is after `elapsedMs`. */
export function progressAt(elapsedMs: number, own: Partial<Progress> = {}): Progress {
  return {
    ...RUNNING,
    elapsedMs,
    share: elapsedMs / 10_000,
    leftMs: 10_000 - elapsedMs,
    run: { number: 1, of: 1 },
    stage: { name: 'smoke', number: 1, of: 1, share: elapsedMs / 10_000 },
    operations: elapsedMs,
    operationsPerSecond: 1_000,
    wantedPerSecond: undefined,
    expectedErrors: 0,
    lastEvent: undefined,
    ...own,
  };
}
