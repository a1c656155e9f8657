/**
 * Rebuilds a partition from its files: the newest snapshot, then the segments from there on.
 *
 * Only reads (and, if asked, flushes what it has read). Fails with `STORE_CORRUPT` if anything that
 * was acknowledged may be missing, with `STORE_VERSION_UNSUPPORTED` for a newer format.
 *
 * The fence: a segment's header names the sequence of its first batch. From that sequence on,
 * batches in segments before it are void: they were written by a worker that had been replaced, or
 * failed to be written and were rejected.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, PULL_MANAGER_ERROR_CODES } from '../../errors.ts';
import { replayBatch } from './batch.ts';
import {
  corruptFile,
  decodeArray,
  type FileHeader,
  parseFileHeader,
  SEGMENT_BYTES_LEAST,
} from './file-header.ts';
import { type JournalFile, MANIFEST_NAME } from './file-names.ts';
import { isZero, SECTOR_BYTES } from './frame.ts';
import type { Pacer } from './pacer.ts';
import { type LoadedSegment, SegmentScan } from './segment-scan.ts';
import { readSnapshot } from './snapshot-reader.ts';
import { type JournalState, RecordPool } from './state.ts';
import { StateReplay } from './state-replay.ts';

export interface RecoveryOptions {
  readonly directory: string;
  /** The files of the partition, by number. */
  readonly files: readonly JournalFile[];
  readonly partitionCount: number;
  /** Filled by the recovery. */
  readonly state: JournalState;
  readonly pacer: Pacer;
  /** Flush what was read: it may be in the page cache only, and is about to be served. */
  readonly flushes: boolean;
  /** Told of each batch that was being written when its writer ended; it is dropped. */
  readonly onTorn?: (path: string, offset: number) => void;
}

export interface RecoveredPartition {
  /** Of the next batch. */
  readonly nextSequence: number;
  /** Batches replayed, in bytes. */
  readonly journalBytes: number;
  readonly segmentCount: number;
  /** 0 without a snapshot. */
  readonly snapshotBytes: number;
  /** Files that hold nothing of the recovered state; they may go once a new segment is durable. */
  readonly obsolete: readonly string[];
}

/** A segment's file and what its first frame says. */
export interface SegmentInfo {
  readonly file: JournalFile;
  /** Undefined: blank, preallocated but never begun. */
  readonly header: FileHeader | undefined;
}

/** Recovers one partition into `options.state`. */
export async function recoverPartition(options: RecoveryOptions): Promise<RecoveredPartition> {
  const { state, pacer } = options;
  const files = options.files.filter((file) => !file.temporary);
  const snapshot = files.findLast((file) => file.kind === 'snapshot');
  const from = snapshot?.number ?? 0;
  const obsolete = files.filter((file) => file.number < from).map((file) => file.path);
  const segments: SegmentInfo[] = [];
  for (const file of files) {
    if (file.kind === 'journal' && file.number >= from) segments.push(await inspectSegment(file));
  }
  let nextSequence = 1;
  let snapshotBytes = 0;
  if (snapshot !== undefined) {
    const { header, bytes } = await readSnapshot(snapshot, state, pacer);
    checkPartitionCount(snapshot, header, options.partitionCount);
    nextSequence = header.firstSequence;
    snapshotBytes = bytes;
  }
  if (segments.every(({ header }) => header === undefined)) {
    const path = snapshot?.path ?? join(options.directory, MANIFEST_NAME);
    throw corruptFile(path, 0, 'the segment that belongs to it is missing');
  }
  const replay = new Replay(options, segments, nextSequence);
  await replay.run();
  return {
    nextSequence: replay.nextSequence,
    journalBytes: replay.journalBytes,
    segmentCount: replay.segmentCount,
    snapshotBytes,
    obsolete: [...obsolete, ...replay.obsolete],
  };
}

/** Whether a segment holds no batch, whatever else; throws `STORE_CORRUPT` if that is unclear. */
export async function isEmptySegment(file: JournalFile): Promise<boolean> {
  const { header } = await inspectSegment(file);
  if (header === undefined) return true;
  const segment = await loadSegment(file, false);
  return new SegmentScan(segment, Number.POSITIVE_INFINITY).next() === undefined;
}

class Replay {
  nextSequence: number;
  journalBytes = 0;
  segmentCount = 0;
  readonly obsolete: string[] = [];
  readonly #options: RecoveryOptions;
  readonly #segments: readonly SegmentInfo[];
  readonly #pool = new RecordPool();
  readonly #writes: StateReplay;

  constructor(options: RecoveryOptions, segments: readonly SegmentInfo[], nextSequence: number) {
    this.#options = options;
    this.#segments = segments;
    this.#writes = new StateReplay(options.state);
    this.nextSequence = nextSequence;
  }

  async run(): Promise<void> {
    await this.#replayAll();
    this.#writes.end();
  }

  async #replayAll(): Promise<void> {
    const limits = limitsOf(this.#segments);
    for (let i = 0; i < this.#segments.length; i++) {
      const { file, header } = this.#segments[i]!;
      const limit = limits[i]!;
      if (header === undefined || header.firstSequence >= limit) {
        this.obsolete.push(file.path);
        continue;
      }
      checkPartitionCount(file, header, this.#options.partitionCount);
      if (header.firstSequence !== this.nextSequence) {
        throw corruptFile(file.path, 0, 'batches before this file are missing');
      }
      const isCut = await this.#replay(file, limit);
      if (isCut) return this.#endEarly(i + 1);
    }
  }

  /** Replays one segment; true if it ends before the next one begins, and may do so. */
  async #replay(file: JournalFile, limit: number): Promise<boolean> {
    const segment = await loadSegment(file, this.#options.flushes);
    const scan = new SegmentScan(segment, limit);
    for (;;) {
      const payload = scan.next();
      if (payload === undefined) break;
      this.#apply(file.path, scan.batchOffset, payload);
      await this.#options.pacer.pause();
    }
    this.nextSequence = scan.sequence;
    this.journalBytes += scan.offset - segment.start;
    this.segmentCount++;
    if (scan.end === 'torn') this.#options.onTorn?.(file.path, scan.offset);
    if (limit === Number.POSITIVE_INFINITY || scan.end === 'limit') return false;
    if (!segment.header.flushed && scan.end !== 'closed') return true;
    throw corruptFile(file.path, scan.offset, 'batches are missing that a later file follows on');
  }

  #apply(path: string, offset: number, payload: Buffer): void {
    const fields = decodeArray(payload, path, offset);
    try {
      replayBatch(this.#writes, fields, this.#pool);
    } catch (cause) {
      if (errorCode(cause) !== PULL_MANAGER_ERROR_CODES.RECORD_CORRUPT) throw cause;
      throw corruptFile(path, offset, 'a batch has an unknown shape', cause);
    }
  }

  /**
   * A power cut took batches that were never flushed. What came later in the same run is void; but
   * if a later segment was flushed, its run had started from a flushed state: then it is damage.
   */
  #endEarly(from: number): void {
    for (const { file, header } of this.#segments.slice(from)) {
      if (header?.flushed) throw corruptFile(file.path, 0, 'batches before this file are missing');
      this.obsolete.push(file.path);
    }
  }
}

/** For each segment the sequence from which on a later one takes over. */
export function limitsOf(segments: readonly SegmentInfo[]): number[] {
  const limits: number[] = [];
  let limit = Number.POSITIVE_INFINITY;
  for (let i = segments.length - 1; i >= 0; i--) {
    limits.unshift(limit);
    limit = Math.min(limit, segments[i]!.header?.firstSequence ?? limit);
  }
  return limits;
}

/** Reads a segment's header. Throws `STORE_CORRUPT`. */
export async function inspectSegment(file: JournalFile): Promise<SegmentInfo> {
  const handle = await open(file.path, 'r');
  try {
    const { size } = await handle.stat();
    if (size < SEGMENT_BYTES_LEAST) {
      throw corruptFile(file.path, size, 'the file is shorter than it was');
    }
    const start = await readBytes(handle, SECTOR_BYTES);
    if (isZero(start, 0, start.length)) {
      const bytes = await readBytes(handle, size);
      if (isZero(bytes, 0, size)) return { file, header: undefined };
    }
    const { header } = parseFileHeader(start, file);
    if (header.fileBytes !== size) {
      throw corruptFile(file.path, size, `the file has not the length it had: ${header.fileBytes}`);
    }
    return { file, header };
  } finally {
    await handle.close();
  }
}

/** Reads a segment that was begun; `flushes`: and makes durable what was read. */
export async function loadSegment(file: JournalFile, flushes: boolean): Promise<LoadedSegment> {
  const handle = await open(file.path, flushes ? 'r+' : 'r');
  try {
    const { size } = await handle.stat();
    const bytes = await readBytes(handle, size);
    const { header, frameBytes } = parseFileHeader(bytes, file);
    if (flushes) await handle.datasync();
    return { path: file.path, header, bytes, start: frameBytes };
  } finally {
    await handle.close();
  }
}

async function readBytes(handle: FileHandle, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes;
}

function checkPartitionCount(file: JournalFile, header: FileHeader, expected: number): void {
  if (header.partitionCount === expected) return;
  throw corruptFile(file.path, 0, `the file is one of ${header.partitionCount}, not ${expected}`);
}
