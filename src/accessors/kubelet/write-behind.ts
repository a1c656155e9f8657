/**
 * Writes the kubelet's files behind the redo log: some time after a write, and for all keys that have
 * changed meanwhile at once, so that flushes are shared and what was soon undone costs nothing.
 */
import { PullManagerError, storeError } from '../../errors.ts';
import { type BackgroundWork, Backoff } from '../journal/background.ts';
import { Pacer } from '../journal/pacer.ts';
import type { FileChange, FilePlacer } from './file-placer.ts';
import type { FileState } from './file-state.ts';
import { writeOf } from './filed-write.ts';
import { recordFileName } from './record-format.ts';
import type { RedoLog } from './redo-log.ts';
import type { Entry, Shelf } from './shelf.ts';

/** Limits of the write-behind. Defaults serve a node; tests make everything small. */
export interface WriteBehindTuning {
  /** How long a write waits for others, in milliseconds. @default 2000 */
  readonly delayMs: number;
  /** So many keys wait for no more. @default 4096 */
  readonly eagerKeys: number;
  /** Commits wait while more keys than that lag behind. @default 16384 */
  readonly keysMax: number;
  /** Commits wait while the redo log is longer than that. @default 64 MiB */
  readonly redoBytesMax: number;
  /** Shortest and longest pause after a failure, in milliseconds. */
  readonly retryMsMin: number;
  readonly retryMsMax: number;
}

export const WRITE_BEHIND_DEFAULTS: WriteBehindTuning = {
  delayMs: 2_000,
  eagerKeys: 4096,
  keysMax: 16_384,
  redoBytesMax: 64 * 1024 * 1024,
  retryMsMin: 100,
  retryMsMax: 10_000,
};

/** Keys of one kind in one pass, so that memory and the time of a flush stay bounded. */
const PASS_KEYS_MAX = 4096;
/** Callers wait for an answer no longer than that, or than one file takes. */
const SLICE_MS = 1;
/** Failed passes in a row after which a closing store leaves the rest to its next opening. */
const CLOSING_FAILURES_MAX = 3;

export interface WriteBehindOptions {
  readonly shelves: readonly Shelf[];
  readonly redo: RedoLog;
  readonly placer: FilePlacer;
  readonly background: BackgroundWork;
  readonly tuning: WriteBehindTuning;
  /** Told of a file that is not the one that was expected. */
  readonly onForeign: (shelf: Shelf, name: string) => void;
  /** Told that the log was retired. */
  readonly onRetired: () => void;
}

interface EntryChange extends FileChange {
  readonly shelf: Shelf;
  readonly entry: Entry;
  readonly revision: number;
}

interface Placed {
  readonly change: EntryChange;
  readonly file: FileState;
}

/** Used by one thread. */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #backoff: Backoff;
  #timer: NodeJS.Timeout | undefined;
  #pass: Promise<void> | undefined;
  #failure: PullManagerError | undefined;
  /** The last pass could place nothing, as others had changed all the files that it was to replace. */
  #isDisturbed = false;
  /** Settles when no file lags behind any more. */
  #lagging: Promise<void> | undefined;
  #caughtUp: (() => void) | undefined;
  #isClosing = false;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.tuning.retryMsMin, options.tuning.retryMsMax);
  }

  /** Settles when no file lags behind any more; undefined: none does. Never rejects. */
  get pending(): Promise<void> | undefined {
    return this.#lagging;
  }

  /** Number of keys whose files lag behind. */
  get keys(): number {
    return this.#options.shelves.reduce((sum, { dirty }) => sum + dirty.size, 0);
  }

  /** Whether commits have to wait. */
  get isFull(): boolean {
    const { keys } = this;
    const { keysMax, redoBytesMax } = this.#options.tuning;
    // Where no file lags behind, waiting would not make the log any shorter.
    return keys >= keysMax || (keys > 0 && this.#options.redo.liveBytes >= redoBytesMax);
  }

  /** To be called after each write: sees to it that a pass comes. */
  schedule(): void {
    if (!this.#hasWork) return;
    const { keys } = this;
    this.#lagging ??= new Promise((resolve) => {
      this.#caughtUp = resolve;
    });
    if (this.#pass !== undefined || this.#isClosing) return;
    const { delayMs, eagerKeys } = this.#options.tuning;
    if (keys >= eagerKeys && this.#backoff.isReady) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), delayMs).unref();
  }

  /** Resolves when commits need not wait any more. Rejects with the reason where files cannot be written. */
  async room(): Promise<void> {
    while (this.isFull) {
      if (this.#pass === undefined && this.#backoff.isReady) this.#start();
      if (this.#pass === undefined) throw this.#failure;
      await this.#pass;
      if (!this.isFull) return;
      if (this.#failure !== undefined) throw this.#failure;
      // Files that others have changed are taken in between commits, never during one.
      if (this.#isDisturbed) throw this.#disturbed();
    }
  }

  #disturbed(): PullManagerError {
    const { dir } = this.#options.placer;
    const reason = 'others are changing them';
    const message = `record files below ${dir} lag too far behind: ${reason}`;
    return new PullManagerError('STORE_UNAVAILABLE', message, { path: dir, reason });
  }

  /** One pass over what lags behind now, tried once. Answers whether all of it has its files. */
  async flush(): Promise<boolean> {
    await this.#pass;
    if (this.#hasWork) {
      this.#start();
      await this.#pass;
    }
    return this.keys === 0;
  }

  /** Writes what is left, if it can be written. Answers whether nothing is left. Never rejects. */
  async close(takeIn: () => void): Promise<boolean> {
    this.#isClosing = true;
    await this.#pass;
    for (let failures = 0; this.#isBehind && failures < CLOSING_FAILURES_MAX; ) {
      takeIn();
      await this.flush();
      // A file that another has replaced, and that cannot be read, stays as it is.
      if (this.#failure !== undefined || this.#isDisturbed) failures++;
    }
    clearTimeout(this.#timer);
    return !this.#isBehind;
  }

  /** Whether something of the log is still needed. */
  get #isBehind(): boolean {
    return this.keys > 0 || this.#options.shelves.some(({ obsoleteLogs }) => obsoleteLogs.size > 0);
  }

  /** A log whose writes are all in files has to be retired, or a crash would bring them back. */
  get #hasWork(): boolean {
    return this.#isBehind || (this.#options.redo.isInUse && !this.#isClosing);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pass !== undefined) return;
    this.#pass = this.#run()
      .then(
        () => {
          this.#failure = undefined;
          this.#backoff.succeeded();
        },
        (cause: unknown) => {
          const { dir } = this.#options.placer;
          this.#failure = storeError(`cannot write record files below ${dir}`, cause, dir);
          this.#backoff.failed();
        },
      )
      .finally(() => this.#ended());
    this.#options.background.track(this.#pass);
  }

  #ended(): void {
    this.#pass = undefined;
    if (this.#hasWork) {
      this.schedule();
    } else {
      this.#lagging = undefined;
      this.#caughtUp?.();
    }
  }

  async #run(): Promise<void> {
    const { redo, placer, shelves } = this.#options;
    // Whatever is in memory is in the log: a commit shows its writes only after it was appended.
    const covers = redo.sequence;
    const changes = this.#collect();
    const prepared = await placer.prepare(changes);
    const placings = prepared.filter(({ temporary }) => temporary !== undefined);
    let at = 0;
    const pacer = new Pacer(true, SLICE_MS);
    const failures: unknown[] = [];
    const stuck: EntryChange[] = [];
    const done: Placed[] = [];
    try {
      if (placings.length > 0) {
        await redo.appendPlacing(
          covers,
          placings.map(({ change, id }) => ({ kind: change.kind, key: change.key, id })),
        );
      }
      for (; at < prepared.length; at++) {
        await pacer.pause();
        const { change } = prepared[at]!;
        try {
          const file = placer.place(prepared[at]!);
          if (file === undefined) {
            this.#options.onForeign(change.shelf, change.name);
            stuck.push(change);
            continue;
          }
          change.entry.file = file;
          done.push({ change, file });
        } catch (error) {
          failures.push(error);
          stuck.push(change);
          await placer.discard(prepared[at]!);
        }
      }
    } finally {
      for (const left of prepared.slice(at)) await placer.discard(left);
    }
    this.#isDisturbed = done.length === 0 && stuck.length > 0;
    await placer.flushNames(new Set(changes.map(({ kind }) => kind)));
    for (const { change, file } of done) {
      const { shelf, entry, revision, rescueTo } = change;
      shelf.placed(entry, file, revision, covers);
      if (rescueTo !== undefined) this.#options.onForeign(shelf, entry.name);
    }
    await this.#removeObsoleteLogs();
    const isDone = this.#isClosing && !this.#isBehind;
    // The log of a store that is closed in order goes as a whole.
    if (!isDone) await redo.retire(this.#doneUpTo(shelves, covers));
    this.#options.onRetired();
    await this.#logAnew(stuck);
    if (failures.length > 0) throw failures[0];
  }

  /** Before the log that says so is retired: what was deleted must not come back. */
  async #removeObsoleteLogs(): Promise<void> {
    for (const { obsoleteLogs } of this.#options.shelves) {
      const removed = new Set(obsoleteLogs);
      await this.#options.redo.removeOthers(removed);
      for (const partition of removed) obsoleteLogs.delete(partition);
    }
  }

  /**
   * Logs what could not be written once more: one file that is in the way must not keep the log from
   * ever getting shorter, nor what others have changed from being taken in.
   */
  async #logAnew(stuck: readonly EntryChange[]): Promise<void> {
    if (stuck.length === 0) return;
    const { redo, shelves } = this.#options;
    const unsettled = shelves.map((shelf) => shelf.unsettledUpTo(redo.retiredUpTo) + 1);
    const from = Math.max(redo.newestFrom, ...unsettled);
    const isOld = ({ shelf, entry }: EntryChange): boolean =>
      shelf.dirty.has(entry) && !entry.isRewrite && entry.dirtySince < from;
    for (const change of stuck.filter(isOld)) {
      const { kind, key, shelf, entry } = change;
      await redo.appendAnew(
        () => [writeOf({ kind, key, value: entry.value })],
        () => entry.file.id,
        (sequence) => shelf.loggedAnew(entry, sequence),
      );
    }
  }

  #collect(): EntryChange[] {
    const changes: EntryChange[] = [];
    for (const shelf of this.#options.shelves) {
      let left = PASS_KEYS_MAX;
      for (const entry of shelf.dirty) {
        if (left-- === 0) break;
        const { key, name, value, file: expected, revision } = entry;
        const misfiled = shelf.misfiledIn(name);
        const rescueTo = misfiled === undefined ? undefined : recordFileName(misfiled);
        const { kind } = shelf;
        changes.push({ kind, key, name, value, expected, rescueTo, shelf, entry, revision });
      }
    }
    return changes;
  }

  /** Up to which write everything is in the files. */
  #doneUpTo(shelves: readonly Shelf[], covers: number): number {
    let done = covers;
    for (const { dirty } of shelves) {
      for (const { dirtySince, isRewrite } of dirty) {
        if (!isRewrite) done = Math.min(done, dirtySince - 1);
      }
    }
    return done;
  }
}
