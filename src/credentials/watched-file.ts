/** Configuration files that are read again when they change. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { errorCode, quote } from '../errors.ts';
import { credentialsInvalid, readingCredentials } from './json-input.ts';

/**
 * A file changed less than this before it was read may change again without showing: clocks of file
 * systems tick slowly.
 */
const SETTLED_AFTER_MS = 2_000;

interface Read<T> {
  /** Which file it was and when it last changed. */
  readonly identity: string;
  /** Whether another change would show in the identity. */
  readonly isSettled: boolean;
  /** Of its bytes: the same bytes keep the value that was made of them. */
  readonly digest: string;
  readonly value: T | undefined;
}

/** What a file says, once it is understood; `undefined` while there is no file. */
export class WatchedFile<T> {
  readonly path: string;
  readonly #what: string;
  readonly #bytesMax: number;
  readonly #parse: (bytes: Buffer) => T;
  readonly #wallClock: () => number;
  #last: Read<T> | undefined;
  #reading: Promise<Read<T>> | undefined;

  /**
   * @param what Names the kind of file in errors.
   * @param parse Throws `JsonInputError` for what it cannot read.
   */
  constructor(
    path: string,
    options: {
      readonly what: string;
      readonly bytesMax: number;
      readonly parse: (bytes: Buffer) => T;
      /** What the file system's times are compared with. @default Date.now */
      readonly wallClock?: () => number;
    },
  ) {
    this.path = path;
    this.#what = options.what;
    this.#bytesMax = options.bytesMax;
    this.#parse = options.parse;
    this.#wallClock = options.wallClock ?? Date.now;
  }

  /** @throws `CREDENTIALS_INVALID` naming the file. */
  async read(): Promise<T | undefined> {
    const last = this.#last;
    if (last?.isSettled && last.identity === (await this.#identity())) return last.value;
    // Callers that come while it is read share the reading: a change shows a few milliseconds later.
    this.#reading ??= this.#readAgain().finally(() => {
      this.#reading = undefined;
    });
    return (await this.#reading).value;
  }

  /** Forgets what the file said. */
  clear(): void {
    this.#last = undefined;
  }

  async #identity(): Promise<string> {
    try {
      return identityOf(await stat(this.path, { bigint: true }));
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return ABSENT.identity;
      throw this.#unreadable(cause);
    }
  }

  async #readAgain(): Promise<Read<T>> {
    const previous = this.#last;
    this.#last = undefined;
    let file: FileHandle | undefined;
    try {
      // A pipe in place of the file would keep a plain opening waiting for ever.
      file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
      const read = await this.#readFrom(file, previous);
      this.#last = read;
      return read;
    } catch (cause) {
      if (errorCode(cause) !== 'ENOENT') throw this.#unreadable(cause);
      return ABSENT;
    } finally {
      await file?.close();
    }
  }

  async #readFrom(file: FileHandle, previous: Read<T> | undefined): Promise<Read<T>> {
    const before = await file.stat({ bigint: true });
    if (!before.isFile()) throw this.#invalid('it is not a regular file');
    if (before.size > BigInt(this.#bytesMax)) {
      throw this.#invalid(`it has more than ${this.#bytesMax} bytes`);
    }
    const bytes = await file.readFile();
    const digest = createHash('sha256').update(bytes).digest('base64');
    const value =
      previous?.digest === digest
        ? previous.value
        : readingCredentials(this.#name, { path: this.path }, () => this.#parse(bytes));
    const ageMs = this.#wallClock() - Number(before.ctimeNs / NS_PER_MS);
    return { identity: identityOf(before), isSettled: ageMs > SETTLED_AFTER_MS, digest, value };
  }

  get #name(): string {
    return `the ${this.#what} ${quote(this.path)}`;
  }

  #invalid(reason: string): Error {
    return credentialsInvalid(this.#name, reason, { path: this.path });
  }

  #unreadable(cause: unknown): unknown {
    const code = errorCode(cause);
    const isOurs = code === undefined || code.startsWith('ERR_PULLMANAGER_');
    return isOurs ? cause : this.#invalid(`it cannot be read: ${code}`);
  }
}

const NS_PER_MS = 1_000_000n;
const ABSENT = { identity: '', isSettled: false, digest: '', value: undefined } as const;

interface FileFacts {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: FileFacts): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}
