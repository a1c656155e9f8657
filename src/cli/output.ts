/** Results on their way out: in large pieces, no faster than they are taken. */
import { rmSync, type Stats } from 'node:fs';
import { type FileHandle, link, open, rename, stat, unlink } from 'node:fs/promises';
import { errorCode, quote } from '../errors.ts';
import { PipeWriter } from '../util/pipe-writer.ts';
import { UsageError } from './args.ts';

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

/**
 * Prints the result of a command as one JSON object on one line.
 *
 * @param schema - name and version of its form.
 * @param store - as it is shown.
 */
export async function printJson(schema: string, store: string, fields: object): Promise<void> {
  const output = new StandardOutput();
  await output.write(`${JSON.stringify({ schema, store, ...fields })}\n`);
  await output.end();
}

const FILE_MODE = 0o600;

/** Files that are not whole yet. Nothing of them is left, also where the process ends at once. */
const partials = new Set<string>();
process.on('exit', () => {
  for (const partial of partials) rmSync(partial, { force: true });
});

/** A file of the owner's alone, that is there as a whole or not at all. */
export class FileOutput implements Output {
  readonly isClosed = false;
  readonly #path: string;
  readonly #file: FileHandle | PipeWriter;
  /** Where it is until it is whole; undefined for devices and pipes. */
  readonly #partial: string | undefined;
  readonly #replaces: boolean;
  #piece = '';

  private constructor(
    path: string,
    file: FileHandle | PipeWriter,
    partial: string | undefined,
    replaces: boolean,
  ) {
    this.#path = path;
    this.#file = file;
    this.#partial = partial;
    this.#replaces = replaces;
  }

  /**
   * Begins a file beside its place; devices and pipes are written to as they are.
   *
   * @param replaces - whether a file that is there may be replaced.
   * @param signal - ends the wait for who reads a pipe.
   * @throws `UsageError` for a file that is there and may not be replaced; else an error that names
   * path and cause.
   */
  static async create(path: string, replaces: boolean, signal?: AbortSignal): Promise<FileOutput> {
    try {
      const there = await statOrNone(path);
      if (there?.isFIFO()) {
        return new FileOutput(path, await PipeWriter.open(path, signal), undefined, replaces);
      }
      if (there !== undefined && !there.isFile()) {
        return new FileOutput(path, await open(path, 'w'), undefined, replaces);
      }
      if (there !== undefined && !replaces) throw isThere(path);
      const partial = `${path}.${process.pid}.partial`;
      const file = await open(partial, 'wx', FILE_MODE);
      partials.add(partial);
      return new FileOutput(path, file, partial, replaces);
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  async write(text: string): Promise<void> {
    this.#piece += text;
    if (this.#piece.length >= PIECE_LENGTH) await this.#flush();
  }

  async end(): Promise<void> {
    await this.#flush();
    const partial = this.#partial;
    try {
      if (!(this.#file instanceof PipeWriter) && partial !== undefined) await this.#file.sync();
      await this.#file.close();
      if (partial === undefined) return;
      if (this.#replaces) {
        await rename(partial, this.#path);
      } else {
        // Unlike a renaming, a link replaces nothing that came in between.
        await link(partial, this.#path);
        await unlink(partial);
      }
      partials.delete(partial);
    } catch (error) {
      throw errorCode(error) === 'EEXIST' ? isThere(this.#path) : cannotWrite(this.#path, error);
    }
  }

  /** Gives up: nothing is left. */
  async discard(): Promise<void> {
    if (this.#file instanceof PipeWriter) this.#file.close();
    else await this.#file.close().catch(() => {});
    if (this.#partial === undefined) return;
    await unlink(this.#partial).catch(() => {});
    partials.delete(this.#partial);
  }

  async #flush(): Promise<void> {
    const piece = this.#piece;
    this.#piece = '';
    try {
      if (piece === '') return;
      if (this.#file instanceof PipeWriter) await this.#file.write(piece);
      else await this.#file.writeFile(piece);
    } catch (error) {
      throw cannotWrite(this.#path, error);
    }
  }
}

async function statOrNone(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isThere(path: string): UsageError {
  return new UsageError(`${quote(path)} is there already: give another name, or --force`);
}

function cannotWrite(path: string, cause: unknown): Error {
  if (cause instanceof UsageError) return cause;
  const message = `cannot write ${quote(path)}: ${errorCode(cause) ?? 'unknown error'}`;
  return new Error(message, { cause });
}
