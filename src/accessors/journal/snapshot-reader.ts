/** Reads a snapshot back. Snapshots are never torn: whatever is not in order is damage. */
import { type FileHandle, open } from 'node:fs/promises';
import { errorCode, PULL_MANAGER_ERROR_CODES } from '../../errors.ts';
import { unpackCredentials, unpackText, unpackTime } from '../../records/codec.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type NameProof,
  PulledRecord,
} from '../../records/record.ts';
import { corruptFile, decodeArray, type FileHeader, parseFileHeader } from './file-header.ts';
import type { JournalFile } from './file-names.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_KINDS,
  framePayload,
  parseFrameHeader,
  SECTOR_BYTES,
} from './frame.ts';
import type { Pacer } from './pacer.ts';
import type { JournalState } from './state.ts';

const READ_BYTES = 1024 * 1024;

/** Reads `file` into `state`; throws `STORE_CORRUPT` or `STORE_VERSION_UNSUPPORTED`. */
export async function readSnapshot(
  file: JournalFile,
  state: JournalState,
  pacer: Pacer,
): Promise<{ header: FileHeader; bytes: number }> {
  const handle = await open(file.path, 'r');
  try {
    const { size } = await handle.stat();
    return await new SnapshotReader(file, handle, size, state).read(pacer);
  } finally {
    await handle.close();
  }
}

class SnapshotReader {
  readonly #file: JournalFile;
  readonly #handle: FileHandle;
  readonly #size: number;
  readonly #state: JournalState;
  /** A window over the file, from `#windowStart`. */
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #at = 0;
  #strings: string[] = [];
  #credentials: ImagePullCredentials[] = [];
  readonly #textOf = (value: unknown): string => {
    const text = entryOf(this.#strings, value);
    if (text === undefined) throw this.#corrupt('an entry refers to an unknown text');
    return text;
  };

  constructor(file: JournalFile, handle: FileHandle, size: number, state: JournalState) {
    this.#file = file;
    this.#handle = handle;
    this.#size = size;
    this.#state = state;
  }

  async read(pacer: Pacer): Promise<{ header: FileHeader; bytes: number }> {
    await this.#load(Math.min(SECTOR_BYTES, this.#size));
    const { header, frameBytes } = parseFileHeader(this.#window, this.#file);
    this.#at = frameBytes;
    for (let sequence = 0; ; sequence++) {
      const { kind, payload } = await this.#frame(sequence, header.salt);
      if (kind === FRAME_KINDS.END) break;
      if (kind !== FRAME_KINDS.DATA) throw this.#corrupt('a frame is of the wrong kind');
      this.#apply(decodeArray(payload, this.#file.path, this.#at));
      await pacer.pause();
    }
    if (this.#at !== this.#size) throw this.#corrupt('something follows the end of the snapshot');
    return { header, bytes: this.#size };
  }

  async #frame(sequence: number, salt: number): Promise<{ kind: number; payload: Buffer }> {
    await this.#load(FRAME_HEADER_BYTES);
    const header = parseFrameHeader(this.#window, this.#at - this.#windowStart, salt);
    if (header === undefined || header.sequence !== sequence) {
      throw this.#corrupt('the header of a frame is damaged');
    }
    await this.#load(header.frameBytes);
    const payload = framePayload(this.#window, this.#at - this.#windowStart, header, salt);
    if (payload === undefined) throw this.#corrupt('the checksum of a frame is wrong');
    this.#at += header.frameBytes;
    return { kind: header.kind, payload };
  }

  /** Makes the window hold `bytes` more bytes from the current offset. */
  async #load(bytes: number): Promise<void> {
    const end = this.#at + bytes;
    if (end > this.#size || bytes === 0) throw this.#corrupt('the file is shorter than it was');
    if (end <= this.#windowStart + this.#window.length) return;
    const length = Math.min(Math.max(bytes, READ_BYTES), this.#size - this.#at);
    const window = Buffer.allocUnsafeSlow(length);
    for (let filled = 0; filled < length; ) {
      const { bytesRead } = await this.#handle.read(
        window,
        filled,
        length - filled,
        this.#at + filled,
      );
      if (bytesRead === 0) throw this.#corrupt('the file is shorter than it was');
      filled += bytesRead;
    }
    this.#window = window;
    this.#windowStart = this.#at;
  }

  #apply(fields: unknown[]): void {
    const [isReset, strings, credentials, intents, records] = fields;
    const lists = [strings, credentials, intents, records];
    if (fields.length !== 5 || typeof isReset !== 'boolean' || !lists.every(Array.isArray)) {
      throw this.#corrupt('a frame has an unknown shape');
    }
    if (isReset) {
      this.#strings = [];
      this.#credentials = [];
    }
    try {
      for (const text of strings as unknown[]) this.#strings.push(unpackText(text));
      for (const compact of credentials as unknown[]) {
        this.#credentials.push(unpackCredentials(compact, this.#textOf));
      }
      for (const image of intents as unknown[]) this.#state.writeIntent(unpackText(image));
      this.#applyRecords(records as unknown[]);
    } catch (cause) {
      if (errorCode(cause) !== PULL_MANAGER_ERROR_CODES.RECORD_CORRUPT) throw cause;
      throw this.#corrupt('an entry has an unknown shape', cause);
    }
  }

  #applyRecords(fields: unknown[]): void {
    let at = 0;
    while (at < fields.length) {
      const imageRef = unpackText(fields[at]);
      const updatedAtMs = unpackTime(fields[at + 1]);
      const nameCount = fields[at + 2];
      if (!Number.isSafeInteger(nameCount) || (nameCount as number) < 0) {
        throw this.#corrupt('a record has an unknown shape');
      }
      at += 3;
      const end = at + 2 * (nameCount as number);
      if (end > fields.length) throw this.#corrupt('a record has an unknown shape');
      // One name is the rule; an array that grows takes room for seventeen.
      let proofs: NameProof[];
      if (nameCount === 1) {
        proofs = [this.#proof(fields[at], fields[at + 1])];
      } else {
        proofs = [];
        for (let i = at; i < end; i += 2) {
          const proof = this.#proof(fields[i], fields[i + 1]);
          const previous = proofs.at(-1)?.imageName;
          // Served, it could never be written again.
          if (previous !== undefined && compareUtf8(previous, proof.imageName) >= 0) {
            throw this.#corrupt('the names of a record are not in order');
          }
          proofs.push(proof);
        }
        proofs = proofs.slice();
      }
      at = end;
      this.#state.writePulled(new PulledRecord(imageRef, updatedAtMs, proofs));
    }
  }

  #proof(nameNumber: unknown, credentialsNumber: unknown): NameProof {
    const imageName = entryOf(this.#strings, nameNumber);
    const credentials = entryOf(this.#credentials, credentialsNumber);
    if (imageName === undefined || credentials === undefined) {
      throw this.#corrupt('a record refers to an unknown entry');
    }
    return { imageName, credentials };
  }

  #corrupt(problem: string, cause?: unknown): Error {
    return corruptFile(this.#file.path, this.#at, problem, cause);
  }
}

/** The entry of that number; a text such as `length` is none, whatever arrays have under it. */
function entryOf<T>(entries: readonly T[], number: unknown): T | undefined {
  return typeof number === 'number' ? entries[number] : undefined;
}
