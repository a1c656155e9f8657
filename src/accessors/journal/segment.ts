/**
 * The writing side of a segment: preallocated with zeros, so that a flush changes no metadata and a
 * torn batch can be told from a damaged one.
 */

import * as fs from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { flushDirectory } from '../directories.ts';
import { encodeFileHeader, type FileHeader, newSalt, SEGMENT_BYTES_LEAST } from './file-header.ts';
import {
  closeQuietly,
  FILE_MODE,
  flushFile,
  removeQuietly,
  WRITES_CAN_FLUSH,
  writeFully,
  writeFullySync,
} from './file-io.ts';
import { journalFilePath, TEMPORARY_SUFFIX } from './file-names.ts';
import { encodeFrame, FRAME_KINDS, frameBytesFor, sealFrame } from './frame.ts';

/**
 * A segment is filled in such pieces, each durable before the next is written. Commits go on beside
 * it: behind a whole segment of unflushed zeros they would wait for milliseconds.
 */
const ZEROS = Buffer.alloc(256 * 1024);
const { O_CREAT, O_EXCL, O_WRONLY, O_DSYNC } = fs.constants;
const FILL_FLAGS = O_CREAT | O_EXCL | O_WRONLY | (WRITES_CAN_FLUSH ? O_DSYNC : 0);
const CLOSE_FRAME_BYTES = frameBytesFor(1);
const HEADER_BYTES_MAX = 512;

/** Which segment to make. */
export interface SegmentPlace {
  readonly directory: string;
  readonly layout: number;
  readonly partition: number;
  readonly partitionCount: number;
  /** Whether a write is durable when it returns. */
  readonly flushed: boolean;
}

/** Least length of a segment that has room for a batch of `frameBytes`. */
export function segmentBytesFor(frameBytes: number): number {
  return HEADER_BYTES_MAX + frameBytes + CLOSE_FRAME_BYTES;
}

/** A preallocated segment; it takes batches from `begin` on. Used by one thread. */
export class Segment {
  readonly path: string;
  readonly number: number;
  readonly fileBytes: number;
  /** Offset of the next frame. */
  position = 0;
  /** A write failed: what is on disk behind `position` is unknown, nothing more may be written. */
  hasFailed = false;
  readonly #place: SegmentPlace;
  readonly #fd: number;
  readonly #salt = newSalt();

  private constructor(
    place: SegmentPlace,
    path: string,
    number: number,
    fileBytes: number,
    fd: number,
  ) {
    this.#place = place;
    this.path = path;
    this.number = number;
    this.fileBytes = fileBytes;
    this.#fd = fd;
  }

  /**
   * Creates a blank segment of at least that length, without blocking the thread. Its length, its zeros and its name are
   * durable before anything is written to it, so no crash leaves a shorter one.
   */
  static async create(place: SegmentPlace, number: number, bytesLeast: number): Promise<Segment> {
    const fileBytes = Math.ceil(bytesLeast / SEGMENT_BYTES_LEAST) * SEGMENT_BYTES_LEAST;
    const { directory, layout, partition, flushed } = place;
    const path = journalFilePath(directory, 'journal', layout, partition, number);
    const temporary = path + TEMPORARY_SUFFIX;
    let fd: number | undefined;
    let created: string | undefined;
    try {
      const handle = await open(temporary, FILL_FLAGS, FILE_MODE);
      created = temporary;
      try {
        for (let written = 0; written < fileBytes; ) {
          const length = Math.min(ZEROS.length, fileBytes - written);
          const { bytesWritten } = await handle.write(ZEROS, 0, length, written);
          if (!WRITES_CAN_FLUSH) await handle.datasync();
          written += bytesWritten;
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      fd = await openForWriting(temporary, flushed && WRITES_CAN_FLUSH);
      await rename(temporary, path);
      created = path;
      await flushDirectory(dirname(path));
      return new Segment(place, path, number, fileBytes, fd);
    } catch (error) {
      if (fd !== undefined) closeQuietly(fd);
      if (created !== undefined) await removeQuietly(created);
      throw error;
    }
  }

  /** Whether a frame of this length, and the mark of an orderly close, fit. */
  fits(frameBytes: number): boolean {
    return this.position + frameBytes + CLOSE_FRAME_BYTES <= this.fileBytes;
  }

  /** Writes the header, durable in any case; blocks. From then on the segments before end here. */
  beginSync(firstSequence: number): void {
    const bytes = this.#header(firstSequence);
    this.#guardSync(() => {
      writeFullySync(this.#fd, bytes, 0);
      if (!this.#writesFlush) fs.fdatasyncSync(this.#fd);
    });
    this.position = bytes.length;
  }

  /** As `beginSync`, without blocking. */
  async begin(firstSequence: number): Promise<void> {
    const bytes = this.#header(firstSequence);
    await this.#guard(async () => {
      await writeFully(this.#fd, bytes, 0);
      if (!this.#writesFlush) await flushFile(this.#fd);
    });
    this.position = bytes.length;
  }

  /** Completes a frame for this segment. */
  seal(frame: Buffer, sequence: number): void {
    sealFrame(frame, FRAME_KINDS.BATCH, sequence, this.#salt);
  }

  /** Writes a sealed frame, durable if the segment is flushed; blocks. */
  writeSync(frame: Buffer): void {
    this.#guardSync(() => {
      writeFullySync(this.#fd, frame, this.position);
      if (this.#place.flushed && !this.#writesFlush) fs.fdatasyncSync(this.#fd);
    });
    this.position += frame.length;
  }

  /** As `writeSync`, without blocking; `frame` must stay as it is until then. */
  async write(frame: Buffer): Promise<void> {
    await this.#guard(async () => {
      await writeFully(this.#fd, frame, this.position);
      if (this.#place.flushed && !this.#writesFlush) await flushFile(this.#fd);
    });
    this.position += frame.length;
  }

  /** Marks the end of the segment, so that a later loss of its tail cannot pass for a crash. */
  async finish(nextSequence: number): Promise<void> {
    const frame = Buffer.from(encodeFrame(0));
    sealFrame(frame, FRAME_KINDS.CLOSE, nextSequence, this.#salt);
    await this.write(frame);
    if (!this.#place.flushed) await flushFile(this.#fd);
  }

  /** Gives the file back; the segment takes nothing more. */
  release(): void {
    closeQuietly(this.#fd);
  }

  /** Gives the file back and removes it; for one that holds no batch. */
  async discard(): Promise<void> {
    this.release();
    await removeQuietly(this.path);
  }

  get #writesFlush(): boolean {
    return this.#place.flushed && WRITES_CAN_FLUSH;
  }

  #header(firstSequence: number): Buffer {
    const { layout, partition, partitionCount, flushed } = this.#place;
    const header: FileHeader = {
      kind: 'journal',
      layout,
      partition,
      partitionCount,
      number: this.number,
      firstSequence,
      fileBytes: this.fileBytes,
      flushed,
      salt: this.#salt,
    };
    return encodeFileHeader(header);
  }

  #guardSync(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.hasFailed = true;
      throw error;
    }
  }

  async #guard(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      this.hasFailed = true;
      throw error;
    }
  }
}

function openForWriting(path: string, flushesEachWrite: boolean): Promise<number> {
  const flags = fs.constants.O_RDWR | (flushesEachWrite ? O_DSYNC : 0);
  return new Promise((resolve, reject) => {
    fs.open(path, flags, (error, fd) => (error === null ? resolve(fd) : reject(error)));
  });
}
