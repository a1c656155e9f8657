/**
 * Brings the kubelet's files to what memory has: whole under a name of their own and flushed, then
 * renamed, and never over a file that is not the one expected.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { KubeletBehaviour } from '../../compatibility.ts';
import { PullManagerError, quote } from '../../errors.ts';
import type { PulledRecord } from '../../records/record.ts';
import { flushDirectory, makeDirectory } from '../directories.ts';
import { FILE_MODE, removeQuietly } from '../journal/file-io.ts';
import { currentState, type FileState, fileId, NO_FILE, type PlacedFiles } from './file-state.ts';
import { flushFiles } from './flush-files.ts';
import type { Value } from './found-file.ts';
import { inParallel } from './in-parallel.ts';
import type { KubeletPaths, RecordKind } from './layout.ts';
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
}

/** A change that can be made by a rename. */
export interface PreparedChange<C extends FileChange = FileChange> {
  readonly change: C;
  /** Of the flushed file; undefined where the file is to go. */
  readonly temporary: string | undefined;
  readonly id: number;
}

const { O_CREAT, O_EXCL, O_WRONLY } = fs.constants;

/** Used by one thread; several may work in one directory. */
export class FilePlacer {
  /** Bytes of record files written. */
  writtenBytes = 0;
  readonly #paths: KubeletPaths;
  readonly #behaviour: KubeletBehaviour;
  readonly #placed: PlacedFiles;
  readonly #prefix: string;
  #count = 0;

  /** @param prefix - of temporary names, which nobody else in the directory uses. */
  constructor(
    paths: KubeletPaths,
    behaviour: KubeletBehaviour,
    placed: PlacedFiles,
    prefix: string,
  ) {
    this.#paths = paths;
    this.#behaviour = behaviour;
    this.#placed = placed;
    this.#prefix = prefix;
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
    const { of, temporary: directory } = this.#paths;
    // Somebody may have removed them, as a kubelet expects that they may.
    for (const path of [of.intent, of.pulled, directory]) await makeDirectory(path);
    try {
      await inParallel(changes, async (change) => {
        if (change.value === undefined) {
          prepared.push({ change, temporary: undefined, id: 0 });
          return;
        }
        const temporary = join(directory, `${this.#prefix}-${this.#count++}`);
        written.push(temporary);
        const id = await this.#write(temporary, this.#encode(change));
        prepared.push({ change, temporary, id });
      });
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
   */
  place({ change, temporary, id }: PreparedChange): FileState | undefined {
    const path = this.pathOf(change);
    const found = currentState(path);
    const { expected } = change;
    if (found.id !== expected.id) {
      if (temporary !== undefined) fs.unlinkSync(temporary);
      return undefined;
    }
    if (temporary === undefined) {
      if (found.id !== 0) fs.unlinkSync(path);
      return NO_FILE;
    }
    this.#placed.add(change.name, id);
    fs.renameSync(temporary, path);
    const { id: now, ctimeMs } = currentState(path);
    // Replaced already: whoever watches will see that it is not ours.
    return now === id ? { id, ctimeMs } : { id, ctimeMs: 0 };
  }

  /** Removes what a prepared change has left that is not made after all. */
  async discard({ temporary }: PreparedChange): Promise<void> {
    if (temporary !== undefined) await removeQuietly(temporary);
  }

  /** Makes the names of both directories durable. */
  async flushNames(): Promise<void> {
    const { intent, pulled } = this.#paths.of;
    await Promise.all([flushDirectory(intent), flushDirectory(pulled)]);
  }

  #encode({ kind, key, value }: FileChange): Buffer {
    if (kind === 'intent') return encodeIntent(key, this.#behaviour);
    return encodePulled(value as PulledRecord, this.#behaviour);
  }

  /** Answers the file's id, which it keeps when it is renamed. */
  #write(path: string, bytes: Buffer): Promise<number> {
    this.writtenBytes += bytes.length;
    return new Promise((resolve, reject) => {
      fs.open(path, O_CREAT | O_EXCL | O_WRONLY, FILE_MODE, (cause, fd) => {
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
}

/** A file takes less than it is given only where the disk is full. */
function noRoom(path: string, written: number, length: number): PullManagerError {
  const message = `no room on the disk: ${written} of ${length} bytes of ${quote(path)} were written`;
  return new PullManagerError('STORE_UNAVAILABLE', message, { path });
}
