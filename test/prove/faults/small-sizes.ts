/**
 * Makes files small and pauses short in this process, so that a short script meets all that happens
 * in a long life. The engine has no options for that: its defaults are changed, which reach its
 * threads with the plan of the store.
 */
import { DEFAULT_TUNING, type JournalTuning } from '../../../src/accessors/journal/tuning.ts';
import { WATCH_DEFAULTS, type WatchTuning } from '../../../src/accessors/kubelet/foreign-watch.ts';
import {
  WRITE_BEHIND_DEFAULTS,
  type WriteBehindTuning,
} from '../../../src/accessors/kubelet/write-behind.ts';

const JOURNAL: JournalTuning = {
  segmentBytesMin: 4096,
  segmentBytesMax: 8192,
  snapshotBytesMin: 6_000,
  closingSnapshotBytesMin: 2_000,
  snapshotFactor: 1,
  snapshotSegmentCountMax: 8,
  snapshotFrameBytes: 1024,
  retryMsMin: 0,
  retryMsMax: 0,
};

const WRITE_BEHIND: WriteBehindTuning = {
  delayMs: 5,
  eagerKeys: 1,
  keysMax: 6,
  redoBytesMax: 12_000,
  retryMsMin: 2,
  retryMsMax: 8,
};

const WATCH: WatchTuning = { pollMs: 60, watchedPollMs: 60 };

export function makeSizesSmall(): void {
  Object.assign(DEFAULT_TUNING, JOURNAL);
  Object.assign(WRITE_BEHIND_DEFAULTS, WRITE_BEHIND);
  Object.assign(WATCH_DEFAULTS, WATCH);
}
