/** Sizes and limits of the journal. Defaults serve a node; tests make everything small. */

/** Sizes in bytes unless the name says otherwise. */
export interface JournalTuning {
  /** Size of the first segment; each next one doubles. @default 256 KiB */
  readonly segmentBytesMin: number;
  /** @default 8 MiB */
  readonly segmentBytesMax: number;
  /** No snapshot before the journal has grown by this much. @default 32 MiB */
  readonly snapshotBytesMin: number;
  /** The same when the journal is closed: the next start is to be quick. @default 4 MiB */
  readonly closingSnapshotBytesMin: number;
  /** Snapshot when the journal outgrows the last snapshot by this factor. @default 2 */
  readonly snapshotFactor: number;
  /** Snapshot when this many segments have gathered, however small. @default 128 */
  readonly snapshotSegmentCountMax: number;
  /** Target size of a snapshot's frame, which is also a slice of work. @default 64 KiB */
  readonly snapshotFrameBytes: number;
  /** First and longest pause before failed background work is tried again. */
  readonly retryMsMin: number;
  readonly retryMsMax: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_TUNING: JournalTuning = {
  segmentBytesMin: 256 * KIB,
  segmentBytesMax: 8 * MIB,
  snapshotBytesMin: 32 * MIB,
  closingSnapshotBytesMin: 4 * MIB,
  snapshotFactor: 2,
  snapshotSegmentCountMax: 128,
  snapshotFrameBytes: 64 * KIB,
  retryMsMin: 1_000,
  retryMsMax: 60_000,
};
