/**
 * Reads the batches of a segment and tells a torn tail from damage.
 *
 * Torn means: a power cut or kill came while the last batch was being written; it was never
 * acknowledged, so it is dropped. Damage means: something that was acknowledged may be lost, so
 * nothing is served. The difference is visible because segments are full of zeros before their
 * first batch and a disk writes a sector whole or not at all: a torn batch lacks at least one
 * sector, and that one is blank. A flipped bit leaves no blank sector behind.
 */
import { corruptFile, type FileHeader } from './file-header.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_KINDS,
  findFrame,
  framePayload,
  hasBlankSector,
  isZero,
  parseFrameHeader,
  SECTOR_BYTES,
} from './frame.ts';

/**
 * Why a scan stopped: at the sequence from which a later segment takes over, at the mark of an
 * orderly close, before untouched zeros, or at a torn batch.
 */
export type ScanEnd = 'limit' | 'closed' | 'blank' | 'torn';

/** A segment's bytes, read to memory. */
export interface LoadedSegment {
  readonly path: string;
  readonly header: FileHeader;
  readonly bytes: Buffer;
  /** Offset of the first batch. */
  readonly start: number;
}

/** Walks over the batches of one segment. */
export class SegmentScan {
  /** Sequence that the next batch must have. */
  sequence: number;
  /** Offset of the next frame. */
  offset: number;
  /** Offset of the batch that `next` returned last. */
  batchOffset: number;
  /** Set once `next` returned undefined. */
  end: ScanEnd | undefined;
  readonly #segment: LoadedSegment;
  readonly #limit: number;

  /** @param limit - sequence from which on batches are those of a fenced-out writer. */
  constructor(segment: LoadedSegment, limit: number) {
    this.#segment = segment;
    this.#limit = limit;
    this.sequence = segment.header.firstSequence;
    this.offset = segment.start;
    this.batchOffset = segment.start;
  }

  /** Payload of the next batch, undefined at the end. Throws `STORE_CORRUPT`. */
  next(): Buffer | undefined {
    if (this.end !== undefined) return undefined;
    const { bytes, header: file } = this.#segment;
    const at = this.offset;
    if (this.sequence >= this.#limit) return this.#stop('limit');
    const header = parseFrameHeader(bytes, at, file.salt);
    if (header === undefined) return this.#stop(this.#endWithoutHeader());
    if (header.sequence !== this.sequence) throw this.#corrupt('a batch is out of order');
    if (at + header.frameBytes > bytes.length)
      throw this.#corrupt('a batch is longer than its file');
    const payload = framePayload(bytes, at, header, file.salt);
    if (payload === undefined) {
      if (!hasBlankSector(bytes, at, at + header.frameBytes)) {
        throw this.#corrupt('the checksum of a batch is wrong');
      }
      return this.#stop(this.#torn(at + header.frameBytes));
    }
    if (header.kind === FRAME_KINDS.CLOSE) {
      if (!isZero(bytes, at + header.frameBytes, bytes.length)) {
        throw this.#corrupt('something follows the mark of an orderly close');
      }
      return this.#stop('closed');
    }
    if (header.kind !== FRAME_KINDS.BATCH) throw this.#corrupt('a frame is of the wrong kind');
    this.batchOffset = at;
    this.offset = at + header.frameBytes;
    this.sequence++;
    return payload;
  }

  #endWithoutHeader(): ScanEnd {
    const { bytes } = this.#segment;
    const at = this.offset;
    if (isZero(bytes, at, bytes.length)) return 'blank';
    const sectorEnd = (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES;
    if (isZero(bytes, at, sectorEnd)) return this.#torn(undefined);
    // The header reaches into the next sector, of which nothing arrived.
    const straddles = at + FRAME_HEADER_BYTES > sectorEnd;
    if (straddles && isZero(bytes, sectorEnd, sectorEnd + SECTOR_BYTES)) {
      return this.#torn(undefined);
    }
    throw this.#corrupt('the header of a batch is damaged');
  }

  /** The batch lacks a sector: fine if nothing was written after it. */
  #torn(frameEnd: number | undefined): ScanEnd {
    const { bytes, header } = this.#segment;
    // Without flushes a power cut may take any sector and leave later ones: all after it is void.
    if (!header.flushed) return 'torn';
    if (findFrame(bytes, this.offset + 1, header.salt) !== -1) {
      throw this.#corrupt('a batch before others is missing');
    }
    if (frameEnd !== undefined && !isZero(bytes, frameEnd, bytes.length)) {
      throw this.#corrupt('something follows the last batch');
    }
    return 'torn';
  }

  #stop(end: ScanEnd): undefined {
    this.end = end;
    return undefined;
  }

  #corrupt(problem: string): Error {
    return corruptFile(this.#segment.path, this.offset, problem);
  }
}
