/**
 * The file of a trace while it is recorded. Writing never makes anybody wait and never fails a call:
 * what comes faster than the disk takes it is dropped and counted, and the first error ends it.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { errorCode } from '../errors.ts';
import type { TraceHeader, TraceLine } from './format.ts';

/** Readable to its owner only: it tells who runs what. */
const FILE_MODE = 0o600;
/** What waits for the disk, in UTF-16 units. */
const WAITING_MAX = 8 * 1024 * 1024;
const PIECE_LENGTH = 64 * 1024;
/** What a killed process loses at most. */
const FLUSH_AFTER_MS = 1_000;

/** Lines on their way to a file. */
export class TraceWriter {
  readonly #file: FileHandle;
  readonly #bytesMax: number;
  readonly #onError: (problem: string) => void;
  #waiting: string[] = [];
  #waitingLength = 0;
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  private constructor(file: FileHandle, bytesMax: number, onError: (problem: string) => void) {
    this.#file = file;
    this.#bytesMax = bytesMax;
    this.#onError = onError;
  }

  /**
   * Begins a file; rejects where it is there already, or cannot be made.
   *
   * @param bytesMax After so many bytes nothing more is written.
   * @param onError Told once, why nothing more is written.
   */
  static async open(
    path: string,
    header: TraceHeader,
    bytesMax: number,
    onError: (problem: string) => void,
  ): Promise<TraceWriter> {
    const writer = new TraceWriter(await open(path, 'wx', FILE_MODE), bytesMax, onError);
    writer.#add(header);
    return writer;
  }

  /** Whether the next line will be taken. */
  get hasRoom(): boolean {
    return !this.#isOver && this.#waitingLength < WAITING_MAX;
  }

  /** Bytes that are in the file. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a line, whether there is room or not; nothing after the end. */
  write(line: TraceLine): void {
    this.#add(line);
  }

  /** Waits until what was taken is written. */
  async drained(): Promise<void> {
    while (this.#waitingLength > 0 && !this.#isOver) {
      this.#begin();
      await this.#writing;
    }
  }

  /** No further line is taken. */
  end(problem: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting = [];
    this.#waitingLength = 0;
    clearTimeout(this.#timer);
    this.#onError(problem);
  }

  /** Writes what is left, and makes it durable. Never rejects. */
  async close(): Promise<void> {
    await this.drained();
    await this.#writing;
    clearTimeout(this.#timer);
    try {
      if (!this.#isOver) await this.#file.sync();
      this.#isOver = true;
      await this.#file.close();
    } catch (error) {
      this.end(`cannot be written: ${errorCode(error) ?? 'unknown error'}`);
    }
  }

  #add(line: TraceHeader | TraceLine): void {
    if (this.#isOver) return;
    const text = `${JSON.stringify(line)}\n`;
    this.#waiting.push(text);
    this.#waitingLength += text.length;
    if (this.#waitingLength >= PIECE_LENGTH) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), FLUSH_AFTER_MS).unref();
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const piece = Buffer.from(this.#waiting.join(''));
      const { length } = this.#waiting;
      const units = this.#waitingLength;
      if (this.#bytes + piece.byteLength > this.#bytesMax) {
        this.end(`has its ${this.#bytesMax} bytes`);
        return;
      }
      try {
        await this.#file.writeFile(piece);
      } catch (error) {
        this.end(`cannot be written: ${errorCode(error) ?? 'unknown error'}`);
        return;
      }
      this.#bytes += piece.byteLength;
      if (this.#isOver) return;
      // Until here it took memory, and so it counted.
      this.#waiting.splice(0, length);
      this.#waitingLength -= units;
    }
  }
}
