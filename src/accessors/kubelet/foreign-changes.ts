/**
 * What others have changed in the kubelet's directories and the owner has yet to take in: files that
 * are suspected, directories that went away or came back.
 */
import { join } from 'node:path';
import type { KubeletBehaviour } from '../../compatibility.ts';
import type { PullManagerError } from '../../errors.ts';
import { currentState, type PlacedFiles } from './file-state.ts';
import { isUnavailable, readRecordFile } from './found-file.ts';
import type { KubeletPaths } from './layout.ts';
import type { RecordDirectories } from './record-directory.ts';
import { recordFileName } from './record-format.ts';
import type { RedoLog } from './redo-log.ts';
import type { ChangedKeys, Shelf } from './shelf.ts';

/** Files that are read anew between two batches. */
const SUSPECTS_MAX = 512;
/** When a file is looked at again that could not be looked at. */
const RETRY_MS = 1000;

export interface ForeignChangesOptions {
  readonly shelves: readonly Shelf[];
  readonly paths: KubeletPaths;
  readonly directories: RecordDirectories;
  readonly behaviour: KubeletBehaviour;
  readonly placed: PlacedFiles;
  readonly redo: RedoLog;
  /** Has the owner look for work. */
  readonly wake: (() => void) | undefined;
}

/** Used by one thread. */
export class ForeignChanges {
  readonly #shelves: readonly Shelf[];
  readonly #paths: KubeletPaths;
  readonly #directories: RecordDirectories;
  readonly #behaviour: KubeletBehaviour;
  readonly #placed: PlacedFiles;
  readonly #redo: RedoLog;
  readonly #wakeOwner: (() => void) | undefined;
  /** Directories that went away, whereupon no answer is trusted any more. */
  readonly #gone = new Set<Shelf>();
  /** Directories that are back, and whose files are suspects as far as they differ. */
  readonly #back = new Set<Shelf>();
  #retry: NodeJS.Timeout | undefined;

  constructor(options: ForeignChangesOptions) {
    this.#shelves = options.shelves;
    this.#paths = options.paths;
    this.#directories = options.directories;
    this.#behaviour = options.behaviour;
    this.#placed = options.placed;
    this.#redo = options.redo;
    this.#wakeOwner = options.wake;
  }

  /** Whether `take` would find something to do. */
  get areThere(): boolean {
    const hasSuspects = this.#shelves.some(({ suspects }) => suspects.size > 0);
    return hasSuspects || this.#gone.size > 0 || this.#back.size > 0;
  }

  /**
   * Reads files anew that may have been changed by others. Call it between batches: what a batch was
   * computed from must not change until it is committed.
   */
  take(): ChangedKeys {
    const changed: string[] = [];
    let left = SUSPECTS_MAX;
    let isAll = false;
    for (const shelf of this.#shelves) {
      for (const name of shelf.suspects) {
        if (left === 0) break;
        left--;
        shelf.suspects.delete(name);
        if (!shelf.isSettled(name, this.#redo.retiredUpTo)) {
          shelf.postponed.add(name);
          continue;
        }
        const keys = this.reread(shelf, name);
        if (keys === 'all') isAll = true;
        else changed.push(...keys);
      }
      if (this.#gone.delete(shelf)) isAll = true;
      if (shelf.suspects.size === 0 && this.#back.delete(shelf)) {
        isAll = true;
        if (this.#directories[shelf.kind].isInPlace) shelf.away = undefined;
      }
    }
    return isAll ? 'all' : changed;
  }

  /** Takes in a file as it is now, if that is news. */
  reread(shelf: Shelf, name: string): ChangedKeys {
    const { kind } = shelf;
    const directory = this.#paths.of[kind];
    const known = shelf.fileNamed(name);
    try {
      const { id, ctimeMs } = currentState(join(directory, name));
      const isKnown = id === (known?.id ?? 0) && (id === 0 || ctimeMs === known?.ctimeMs);
      if (isKnown && !shelf.isUnread(name)) return [];
      // Another worker's.
      if (known === undefined && this.#placed.isOfAnother(name, id)) return [];
      const found = readRecordFile(directory, kind, name, this.#behaviour);
      if (isUnavailable(found?.error)) throw found?.error;
      // What was found, or not, may be another directory's. All names are looked at when it is back.
      if (!this.#directories[kind].isInPlace) return this.lose(shelf);
      const misfiled = shelf.misfiledIn(name);
      const changed = shelf.absorb(name, found);
      // It may be under its own name now; it must not seem absent until that is noticed.
      if (misfiled !== undefined) this.reread(shelf, recordFileName(misfiled));
      return changed;
    } catch {
      // It cannot be looked at now; what is known stays.
      this.lookAgain(shelf, name);
      return this.lose(shelf);
    }
  }

  /** Has a file read anew after a while. */
  lookAgain(shelf: Shelf, name: string): void {
    shelf.postponed.add(name);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.resume();
    }, RETRY_MS).unref();
  }

  /** The directory is not what it was: nothing in it is believed, until it is back. */
  lose(shelf: Shelf): ChangedKeys {
    if (shelf.away !== undefined) return [];
    try {
      this.#directories[shelf.kind].assertInPlace();
      return [];
    } catch (cause) {
      shelf.away = cause as PullManagerError;
      this.#wake(() => this.#gone.add(shelf));
      return 'all';
    }
  }

  /** Notes a file that may not be what is known of it. */
  suspect(shelf: Shelf, name: string): void {
    this.#wake(() => shelf.suspects.add(name));
  }

  /** What had to wait for the log need not any more. */
  resume(): void {
    for (const shelf of this.#shelves) {
      for (const name of shelf.postponed) this.suspect(shelf, name);
      shelf.postponed.clear();
    }
  }

  /** Notes something that the owner has to take in. */
  #wake(note: () => void): void {
    const isFirst = !this.areThere;
    note();
    if (isFirst) this.#wakeOwner?.();
  }

  /** The directory is back; its files are suspects as far as they differ. */
  regain(shelf: Shelf): void {
    this.#wake(() => this.#back.add(shelf));
  }

  close(): void {
    clearTimeout(this.#retry);
  }
}
