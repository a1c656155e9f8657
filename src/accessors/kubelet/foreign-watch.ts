/**
 * Notices that others change the kubelet's directories: by the system's notifications where there are
 * any, and by looking through the directories now and then, as notifications can be lost.
 */
import { type FSWatcher, lstatSync, statSync, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { fileId, NO_FILE } from './file-state.ts';
import { isRecordName } from './layout.ts';
import type { RecordDirectories, RecordDirectory } from './record-directory.ts';
import type { Shelf } from './shelf.ts';

/** How often directories are looked at, in milliseconds. */
export interface WatchTuning {
  /** Where there are no notifications. @default 2000 */
  readonly pollMs: number;
  /** Where there are. @default 30000 */
  readonly watchedPollMs: number;
}

export const WATCH_DEFAULTS: WatchTuning = { pollMs: 2_000, watchedPollMs: 30_000 };

/** A look through a directory may take one part in so many of the time. */
const DUTY_DIVISOR = 20;
/** Files between two turns of the event loop. */
const SLICE_FILES = 256;
/** The clock of no file system takes larger steps than that: FAT's are the largest. */
const CLOCK_STEP_MS = 2_000;

export interface ForeignWatchOptions {
  readonly directories: RecordDirectories;
  readonly shelves: readonly Shelf[];
  readonly tuning: WatchTuning;
  /** Told of a file that may not be what the shelf knows; called often, also for our own files. */
  readonly onSuspect: (shelf: Shelf, name: string) => void;
  /** The directory is not the one that was opened. */
  readonly onAway: (shelf: Shelf) => void;
  /** It is again, and `onSuspect` was told of all files that differ from what the shelf knows. */
  readonly onBack: (shelf: Shelf) => void;
}

/** Watches until it is closed. Keeps no process alive. */
export class ForeignWatch {
  readonly #watches: readonly DirectoryWatch[];

  constructor(options: ForeignWatchOptions) {
    this.#watches = options.shelves.map((shelf) => new DirectoryWatch(shelf, options));
  }

  close(): void {
    for (const one of this.#watches) one.close();
  }
}

class DirectoryWatch {
  readonly #directory: RecordDirectory;
  readonly #path: string;
  readonly #shelf: Shelf;
  readonly #options: ForeignWatchOptions;
  #watcher: FSWatcher | undefined;
  /** When its names changed last before it was looked through, as `#changedAtMs` says. */
  #mtimeMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #nextScanAtMs = 0;
  #isClosed = false;

  constructor(shelf: Shelf, options: ForeignWatchOptions) {
    this.#directory = options.directories[shelf.kind];
    this.#path = this.#directory.path;
    this.#shelf = shelf;
    this.#options = options;
    this.#watch();
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }

  /** Begins to watch; without notifications there are looks only. */
  #watch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    try {
      this.#mtimeMs = this.#changedAtMs();
      const watcher = watch(this.#path, { persistent: false }, (_, name) => {
        if (name !== null && isRecordName(name)) this.#options.onSuspect(this.#shelf, name);
        // So it is called where it is told of itself.
        else if (name === basename(this.#path) && !this.#isClosed) this.#checkPlace();
      });
      watcher.on('error', () => this.#unwatch(watcher));
      this.#watcher = watcher;
    } catch {
      // No notifications here, or no more of them, or the directory is gone: see `#look`.
    }
  }

  #unwatch(watcher: FSWatcher): void {
    watcher.close();
    if (this.#watcher === watcher) this.#watcher = undefined;
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#look()
        .catch(() => {})
        .finally(() => this.#schedule());
    }, this.#options.tuning.pollMs).unref();
  }

  /** A quick look at the directory itself, and through it where that is due. */
  async #look(): Promise<void> {
    if (!this.#checkPlace()) return;
    const isBack = this.#shelf.away !== undefined;
    if (isBack) this.#watch();
    const mtimeMs = this.#changedAtMs();
    const isDue = mtimeMs !== this.#mtimeMs && performance.now() >= this.#nextScanAtMs;
    if (!isBack && !isDue) return;
    const startedMs = performance.now();
    const isWhole = await this.#scan(isBack);
    if (isWhole) this.#mtimeMs = mtimeMs;
    if (isBack && isWhole && this.#checkPlace()) this.#options.onBack(this.#shelf);
    const tookMs = performance.now() - startedMs;
    const { pollMs, watchedPollMs } = this.#options.tuning;
    const pauseMs = this.#watcher === undefined ? pollMs : watchedPollMs;
    this.#nextScanAtMs = performance.now() + Math.max(pauseMs, tookMs * DUTY_DIVISOR);
  }

  /** When its names changed last; NaN while another change could get the same time. */
  #changedAtMs(): number {
    const { mtimeMs } = statSync(this.#path);
    return Date.now() - mtimeMs < CLOCK_STEP_MS ? Number.NaN : mtimeMs;
  }

  /** Whether the directory is the one that was opened. */
  #checkPlace(): boolean {
    if (this.#directory.isInPlace) return true;
    this.#options.onAway(this.#shelf);
    return false;
  }

  /** Looks for files that differ, or takes all for such. Answers whether it got to the end. */
  async #scan(suspectsAll: boolean): Promise<boolean> {
    const { onSuspect } = this.#options;
    const names = new Set((await readdir(this.#path)).filter(isRecordName));
    let count = 0;
    for (const name of names) {
      if (++count % SLICE_FILES === 0) await turnOfEventLoop();
      if (this.#isClosed) return false;
      if (suspectsAll) {
        onSuspect(this.#shelf, name);
        continue;
      }
      const stats = lstatSync(join(this.#path, name), { throwIfNoEntry: false });
      const known = this.#shelf.fileNamed(name) ?? NO_FILE;
      if ((stats === undefined ? 0 : fileId(stats)) !== known.id) onSuspect(this.#shelf, name);
    }
    for (const name of this.#shelf.names()) if (!names.has(name)) onSuspect(this.#shelf, name);
    return true;
  }
}
