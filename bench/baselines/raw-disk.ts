/**
 * Baseline (c), the physical limit: the same bytes written in one piece to a preallocated file, and
 * one `fdatasync`. No store that flushes before it acknowledges can be faster on this disk.
 */
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';

const CHUNK_BYTES = 1 << 20;

/** A file of fixed length, zero-filled and flushed beforehand, so that a flush changes no length. */
export class RawFile {
  readonly #path: string;
  readonly #file: number;
  readonly #length: number;
  #offset = 0;

  constructor(path: string, length: number) {
    const zeros = Buffer.alloc(CHUNK_BYTES);
    const file = openSync(`${path}.new`, 'w+', 0o600);
    for (let filled = 0; filled < length; ) {
      filled += writeSync(file, zeros, 0, Math.min(CHUNK_BYTES, length - filled), filled);
    }
    fsyncSync(file);
    renameSync(`${path}.new`, path);
    this.#path = path;
    this.#file = file;
    this.#length = length;
  }

  /** Where the next bytes go. */
  get offset(): number {
    return this.#offset;
  }

  /** Writes the bytes and returns when the disk has them; starts over at the end of the file. */
  append(bytes: Buffer): void {
    if (this.#offset + bytes.length > this.#length) this.#offset = 0;
    for (let written = 0; written < bytes.length; ) {
      const length = bytes.length - written;
      written += writeSync(this.#file, bytes, written, length, this.#offset + written);
    }
    fdatasyncSync(this.#file);
    this.#offset += bytes.length;
  }

  /** Throws unless the last bytes appended are in the file. */
  verifyLast(bytes: Buffer): void {
    const stored = readFileSync(this.#path).subarray(this.#offset - bytes.length, this.#offset);
    if (!stored.equals(bytes)) throw new Error('raw disk: the file does not hold what was written');
  }

  close(): void {
    closeSync(this.#file);
  }
}
