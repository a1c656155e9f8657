/**
 * Frames: the unit in which the journal's files are written and checked.
 *
 * | Offset | Bytes | Content |
 * | --- | --- | --- |
 * | 0 | 3 | `D7 50 57`; not UTF-8, so no text contains it |
 * | 3 | 1 | kind, a letter |
 * | 4 | 4 | length of the payload |
 * | 8 | 8 | sequence |
 * | 16 | 4 | CRC-32 of the payload |
 * | 20 | 4 | CRC-32 of the 20 bytes before |
 * | 24 | … | payload, then zeros, then the trailer `5A`: the frame ends on a multiple of 8 |
 *
 * Integers are unsigned and little-endian. Both CRCs start from the file's salt (0 in the first
 * frame, which carries the salt), so bytes of another file, or bytes chosen by whoever names an
 * image, are never taken for a frame.
 */
import { crc32 } from 'node:zlib';
import { Packr } from 'msgpackr';

export const FRAME_HEADER_BYTES = 24;
/** What a disk writes all or nothing. */
export const SECTOR_BYTES = 512;
const ALIGNMENT = 8;
const TRAILER = 0x5a;
const CRC_OFFSET = 20;
const MARKER = Buffer.from([0xd7, 0x50, 0x57]);
const WORD = 0x1_0000_0000;
const SEQUENCE_MAX = Number.MAX_SAFE_INTEGER;

/** What a frame is, as the letter in its header. */
export const FRAME_KINDS = {
  /** First frame of every file. */
  FILE: 0x48,
  /** A batch of writes. */
  BATCH: 0x42,
  /** The segment was closed in order; its sequence is the next one. */
  CLOSE: 0x43,
  /** Entries of a snapshot. */
  DATA: 0x44,
  /** Last frame of a snapshot. */
  END: 0x45,
} as const;

export type FrameKind = (typeof FRAME_KINDS)[keyof typeof FRAME_KINDS];

const KINDS: ReadonlySet<number> = new Set(Object.values(FRAME_KINDS));

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly payloadBytes: number;
  readonly sequence: number;
  readonly payloadCrc: number;
  /** Length of the whole frame. */
  readonly frameBytes: number;
}

// Bits of msgpackr's second argument that it does not put in words: leave room for the header in
// front, and give the encoding buffer back at once.
const RESERVE_START_SPACE = 2048;
const RESET_BUFFER = 1024;
const PACK_OPTIONS = RESERVE_START_SPACE | RESET_BUFFER | FRAME_HEADER_BYTES;
const ENCODING_BYTES_KEPT = 8 * 1024 * 1024;
const ENCODING_BYTES_INITIAL = 64 * 1024;

const packr = new Packr({ useRecords: false });
/** The second argument is documented, but not typed. */
const encoder = packr as unknown as { pack(value: unknown, options: number): Buffer };

/** Length of a frame with a payload of this length. */
export function frameBytesFor(payloadBytes: number): number {
  return Math.ceil((FRAME_HEADER_BYTES + payloadBytes + 1) / ALIGNMENT) * ALIGNMENT;
}

/**
 * A frame with `value` as its payload, not yet sealed.
 *
 * The bytes lie in msgpackr's buffer, which every encoder of the thread uses: seal and write, or
 * copy them, before anything else is encoded.
 */
export function encodeFrame(value: unknown): Buffer {
  const packed = encoder.pack(value, PACK_OPTIONS);
  const length = frameBytesFor(packed.length - FRAME_HEADER_BYTES);
  let frame: Buffer;
  if (packed.byteOffset + length <= packed.buffer.byteLength) {
    frame = Buffer.from(packed.buffer, packed.byteOffset, length);
  } else {
    frame = Buffer.allocUnsafe(length);
    packed.copy(frame);
  }
  frame.fill(0, packed.length, length - 1);
  frame[length - 1] = TRAILER;
  frame.writeUInt32LE(packed.length - FRAME_HEADER_BYTES, 4);
  if (length > ENCODING_BYTES_KEPT) packr.useBuffer(Buffer.allocUnsafeSlow(ENCODING_BYTES_INITIAL));
  return frame;
}

/** Writes the header of a frame from `encodeFrame`. */
export function sealFrame(frame: Buffer, kind: FrameKind, sequence: number, salt: number): void {
  const payloadBytes = frame.readUInt32LE(4);
  const payload = frame.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + payloadBytes);
  frame.set(MARKER, 0);
  frame[3] = kind;
  frame.writeUInt32LE(sequence % WORD, 8);
  frame.writeUInt32LE(Math.floor(sequence / WORD), 12);
  frame.writeUInt32LE(crc32(payload, salt), 16);
  frame.writeUInt32LE(crc32(frame.subarray(0, CRC_OFFSET), salt), CRC_OFFSET);
}

/** The header at `offset`, or undefined if there is no valid one. */
export function parseFrameHeader(
  bytes: Buffer,
  offset: number,
  salt: number,
): FrameHeader | undefined {
  if (offset + FRAME_HEADER_BYTES > bytes.length) return undefined;
  if (bytes[offset] !== MARKER[0] || bytes[offset + 1] !== MARKER[1]) return undefined;
  if (bytes[offset + 2] !== MARKER[2]) return undefined;
  const kind = bytes[offset + 3] as FrameKind;
  if (!KINDS.has(kind)) return undefined;
  const crc = crc32(bytes.subarray(offset, offset + CRC_OFFSET), salt);
  if (crc !== bytes.readUInt32LE(offset + CRC_OFFSET)) return undefined;
  const payloadBytes = bytes.readUInt32LE(offset + 4);
  const sequence = bytes.readUInt32LE(offset + 12) * WORD + bytes.readUInt32LE(offset + 8);
  if (sequence > SEQUENCE_MAX) return undefined;
  const payloadCrc = bytes.readUInt32LE(offset + 16);
  return { kind, payloadBytes, sequence, payloadCrc, frameBytes: frameBytesFor(payloadBytes) };
}

/** The payload of the frame at `offset`, or undefined if it is not as it was written. */
export function framePayload(
  bytes: Buffer,
  offset: number,
  header: FrameHeader,
  salt: number,
): Buffer | undefined {
  const end = offset + header.frameBytes;
  if (end > bytes.length || bytes[end - 1] !== TRAILER) return undefined;
  const payloadEnd = offset + FRAME_HEADER_BYTES + header.payloadBytes;
  if (!isZero(bytes, payloadEnd, end - 1)) return undefined;
  const payload = bytes.subarray(offset + FRAME_HEADER_BYTES, payloadEnd);
  return crc32(payload, salt) === header.payloadCrc ? payload : undefined;
}

/** Decodes a payload. Throws whatever msgpackr throws; the shape is the caller's to check. */
export function decodePayload(payload: Buffer): unknown {
  return packr.unpack(payload);
}

/** Offset of the first valid frame header in `[from, bytes.length)`, or -1. */
export function findFrame(bytes: Buffer, from: number, salt: number): number {
  for (let at = bytes.indexOf(MARKER, from); at !== -1; at = bytes.indexOf(MARKER, at + 1)) {
    if (at % ALIGNMENT === 0 && parseFrameHeader(bytes, at, salt) !== undefined) return at;
  }
  return -1;
}

/**
 * Whether a sector that `[from, end)` touches holds nothing but zeros there, as it does when a power
 * cut came before it was written. A whole frame has none: its first and last byte are not zero, and
 * a payload has 512 zeros in a row only where an image is named so.
 */
export function hasBlankSector(bytes: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; ) {
    const sectorEnd = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    if (isZero(bytes, at, sectorEnd)) return true;
    at = sectorEnd;
  }
  return false;
}

const ZEROS = Buffer.alloc(64 * 1024);

/** Whether `[from, end)` holds nothing but zeros; an empty range does. */
export function isZero(bytes: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; ) {
    const length = Math.min(end - at, ZEROS.length);
    if (bytes.compare(ZEROS, 0, length, at, at + length) !== 0) return false;
    at += length;
  }
  return true;
}
