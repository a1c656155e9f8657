/**
 * One directory of the kubelet in memory: what an owner's keys have, which files are behind the
 * memory, and which files are no records.
 *
 * A key is damaged, never absent, where the file of its name is no record or another key's, and where
 * its record is under another's name only: such a file neither opens an image nor makes it look
 * preloaded [W8].
 */
import { PullManagerError } from '../../errors.ts';
import { type FileState, NO_FILE } from './file-state.ts';
import { type FiledRecord, type FoundFile, isUnavailable, type Value } from './found-file.ts';
import { joinRecords } from './join.ts';
import type { RecordKind } from './layout.ts';
import { recordFileName } from './record-format.ts';

/** A key of the owner. */
export interface Entry {
  readonly key: string;
  readonly name: string;
  /** Undefined: deleted, and its file is yet to go. */
  value: Value | undefined;
  /** The file as it was read or written last. */
  file: FileState;
  /** Sequence of the first write that the file has yet to get, while it has yet to get one. */
  dirtySince: number;
  /** Sequence of the last write: until it is retired, a crash would bring that back. */
  loggedAt: number;
  /** Its file is only to be written in another form: no write of ours is behind that. */
  isRewrite: boolean;
  /** Raised with each change of the value. */
  revision: number;
}

/** A file that is no record, or not the one of its name. */
export interface BadFile {
  readonly name: string;
  readonly file: FileState;
  readonly error: PullManagerError;
  readonly isDirectory: boolean;
  /** The record of another key that it holds. */
  readonly record: FiledRecord | undefined;
}

/** Keys whose answers have changed; `all`: it cannot be told which. */
export type ChangedKeys = readonly string[] | 'all';

const NONE: ChangedKeys = [];

/** Used by one thread. */
export class Shelf {
  readonly kind: RecordKind;
  /** Entries whose files lag behind, the longest first. */
  readonly dirty: Set<Entry> = new Set();
  /** Logs that carry what was deleted since. */
  readonly obsoleteLogs: Set<number> = new Set();
  /** Names of files that may have been changed by others. */
  readonly suspects: Set<string> = new Set();
  /** Such names that have to wait until the log is retired. */
  readonly postponed: Set<string> = new Set();
  /**
   * Why the directory cannot be looked into, while it is not the one that was opened: nothing counts
   * as absent then.
   */
  away: PullManagerError | undefined;
  readonly #isOwn: (key: string) => boolean;
  readonly #entries = new Map<string, Entry>();
  readonly #byName = new Map<string, Entry>();
  readonly #bad = new Map<string, BadFile>();
  /** Names of files by the key whose record they hold under another's name. */
  readonly #misfiled = new Map<string, Set<string>>();
  readonly #unapplied = new Map<string, PullManagerError>();
  /** The log that carries what the file of a key lacks. */
  readonly #carriedIn = new Map<string, number>();
  #size = 0;

  constructor(kind: RecordKind, isOwn: (key: string) => boolean) {
    this.kind = kind;
    this.#isOwn = isOwn;
  }

  /** How many values there are. */
  get size(): number {
    let size = this.#size;
    for (const key of this.#unapplied.keys()) if (this.has(key)) size--;
    return size;
  }

  /** Bad files in the order of their names, but those that are about to be replaced or removed. */
  get bad(): BadFile[] {
    const isListed = ({ name, record }: BadFile): boolean =>
      record !== undefined || !this.#byName.has(name);
    return [...this.#bad.values()].filter(isListed).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The key whose record the file of that name holds, where that is another's name. */
  misfiledIn(name: string): string | undefined {
    return this.#bad.size === 0 ? undefined : this.#bad.get(name)?.record?.key;
  }

  /**
   * Throws `RECORD_CORRUPT` for a key that is damaged, `STORE_UNAVAILABLE` for one whose file could not
   * be read, or that seems absent while the directory is away.
   */
  get(key: string): Value | undefined {
    const unapplied = this.#unapplied.size > 0 ? this.#unapplied.get(key) : undefined;
    if (unapplied !== undefined) throw unapplied;
    const value = this.#entries.get(key)?.value;
    if (value !== undefined) return value;
    if (this.away !== undefined) throw this.away;
    if (this.#bad.size === 0) return undefined;
    // A deletion is one of whatever was there under the key's name.
    const own = this.#entries.has(key) ? undefined : this.#bad.get(recordFileName(key));
    const [misfiled = ''] = this.#misfiled.get(key) ?? [];
    const bad = own ?? this.#bad.get(misfiled);
    if (bad === undefined) return undefined;
    if (isUnavailable(bad.error)) throw bad.error;
    const { message, path, reason, offset } = bad.error;
    const about = this.kind === 'intent' ? { image: key } : { imageRef: key };
    throw new PullManagerError('RECORD_CORRUPT', message, { path, reason, offset, ...about });
  }

  /** Values of the kind, in the order in which they were read and written. */
  *values(): Generator<readonly [key: string, value: Value]> {
    for (const { key, value } of this.#entries.values()) {
      if (value !== undefined && !this.#unapplied.has(key)) yield [key, value];
    }
  }

  /** Why nothing can be said of keys or of the directory, other than bad files. */
  get troubles(): PullManagerError[] {
    const troubles = [...this.#unapplied.values()];
    return this.away === undefined ? troubles : [this.away, ...troubles];
  }

  /** Whether a key has a record under its own name. */
  has(key: string): boolean {
    return this.#entries.get(key)?.value !== undefined;
  }

  /** The file behind a key, as far as it is known. */
  fileOf(key: string): FileState {
    const entry = this.#entries.get(key);
    if (entry !== undefined) return entry.file;
    return this.#bad.size === 0 ? NO_FILE : (this.#bad.get(recordFileName(key))?.file ?? NO_FILE);
  }

  /** Why the file of a key can be neither replaced nor removed, if so. */
  obstacleOf(key: string): PullManagerError | undefined {
    if (this.#bad.size === 0) return undefined;
    const bad = this.#bad.get(recordFileName(key));
    return bad?.isDirectory === true ? bad.error : undefined;
  }

  /**
   * Whether what others made of a file may be taken in: not while a crash would have the log undo it,
   * with what the file had before.
   */
  isSettled(name: string, retiredUpTo: number): boolean {
    const entry = this.#byName.get(name);
    return entry === undefined || this.dirty.has(entry) || entry.loggedAt <= retiredUpTo;
  }

  /** Up to which write the log has to be retired for all suspects to be settled; 0: they are. */
  unsettledUpTo(retiredUpTo: number): number {
    let last = 0;
    for (const names of [this.suspects, this.postponed]) {
      for (const name of names) {
        if (this.isSettled(name, retiredUpTo)) continue;
        last = Math.max(last, this.#byName.get(name)!.loggedAt);
      }
    }
    return last;
  }

  /** The file of a name, as far as it is known; undefined: nothing is known of that name. */
  fileNamed(name: string): FileState | undefined {
    return (this.#bad.get(name) ?? this.#byName.get(name))?.file;
  }

  /** Whether the file of that name could not be read when it was looked at. */
  isUnread(name: string): boolean {
    return this.#bad.size > 0 && isUnavailable(this.#bad.get(name)?.error);
  }

  /** Names of all files that are known. */
  *names(): Generator<string> {
    for (const [name, { file }] of this.#byName) if (file.id !== 0) yield name;
    for (const name of this.#bad.keys()) if (!this.#byName.has(name)) yield name;
  }

  /** Takes a write that is durable elsewhere; `value` undefined deletes. */
  write(key: string, value: Value | undefined, sequence: number): void {
    this.#unapplied.delete(key);
    if (value === undefined) this.#dropCarried(key);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const file = this.fileOf(key);
      if (value === undefined && file.id === 0) return;
      entry = this.#add(key, file);
    }
    // So that it lags behind since this write.
    if (entry.isRewrite) this.dirty.delete(entry);
    entry.isRewrite = false;
    entry.loggedAt = sequence;
    this.#setValue(entry, value);
    this.#markDirty(entry, sequence);
  }

  /** Notes that the log has the whole value of an entry again, and needs no earlier write of it. */
  loggedAnew(entry: Entry, sequence: number): void {
    entry.loggedAt = sequence;
    if (!this.dirty.delete(entry)) return;
    entry.dirtySince = sequence;
    this.dirty.add(entry);
  }

  /**
   * Calls a key damaged until it is written: its file does not have what was acknowledged.
   *
   * @param partition - of the log that carries it.
   */
  markUnapplied(key: string, error: PullManagerError, partition: number): void {
    if (!this.#isOwn(key)) return;
    this.#unapplied.set(key, error);
    this.#carriedIn.set(key, partition);
  }

  #dropCarried(key: string): void {
    const partition = this.#carriedIn.get(key);
    if (partition === undefined) return;
    this.#carriedIn.delete(key);
    this.obsoleteLogs.add(partition);
  }

  /**
   * Has a record written in another form than the file of that name has. One that is misfiled gets a
   * file of its own only where there is none, not even a damaged one. What a log carries is for the
   * file as it is.
   */
  rewrite(name: string, { key, value }: FiledRecord, sequence: number): void {
    if (!this.#isOwn(key) || this.#unapplied.has(key)) return;
    let entry = this.#byName.get(name);
    if (entry === undefined) {
      if (this.fileNamed(recordFileName(key)) !== undefined) return;
      entry = this.#add(key, NO_FILE);
      this.#setValue(entry, value);
    }
    entry.isRewrite = true;
    this.#markDirty(entry, sequence);
  }

  /**
   * Notes that `file` is the file of an entry, with all writes up to a sequence, which left it at a
   * revision. A file that others have changed since has them not.
   */
  placed(entry: Entry, file: FileState, revision: number, sequence: number): void {
    if (entry.file !== file || !this.dirty.delete(entry)) return;
    // What was under its name is gone; another key's record has to be found under its own name first.
    if (this.misfiledIn(entry.name) === undefined) this.#removeBad(entry.name);
    if (entry.revision !== revision) {
      entry.dirtySince = sequence + 1;
      this.dirty.add(entry);
      return;
    }
    entry.isRewrite = false;
    if (entry.value === undefined && entry.file.id === 0) {
      this.#remove(entry);
    }
  }

  /**
   * Takes in a file as it is now, if that is news; undefined stands for no file. What others wrote
   * is joined with what they could not know of, as their file does not have it yet.
   */
  absorb(name: string, found: FoundFile | undefined): ChangedKeys {
    if (found === undefined) return this.#absorbAbsence(name);
    if (found.error !== undefined) return this.#absorbBad(found, found.error);
    const { key, value } = found.record!;
    const wasBad = this.#removeBad(name);
    if (!this.#isOwn(key)) return wasBad ? 'all' : NONE;
    const entry = this.#entries.get(key) ?? this.#add(key, NO_FILE);
    const isKnown = entry.file.id === found.state.id && entry.file.ctimeMs === found.state.ctimeMs;
    if (isKnown) return wasBad ? 'all' : NONE;
    const isSame = !wasBad && entry.file.id === found.state.id;
    entry.file = found.state;
    // Nobody wrote it anew: what is yet to be written, or removed, counts.
    if (isSame && this.dirty.has(entry)) return NONE;
    if (!this.dirty.has(entry) || entry.isRewrite) {
      this.dirty.delete(entry);
      this.#setValue(entry, value);
      return wasBad ? 'all' : [key];
    }
    const joined = joinValues(entry.value, value);
    this.#setValue(entry, joined);
    // Where nothing is to be added, theirs stays, and a deletion is off.
    if (joined === value) this.dirty.delete(entry);
    return wasBad ? 'all' : [key];
  }

  #absorbAbsence(name: string): ChangedKeys {
    // Under which keys it was missed cannot be told from a name.
    const wasBad = this.#removeBad(name);
    const entry = this.#byName.get(name);
    if (entry === undefined || entry.file.id === 0) return wasBad ? 'all' : NONE;
    entry.file = NO_FILE;
    if (!this.#isAtStake(entry)) this.#remove(entry);
    return wasBad ? 'all' : [entry.key];
  }

  #absorbBad(found: FoundFile, error: PullManagerError): ChangedKeys {
    const { name, state, record, isDirectory } = found;
    this.#removeBad(name);
    this.#bad.set(name, { name, file: state, error, isDirectory, record });
    if (record !== undefined) {
      const names = this.#misfiled.get(record.key);
      if (names === undefined) this.#misfiled.set(record.key, new Set([name]));
      else names.add(name);
    }
    const entry = this.#byName.get(name);
    if (entry === undefined) return 'all';
    // What is about to be written replaces it.
    if (this.#isAtStake(entry)) entry.file = state;
    else this.#remove(entry);
    return 'all';
  }

  /** Whether it has a value that was written here, and that no file has yet. */
  #isAtStake(entry: Entry): boolean {
    return entry.value !== undefined && this.dirty.has(entry) && !entry.isRewrite;
  }

  #add(key: string, file: FileState): Entry {
    const name = recordFileName(key);
    const entry: Entry = {
      key,
      name,
      value: undefined,
      file,
      dirtySince: 0,
      loggedAt: 0,
      isRewrite: false,
      revision: 0,
    };
    this.#entries.set(key, entry);
    this.#byName.set(name, entry);
    return entry;
  }

  #remove(entry: Entry): void {
    this.dirty.delete(entry);
    this.#setValue(entry, undefined);
    this.#entries.delete(entry.key);
    this.#byName.delete(entry.name);
  }

  #setValue(entry: Entry, value: Value | undefined): void {
    this.#size += Number(value !== undefined) - Number(entry.value !== undefined);
    entry.value = value;
    entry.revision++;
  }

  #markDirty(entry: Entry, sequence: number): void {
    if (this.dirty.has(entry)) return;
    entry.dirtySince = sequence;
    this.dirty.add(entry);
  }

  #removeBad(name: string): boolean {
    const bad = this.#bad.get(name);
    if (bad === undefined) return false;
    this.#bad.delete(name);
    const key = bad.record?.key;
    if (key === undefined) return true;
    const names = this.#misfiled.get(key)!;
    names.delete(name);
    if (names.size === 0) this.#misfiled.delete(key);
    return true;
  }
}

/** Ours where theirs adds nothing, theirs where ours adds nothing. */
export function joinValues(ours: Value | undefined, theirs: Value | undefined): Value | undefined {
  if (ours === undefined || theirs === undefined) return ours ?? theirs;
  if (ours === true || theirs === true) return theirs;
  return joinRecords(ours, theirs);
}
