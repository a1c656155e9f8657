/**
 * Brings the kubelet's files to what memory has: whole under a name of their own and flushed, then
 * renamed, and never over a file that is not the one expected.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { errorCode, PullManagerError, quote } from '../../errors.ts';
import type { PulledRecord } from '../../records/record.ts';
import { makeDirectory } from '../directories.ts';
import { FILE_MODE, removeQuietly } from '../journal/file-io.ts';
import { Pacer } from '../journal/pacer.ts';
import { currentState, type FileState, fileId, NO_FILE, type PlacedFiles } from './file-state.ts';
import { flushFiles } from './flush-files.ts';
import type { Value } from './found-file.ts';
import { inParallel } from './in-parallel.ts';
import type { KubeletPaths, RecordKind } from './layout.ts';
import type { RecordDirectories } from './record-directory.ts';
import { encodeIntent, encodePulled } from './record-format.ts';

/** What a file is to become. */
export interface FileChange {
  readonly kind: RecordKind;
  readonly key: string;
  readonly name: string;
  /** Undefined: the file is to go. */
  readonly value: Value | undefined;
  /** The file that is to be replaced or removed; `id` 0: there is none. */
  readonly expected: FileState;
  /**
   * Name that the file to be replaced or removed gets, unless something has it: it holds the record
   * of another key, perhaps its only one.
   */
  readonly rescueTo: string | undefined;
}

/** A change that can be made by a rename. */
export interface PreparedChange<C extends FileChange = FileChange> {
  readonly change: C;
  /** Of the flushed file; undefined where the file is to go, or cannot be made. */
  readonly temporary: string | undefined;
  readonly id: number;
  /** Why it cannot be made: no file can say what it is to say. */
  readonly refusal?: PullManagerError;
}

export interface FilePlacerOptions {
  readonly paths: KubeletPaths;
  readonly directories: RecordDirectories;
  readonly behaviour: KubeletBehaviour;
  readonly placed: PlacedFiles;
  /** Of temporary names; nobody else in the directory uses it. */
  readonly prefix: string;
  /** Whether the thread may be blocked for a few files at a time: it takes a third of the work. */
  readonly mayBlock: boolean;
}

const { O_CREAT, O_EXCL, O_WRONLY } = fs.constants;
const NEW_FILE = O_CREAT | O_EXCL | O_WRONLY;
/** Callers wait for an answer no longer than that, or than one file takes. */
const SLICE_MS = 1;

/** Used by one thread; several may work in one directory. */
export class FilePlacer {
  /** Bytes of record files written. */
  writtenBytes = 0;
  readonly #paths: KubeletPaths;
  readonly #directories: RecordDirectories;
  readonly #behaviour: KubeletBehaviour;
  readonly #placed: PlacedFiles;
  readonly #prefix: string;
  readonly #mayBlock: boolean;
  #count = 0;

  constructor(options: FilePlacerOptions) {
    this.#paths = options.paths;
    this.#directories = options.directories;
    this.#behaviour = options.behaviour;
    this.#placed = options.placed;
    this.#prefix = options.prefix;
    this.#mayBlock = options.mayBlock;
  }

  /** The `image_manager` directory. */
  get dir(): string {
    return this.#paths.dir;
  }

  /** Path of a record's file. */
  pathOf({ kind, name }: Pick<FileChange, 'kind' | 'name'>): string {
    return join(this.#paths.of[kind], name);
  }

  /** Writes and flushes the new files; when it rejects, nothing is left of them. */
  async prepare<C extends FileChange>(changes: readonly C[]): Promise<PreparedChange<C>[]> {
    const prepared: PreparedChange<C>[] = [];
    const written: string[] = [];
    for (const { kind } of changes) this.#directories[kind].assertInPlace();
    const { temporary: directory } = this.#paths;
    await makeDirectory(directory);
    try {
      const writing: PreparedChange<C>[] = [];
      for (const change of changes) {
        const isRemoval = change.value === undefined;
        const temporary = isRemoval
          ? undefined
          : join(directory, `${this.#prefix}-${this.#count++}`);
        (isRemoval ? prepared : writing).push({ change, temporary, id: 0 });
      }
      const pacer = new Pacer(this.#mayBlock, SLICE_MS);
      const write = async ({ change, temporary }: PreparedChange<C>): Promise<void> => {
        let bytes: Buffer;
        try {
          bytes = this.#encode(change);
        } catch (cause) {
          // What others wrote may make too much of it. It keeps nobody from the rest.
          const refusal = this.#inexpressible(change, cause);
          prepared.push({ change, temporary: undefined, id: 0, refusal });
          return;
        }
        this.writtenBytes += bytes.length;
        written.push(temporary!);
        const id = this.#mayBlock
          ? writeSync(temporary!, bytes)
          : await writeAsync(temporary!, bytes);
        prepared.push({ change, temporary, id });
        await pacer.pause();
      };
      if (this.#mayBlock) for (const one of writing) await write(one);
      else await inParallel(writing, write);
      await flushFiles(directory, written);
    } catch (error) {
      for (const path of written) await removeQuietly(path);
      throw error;
    }
    return prepared;
  }

  /**
   * Makes a prepared change; blocks for some microseconds. Its name is durable after `flushNames`.
   *
   * @returns the file that is there now, or undefined if there was another than expected: then nothing
   * has happened, and the temporary file is gone. Between the look and the rename it can be replaced
   * unseen.
   *
   * @throws why it cannot be made; what the file system says; `STORE_UNAVAILABLE` if the directory is
   * not the one that was opened: then nothing is known of where the file is.
   */
  place({ change, temporary, id, refusal }: PreparedChange): FileState | undefined {
    if (refusal !== undefined) throw refusal;
    const path = this.pathOf(change);
    const found = currentState(path);
    const { expected } = change;
    if (found.id !== expected.id) {
      if (temporary !== undefined) fs.unlinkSync(temporary);
      return undefined;
    }
    if (change.rescueTo !== undefined) this.#rescue(path, change.kind, change.rescueTo);
    if (temporary === undefined) {
      if (found.id !== 0) fs.unlinkSync(path);
      return NO_FILE;
    }
    this.#placed.add(change.name, id);
    try {
      fs.renameSync(temporary, path);
    } catch (cause) {
      // It may have been done in spite of its error: another's file, it would be joined with ours.
      if (currentState(path).id !== id) throw cause;
    }
    this.#directories[change.kind].assertNotReplaced();
    return placedState(path, id);
  }

  /** Removes what a prepared change has left that is not made after all. */
  async discard({ temporary }: PreparedChange): Promise<void> {
    if (temporary !== undefined) await removeQuietly(temporary);
  }

  /** Makes durable what was placed: the names in the directories of these kinds. */
  async flushNames(kinds: ReadonlySet<RecordKind>): Promise<void> {
    await Promise.all(Array.from(kinds, (kind) => this.#directories[kind].flush()));
  }

  /** Gives a file a second name, durably, before it loses the first. */
  #rescue(path: string, kind: RecordKind, name: string): void {
    const directory = this.#directories[kind];
    try {
      fs.linkSync(path, join(directory.path, name));
    } catch (cause) {
      // The key has a file of its own.
      if (errorCode(cause) === 'EEXIST') return;
      throw cause;
    }
    directory.flushSync();
  }

  #inexpressible(change: FileChange, cause: unknown): PullManagerError {
    const path = this.pathOf(change);
    const message = `no file can say what ${quote(path)} is to say: ${(cause as Error).message}`;
    return new PullManagerError('STORE_UNAVAILABLE', message, { path, cause });
  }

  #encode({ kind, key, value }: FileChange): Buffer {
    if (kind === 'intent') return encodeIntent(key, this.#behaviour);
    return encodePulled(value as PulledRecord, this.#behaviour);
  }
}

/**
 * The file that was just put under its name. Where that has another by now, or cannot be looked at,
 * without a time: whoever watches will read it again.
 */
function placedState(path: string, id: number): FileState {
  try {
    const { id: now, ctimeMs } = currentState(path);
    if (now === id) return { id, ctimeMs };
  } catch {
    // It is in its place for all that.
  }
  return { id, ctimeMs: 0 };
}

/** Answers the id of the new file, which it keeps when it is renamed. Blocks. */
function writeSync(path: string, bytes: Buffer): number {
  const fd = fs.openSync(path, NEW_FILE, FILE_MODE);
  try {
    const count = fs.writeSync(fd, bytes, 0, bytes.length, 0);
    if (count < bytes.length) throw noRoom(path, count, bytes.length);
    return fileId(fs.fstatSync(fd));
  } finally {
    fs.closeSync(fd);
  }
}

/** As `writeSync`, without blocking. */
function writeAsync(path: string, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, NEW_FILE, FILE_MODE, (cause, fd) => {
      if (cause !== null) return reject(cause);
      const end = (error: Error | null, id: number): void => {
        fs.close(fd, (closing) => {
          const failure = error ?? closing;
          if (failure) reject(failure);
          else resolve(id);
        });
      };
      fs.write(fd, bytes, 0, bytes.length, 0, (error, count) => {
        if (error !== null) return end(error, 0);
        if (count < bytes.length) return end(noRoom(path, count, bytes.length), 0);
        fs.fstat(fd, (failure, stats) => end(failure, failure === null ? fileId(stats) : 0));
      });
    });
  });
}

/** A file takes less than it is given only where the disk is full. */
function noRoom(path: string, written: number, length: number): PullManagerError {
  const message = `no room on the disk: ${written} of ${length} bytes of ${quote(path)} were written`;
  return new PullManagerError('STORE_UNAVAILABLE', message, { path });
}
