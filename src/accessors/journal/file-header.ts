/** The first frame of a segment or snapshot: which file it is, of which format. */
import { randomInt } from 'node:crypto';
import { PullManagerError } from '../../errors.ts';
import type { JournalFile, JournalFileKind } from './file-names.ts';
import {
  decodePayload,
  encodeFrame,
  FRAME_KINDS,
  framePayload,
  parseFrameHeader,
  SECTOR_BYTES,
  sealFrame,
} from './frame.ts';

/** Version of all files of the journal. */
export const JOURNAL_FORMAT_VERSION = 1;
/** No segment is smaller: the header and a few batches. */
export const SEGMENT_BYTES_LEAST = 4096;
const SALT_LIMIT = 2 ** 32;

export interface FileHeader {
  readonly kind: JournalFileKind;
  readonly layout: number;
  readonly partition: number;
  readonly partitionCount: number;
  readonly number: number;
  /** Segment: sequence of its first batch. Snapshot: of the first batch to apply on top of it. */
  readonly firstSequence: number;
  /** Segment: preallocated length, which never changes. Snapshot: 0. */
  readonly fileBytes: number;
  /** Whether batches were flushed before they were acknowledged. */
  readonly flushed: boolean;
  /** Initial value of the CRCs of all frames but the first. */
  readonly salt: number;
}

/** A random initial value for the CRCs of a file. */
export function newSalt(): number {
  return randomInt(SALT_LIMIT);
}

/** The first frame of a file; it fits in one sector, so it is there as a whole or not at all. */
export function encodeFileHeader(header: FileHeader): Buffer {
  const frame = Buffer.from(
    encodeFrame([
      JOURNAL_FORMAT_VERSION,
      header.kind,
      header.layout,
      header.partition,
      header.partitionCount,
      header.number,
      header.firstSequence,
      header.fileBytes,
      header.flushed,
      header.salt,
    ]),
  );
  sealFrame(frame, FRAME_KINDS.FILE, header.firstSequence, 0);
  return frame;
}

/**
 * Reads the first frame of `file` from its first bytes.
 *
 * @returns the header and the length of its frame.
 * @throws `STORE_VERSION_UNSUPPORTED` for a newer format, `STORE_CORRUPT` for anything but a header
 * that belongs to a file of that name.
 */
export function parseFileHeader(
  bytes: Buffer,
  file: JournalFile,
): { header: FileHeader; frameBytes: number } {
  const frame = parseFrameHeader(bytes, 0, 0);
  if (frame === undefined || frame.kind !== FRAME_KINDS.FILE || frame.frameBytes > SECTOR_BYTES) {
    throw corruptFile(file.path, 0, 'the header of the file is damaged');
  }
  const payload = framePayload(bytes, 0, frame, 0);
  if (payload === undefined) throw corruptFile(file.path, 0, 'the header of the file is damaged');
  const fields = decodeArray(payload, file.path, 0);
  const [version] = fields;
  if (typeof version === 'number' && version > JOURNAL_FORMAT_VERSION) {
    throw newerVersion(file.path, version);
  }
  if (version !== JOURNAL_FORMAT_VERSION || fields.length !== 10) {
    throw corruptFile(file.path, 0, 'the header of the file has an unknown shape');
  }
  const [, kind, layout, partition, partitionCount, number, firstSequence] = fields;
  const [fileBytes, flushed, salt] = fields.slice(7);
  if (kind !== file.kind || layout !== file.layout || partition !== file.partition) {
    throw corruptFile(file.path, 0, 'the file is not what its name says');
  }
  if (number !== file.number) throw corruptFile(file.path, 0, 'the file is not what its name says');
  const counts = [partitionCount, firstSequence, fileBytes, salt];
  if (!counts.every((count) => Number.isSafeInteger(count)) || typeof flushed !== 'boolean') {
    throw corruptFile(file.path, 0, 'the header of the file has an unknown shape');
  }
  const header: FileHeader = {
    kind: file.kind,
    layout: file.layout,
    partition: file.partition,
    partitionCount: partitionCount as number,
    number: file.number,
    firstSequence: firstSequence as number,
    fileBytes: fileBytes as number,
    flushed,
    salt: salt as number,
  };
  return { header, frameBytes: frame.frameBytes };
}

/** The array in a payload whose checksum was right; anything else raises `STORE_CORRUPT`. */
export function decodeArray(payload: Buffer, path: string, offset: number): unknown[] {
  let value: unknown;
  try {
    value = decodePayload(payload);
  } catch (cause) {
    throw corruptFile(path, offset, 'a payload is not msgpack', cause);
  }
  if (!Array.isArray(value)) throw corruptFile(path, offset, 'a payload is not an array');
  return value;
}

/** `STORE_CORRUPT` of a file, with the offset at which the problem was seen. */
export function corruptFile(
  path: string,
  offset: number,
  problem: string,
  cause?: unknown,
): PullManagerError {
  return new PullManagerError(
    'STORE_CORRUPT',
    `journal file ${path} is damaged at offset ${offset}: ${problem}; it was left untouched`,
    { path, offset, reason: problem, cause },
  );
}

/** `STORE_VERSION_UNSUPPORTED` of a file. */
export function newerVersion(path: string, version: number): PullManagerError {
  return new PullManagerError(
    'STORE_VERSION_UNSUPPORTED',
    `journal file ${path} has format version ${version}; this version of pullwarden reads ` +
      `${JOURNAL_FORMAT_VERSION}`,
    { path },
  );
}
