/**
 * Notices that others change the kubelet's directories: by the system's notifications where there are
 * any, and by looking through the directories now and then, as notifications can be lost.
 */
import { type FSWatcher, lstatSync, statSync, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { fileId, NO_FILE } from './file-state.ts';
import { isRecordName, type KubeletPaths } from './layout.ts';
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

export interface ForeignWatchOptions {
  readonly paths: KubeletPaths;
  readonly shelves: readonly Shelf[];
  readonly tuning: WatchTuning;
  /** Told of a file that may not be what the shelf knows; called often, also for our own files. */
  readonly onSuspect: (shelf: Shelf, name: string) => void;
}

/** Watches until it is closed. Keeps no process alive. */
export class ForeignWatch {
  readonly #watches: readonly DirectoryWatch[];

  constructor(options: ForeignWatchOptions) {
    const { paths, shelves, tuning, onSuspect } = options;
    this.#watches = shelves.map(
      (shelf) =>
        new DirectoryWatch(paths.of[shelf.kind], shelf, tuning, (name) => onSuspect(shelf, name)),
    );
  }

  close(): void {
    for (const one of this.#watches) one.close();
  }
}

class DirectoryWatch {
  readonly #path: string;
  readonly #shelf: Shelf;
  readonly #tuning: WatchTuning;
  readonly #onSuspect: (name: string) => void;
  #watcher: FSWatcher | undefined;
  /** The directory that is watched. */
  #ino = 0;
  /** When its names changed last before it was looked through. */
  #mtimeMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #nextScanAtMs = 0;
  #isClosed = false;

  constructor(path: string, shelf: Shelf, tuning: WatchTuning, onSuspect: (name: string) => void) {
    this.#path = path;
    this.#shelf = shelf;
    this.#tuning = tuning;
    this.#onSuspect = onSuspect;
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
      const { ino, mtimeMs } = statSync(this.#path);
      this.#ino = ino;
      this.#mtimeMs = mtimeMs;
      const watcher = watch(this.#path, { persistent: false }, (_, name) => {
        if (name !== null && isRecordName(name)) this.#onSuspect(name);
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
    }, this.#tuning.pollMs).unref();
  }

  /** A quick look at the directory itself, and through it where that is due. */
  async #look(): Promise<void> {
    const stats = statSync(this.#path, { throwIfNoEntry: false });
    const isSame = stats !== undefined && stats.ino === this.#ino;
    if (isSame && (stats.mtimeMs === this.#mtimeMs || performance.now() < this.#nextScanAtMs))
      return;
    if (!isSame) this.#watch();
    if (stats !== undefined) this.#mtimeMs = stats.mtimeMs;
    const startedMs = performance.now();
    await this.#scan();
    const tookMs = performance.now() - startedMs;
    const { pollMs, watchedPollMs } = this.#tuning;
    const pauseMs = this.#watcher === undefined ? pollMs : watchedPollMs;
    this.#nextScanAtMs = performance.now() + Math.max(pauseMs, tookMs * DUTY_DIVISOR);
  }

  async #scan(): Promise<void> {
    const found = await this.#names();
    if (found === undefined) return;
    const names = new Set(found.filter(isRecordName));
    let count = 0;
    for (const name of names) {
      if (++count % SLICE_FILES === 0) await turnOfEventLoop();
      if (this.#isClosed) return;
      const stats = lstatSync(join(this.#path, name), { throwIfNoEntry: false });
      const known = this.#shelf.fileNamed(name) ?? NO_FILE;
      if ((stats === undefined ? 0 : fileId(stats)) !== known.id) this.#onSuspect(name);
    }
    for (const name of this.#shelf.names()) if (!names.has(name)) this.#onSuspect(name);
  }

  /** A directory that cannot be read is no reason to forget what protects its images. */
  async #names(): Promise<string[] | undefined> {
    return readdir(this.#path).catch(() => undefined);
  }
}
