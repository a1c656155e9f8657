/** Results on their way out: in large pieces, no faster than they are taken. */
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { errorCode, PullManagerError, quote } from '../errors.ts';

/** Where a result goes. */
export interface Output {
  /** Whether nobody takes any more: the reader has gone, or the disk is full. */
  readonly isClosed: boolean;
  write(text: string): Promise<void>;
  /** Waits until everything has gone out. */
  end(): Promise<void>;
}

const PIECE_LENGTH = 64 * 1024;

/** The standard output. Errors are those of the stream, which `main` reports: here it is closed then. */
export class StandardOutput implements Output {
  #piece = '';
  #isClosed = false;

  constructor() {
    process.stdout.once('error', () => {
      this.#isClosed = true;
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async write(text: string): Promise<void> {
    this.#piece += text;
    if (this.#piece.length >= PIECE_LENGTH) await this.end();
  }

  async end(): Promise<void> {
    const piece = this.#piece;
    this.#piece = '';
    if (piece === '' || this.#isClosed) return;
    await new Promise<void>((resolve) => {
      process.stdout.write(piece, (error) => {
        if (error) this.#isClosed = true;
        resolve();
      });
    });
  }
}

const FILE_MODE = 0o600;

/** A file of the owner's alone; removed again where it does not become whole. */
export class FileOutput implements Output {
  readonly isClosed = false;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #isOurs: boolean;
  #piece = '';

  private constructor(path: string, file: FileHandle, isOurs: boolean) {
    this.#path = path;
    this.#file = file;
    this.#isOurs = isOurs;
  }

  /**
   * Begins a new file; devices and pipes are written to as they are.
   *
   * @param replaces - whether a file that is there may be written over.
   * @throws `STORE_UNAVAILABLE` naming the path.
   */
  static async create(path: string, replaces: boolean): Promise<FileOutput> {
    try {
      return new FileOutput(path, await open(path, 'wx', FILE_MODE), true);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw cannotWrite(path, error);
    }
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r+');
      const isFile = (await file.stat()).isFile();
      if (isFile && !replaces) {
        const message = `${quote(path)} is there already: give another name, or --force`;
        throw new PullManagerError('STORE_UNAVAILABLE', message, { path });
      }
      if (isFile) {
        await file.chmod(FILE_MODE);
        await file.truncate();
      }
      return new FileOutput(path, file, isFile);
    } catch (error) {
      await file?.close();
      throw cannotWrite(path, error);
    }
  }

  async write(text: string): Promise<void> {
    this.#piece += text;
    if (this.#piece.length >= PIECE_LENGTH) await this.#flush();
  }

  async end(): Promise<void> {
    await this.#flush();
    try {
      if (this.#isOurs) await this.#file.sync();
      await this.#file.close();
    } catch (error) {
      throw cannotWrite(this.#path, error);
    }
  }

  /** Gives up: a part of a file is worse than none. */
  async discard(): Promise<void> {
    await this.#file.close().catch(() => {});
    if (this.#isOurs) await unlink(this.#path).catch(() => {});
  }

  async #flush(): Promise<void> {
    const piece = this.#piece;
    this.#piece = '';
    try {
      if (piece !== '') await this.#file.writeFile(piece);
    } catch (error) {
      throw cannotWrite(this.#path, error);
    }
  }
}

function cannotWrite(path: string, cause: unknown): PullManagerError {
  if (cause instanceof PullManagerError) return cause;
  const message = `cannot write ${quote(path)}: ${errorCode(cause) ?? 'unknown error'}`;
  return new PullManagerError('STORE_UNAVAILABLE', message, { path, cause });
}
