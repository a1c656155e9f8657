/**
 * Byte strings of any length through a ring of bounded frames: all but the last piece travel in PART
 * frames, the last one inside the frame that they belong to.
 *
 * Sending can stop at any piece, when the ring is full, and goes on there with the next call. So a
 * producer sends one message at a time.
 */
import { REQUEST } from './frames.ts';
import { outOfStep, type RingReader, type RingWriter, wordsFor } from './ring.ts';

/** Words of a frame besides its bytes: header, up to six words, the length. */
const FRAME_OVERHEAD = 8;
/** In a length word: the PART frames before belong to this message. Others may come in between. */
const HAS_PARTS = 1 << 31;

/** The producing side. */
export class PartSender {
  readonly #ring: RingWriter;
  #sent = 0;
  /** Length of the message that is under way. */
  #length = 0;

  constructor(ring: RingWriter) {
    this.#ring = ring;
  }

  /**
   * Sends a frame of `fields` and `bytes`. Answers false when the ring is full: call again with the
   * same message.
   */
  send(opcode: number, fields: readonly number[], bytes: Uint8Array): boolean {
    const ring = this.#ring;
    if (this.#sent === 0) this.#length = bytes.length;
    else if (this.#length !== bytes.length) throw new RangeError('another message is under way');
    const pieceMax = (ring.frameWordsMax - FRAME_OVERHEAD) * 4;
    while (bytes.length - this.#sent > pieceMax) {
      const at = ring.begin(REQUEST.PART, 2 + wordsFor(pieceMax));
      if (at < 0) return false;
      ring.words[at] = pieceMax;
      ring.bytes.set(bytes.subarray(this.#sent, this.#sent + pieceMax), (at + 1) * 4);
      this.#sent += pieceMax;
    }
    const rest = bytes.length - this.#sent;
    let at = ring.begin(opcode, 2 + fields.length + wordsFor(rest));
    if (at < 0) return false;
    for (const field of fields) ring.words[at++] = field;
    ring.words[at] = this.#sent === 0 ? rest : rest | HAS_PARTS;
    ring.bytes.set(this.#sent === 0 ? bytes : bytes.subarray(this.#sent), (at + 1) * 4);
    this.#sent = 0;
    return true;
  }

  /** Whether the ring filled up in the middle of a message. */
  get isUnderway(): boolean {
    return this.#sent > 0;
  }

  reset(): void {
    this.#sent = 0;
  }
}

/** Bytes that are copied to memory that is used again and again; longer messages are rare. */
const SCRATCH_WORDS = 1024;

/** The consuming side. */
export class PartReceiver {
  readonly #ring: RingReader;
  readonly #scratch = new Int32Array(SCRATCH_WORDS);
  readonly #scratchBytes: Uint8Array = new Uint8Array(this.#scratch.buffer);
  #parts: Uint8Array[] = [];

  constructor(ring: RingReader) {
    this.#ring = ring;
  }

  /** Keeps the bytes of a PART frame. */
  part(): void {
    const { bytes, bodyAt } = this.#ring;
    this.#parts.push(copyOf(bytes, (bodyAt + 1) * 4, this.byteLength(bodyAt)));
  }

  /**
   * The bytes of a message whose length word is at `lengthAt`, copied out of shared memory (which
   * msgpack decodes forty times slower, and which the producer will overwrite).
   */
  bytes(lengthAt: number): Uint8Array {
    const ring = this.#ring;
    const last = copyOf(ring.bytes, (lengthAt + 1) * 4, this.byteLength(lengthAt));
    if (!this.hasParts(lengthAt)) return last;
    const whole = Buffer.concat([...this.#parts, last]);
    this.#parts = [];
    return whole;
  }

  /**
   * Decodes a message with `decode`, which must not keep the bytes: they are overwritten by the next
   * message. Spares an allocation, which most messages are small enough to notice.
   */
  decode<T>(lengthAt: number, decode: (bytes: Uint8Array, length: number) => T): T {
    const { words } = this.#ring;
    const length = this.byteLength(lengthAt);
    if (this.hasParts(lengthAt) || length > SCRATCH_WORDS * 4) {
      const bytes = this.bytes(lengthAt);
      return decode(bytes, bytes.length);
    }
    const scratch = this.#scratch;
    const wordCount = wordsFor(length);
    for (let i = 0; i < wordCount; i++) scratch[i] = words[lengthAt + 1 + i]!;
    return decode(this.#scratchBytes, length);
  }

  /** Whether the message whose length word is at `lengthAt` came in parts. */
  hasParts(lengthAt: number): boolean {
    return this.#ring.words[lengthAt]! < 0;
  }

  /**
   * How many bytes of the message whose length word is at `lengthAt` are in this frame.
   *
   * @throws `ENGINE_UNAVAILABLE` where the frame has no room for them.
   */
  byteLength(lengthAt: number): number {
    const { words, endAt } = this.#ring;
    const length = words[lengthAt]! & ~HAS_PARTS;
    if (lengthAt >= endAt || length > (endAt - lengthAt - 1) * 4) throw outOfStep();
    return length;
  }

  reset(): void {
    this.#parts = [];
  }
}

function copyOf(source: Buffer, at: number, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  copy.set(source.subarray(at, at + length));
  return copy;
}
