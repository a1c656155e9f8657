/**
 * Writes a snapshot of the live state while batches go on.
 *
 * The snapshot is fuzzy: each entry is as it was at some moment after the segment with the same
 * number began. All batches of that segment and later ones are replayed on top of it, from the
 * first, over entries that may contain them already. That ends in the right state because every
 * write either sets its key to a value that does not depend on what was there (an intent, a whole
 * record, a deletion) or is a change, and replaying all changes of a key, in order, over a state
 * that holds some of them already gives the same result (`applyChange`).
 */

import { type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { flushDirectory } from '../directories.ts';
import { encodeFileHeader, newSalt } from './file-header.ts';
import { FILE_MODE, removeQuietly } from './file-io.ts';
import { journalFilePath, TEMPORARY_SUFFIX } from './file-names.ts';
import { encodeFrame, FRAME_KINDS, type FrameKind, sealFrame } from './frame.ts';
import type { SegmentPlace } from './segment.ts';
import { SnapshotFrameBuilder } from './snapshot-format.ts';
import type { JournalState } from './state.ts';

/** Longest piece of work between two turns of the event loop; a frame ends there too. */
const SLICE_MS = 1;
const ENTRIES_PER_CLOCK = 32;
/** Dirty pages beyond this are flushed early: one flush of everything would stall the commits. */
const FLUSH_BYTES = 1024 * 1024;

export interface SnapshotOptions {
  readonly place: SegmentPlace;
  /** Of the segment to replay first. */
  readonly number: number;
  /** Of the first batch of that segment. */
  readonly firstSequence: number;
  readonly state: JournalState;
  readonly frameBytes: number;
  /** Asked between slices; true gives up. */
  readonly isStopped: () => boolean;
}

/** Writes the snapshot; resolves with its length, or with undefined if it was stopped. */
export async function writeSnapshot(options: SnapshotOptions): Promise<number | undefined> {
  const { directory, layout, partition } = options.place;
  const path = journalFilePath(directory, 'snapshot', layout, partition, options.number);
  const temporary = path + TEMPORARY_SUFFIX;
  try {
    const handle = await open(temporary, 'w', FILE_MODE);
    let bytes: number | undefined;
    try {
      bytes = await new SnapshotWriter(options, handle).write();
    } finally {
      await handle.close();
    }
    if (bytes === undefined) {
      await removeQuietly(temporary);
      return undefined;
    }
    await rename(temporary, path);
    await flushDirectory(dirname(path));
    return bytes;
  } catch (error) {
    await removeQuietly(temporary);
    throw error;
  }
}

class SnapshotWriter {
  readonly #options: SnapshotOptions;
  readonly #handle: FileHandle;
  readonly #salt = newSalt();
  readonly #builder = new SnapshotFrameBuilder();
  #bytes = 0;
  #unflushedBytes = 0;
  #sequence = 0;
  #sliceEndMs = 0;
  #entryCount = 0;

  constructor(options: SnapshotOptions, handle: FileHandle) {
    this.#options = options;
    this.#handle = handle;
  }

  async write(): Promise<number | undefined> {
    const { place, number, firstSequence, state, isStopped } = this.#options;
    const { layout, partition, partitionCount } = place;
    const header = encodeFileHeader({
      kind: 'snapshot',
      layout,
      partition,
      partitionCount,
      number,
      firstSequence,
      fileBytes: 0,
      flushed: true,
      salt: this.#salt,
    });
    await this.#append(header);
    this.#beginSlice();
    // What is there now comes first in a map, so visiting as many entries as there are now visits
    // all of it, and ends however fast new ones come.
    let left = state.intents.size;
    for (const image of state.intents) {
      if (left-- === 0) break;
      this.#builder.addIntent(image);
      if (this.#isSliceOver()) await this.#endSlice();
      if (isStopped()) return undefined;
    }
    left = state.records.size;
    for (const record of state.records.values()) {
      if (left-- === 0) break;
      this.#builder.addRecord(record);
      if (this.#isSliceOver()) await this.#endSlice();
      if (isStopped()) return undefined;
    }
    await this.#endSlice();
    await this.#frame(FRAME_KINDS.END, this.#entryCount);
    await this.#handle.sync();
    return this.#bytes;
  }

  #beginSlice(): void {
    this.#sliceEndMs = performance.now() + SLICE_MS;
  }

  #isSliceOver(): boolean {
    this.#entryCount++;
    if (this.#builder.estimatedBytes >= this.#options.frameBytes) return true;
    return this.#entryCount % ENTRIES_PER_CLOCK === 0 && performance.now() >= this.#sliceEndMs;
  }

  /** Writes what was gathered; the event loop turns meanwhile. */
  async #endSlice(): Promise<void> {
    await this.#frame(FRAME_KINDS.DATA, this.#builder.take());
    if (this.#unflushedBytes >= FLUSH_BYTES) {
      await this.#handle.datasync();
      this.#unflushedBytes = 0;
    }
    this.#beginSlice();
  }

  async #frame(kind: FrameKind, payload: unknown): Promise<void> {
    // Commits use the encoding buffer while this frame is being written.
    const frame = Buffer.from(encodeFrame(payload));
    sealFrame(frame, kind, this.#sequence++, this.#salt);
    await this.#append(frame);
  }

  async #append(bytes: Buffer): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(
        bytes,
        written,
        bytes.length - written,
        this.#bytes + written,
      );
      written += bytesWritten;
    }
    this.#bytes += bytes.length;
    this.#unflushedBytes += bytes.length;
  }
}
