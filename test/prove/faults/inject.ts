/**
 * Puts itself between the engine and `node:fs`, in the thread that calls it: every call below one
 * directory is counted, and fails where the switchboard says so. What is under test stays as it is.
 */
import fs from 'node:fs';
import fsPromises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Call, type ErrorKind, type FileKind, fileKind } from './calls.ts';
import type { Switchboard } from './switchboard.ts';

// biome-ignore lint/suspicious/noExplicitAny: functions of any shape are replaced by their like.
type Any = any;
type Path = string | Buffer | URL;

/** The functions that are replaced, by their form. Others would fail without being seen. */
export const REPLACED: Readonly<
  Record<'callback' | 'blocking' | 'promise' | 'handle', Readonly<Record<string, Call | 'opening'>>>
> = {
  callback: {
    open: 'opening',
    close: 'close',
    read: 'read',
    write: 'write',
    fsync: 'flush',
    fdatasync: 'flush',
    fstat: 'stat',
    unlink: 'unlink',
  },
  blocking: {
    openSync: 'opening',
    closeSync: 'close',
    readSync: 'read',
    writeSync: 'write',
    fsyncSync: 'flush',
    fdatasyncSync: 'flush',
    fstatSync: 'stat',
    statSync: 'stat',
    lstatSync: 'stat',
    statfsSync: 'stat',
    readdirSync: 'list',
    unlinkSync: 'unlink',
    renameSync: 'rename',
    linkSync: 'link',
    watch: 'watch',
  },
  promise: {
    open: 'opening',
    readFile: 'read whole',
    writeFile: 'write whole',
    stat: 'stat',
    lstat: 'stat',
    chmod: 'stat',
    readdir: 'list',
    mkdir: 'make directory',
    rmdir: 'remove directory',
    rename: 'rename',
    link: 'link',
    unlink: 'unlink',
    readlink: 'resolve',
    realpath: 'resolve',
  },
  handle: {
    read: 'read',
    write: 'write',
    writeFile: 'write whole',
    sync: 'flush',
    datasync: 'flush',
    stat: 'stat',
    close: 'close',
  },
};

/** Those that take a descriptor and not a path. */
const DESCRIPTOR_FUNCTIONS: readonly string[] = [
  'close',
  'read',
  'write',
  'fsync',
  'fdatasync',
  'fstat',
].flatMap((name) => [name, `${name}Sync`]);

const SECTOR_BYTES = 512;

/** As it was before. */
const { closeSync } = fs;

/** One call, as it is about to be made. */
interface Made {
  readonly call: Call;
  readonly file: FileKind;
  /** Undefined: it is to succeed. */
  readonly error: ErrorKind | undefined;
}

/** What tells the call from the arguments; undefined: it is none of ours. */
type Classify = (args: readonly Any[]) => { call: Call; below: string } | undefined;

/**
 * Replaces the functions of `node:fs` in this thread. Modules that took them before keep theirs: call
 * it first.
 *
 * @param base - directory of the stores under test.
 * @returns what undoes it.
 */
export async function inject(switchboard: Switchboard, base: string): Promise<() => void> {
  const injector = new Injector(switchboard, base);
  return injector.install();
}

class Injector {
  readonly #switchboard: Switchboard;
  readonly #base: string;
  /** Of the files below the base that are open in this thread. */
  readonly #pathOfFd = new Map<number, string>();
  readonly #pathOfHandle = new WeakMap<FileHandle, string>();
  readonly #undo: (() => void)[] = [];

  constructor(switchboard: Switchboard, base: string) {
    this.#switchboard = switchboard;
    this.#base = base;
  }

  async install(): Promise<() => void> {
    for (const [name, call] of Object.entries(REPLACED.callback)) {
      this.#replace(fs, name, (original) =>
        this.#callbackForm(name, original, this.#classify(name, call)),
      );
    }
    for (const [name, call] of Object.entries(REPLACED.blocking)) {
      this.#replace(fs, name, (original) =>
        this.#blockingForm(name, original, this.#classify(name, call)),
      );
    }
    for (const [name, call] of Object.entries(REPLACED.promise)) {
      this.#replace(fsPromises, name, (original) =>
        this.#promiseForm(name, original, this.#classify(name, call)),
      );
    }
    const handle = await fsPromises.open('/dev/null');
    const prototype: Any = Object.getPrototypeOf(handle);
    await handle.close();
    for (const [name, call] of Object.entries(REPLACED.handle)) {
      // Each handle has a function of its own for that.
      if (call === 'close') continue;
      this.#replace(prototype, name, (original) => this.#handleForm(original, call));
    }
    syncBuiltinESMExports();
    return () => {
      for (const undo of this.#undo) undo();
      syncBuiltinESMExports();
    };
  }

  #replace(target: Any, name: string, wrap: (original: Any) => Any): void {
    const original = target[name];
    // What else a function carries: how it is promisified.
    target[name] = Object.defineProperties(wrap(original), {
      ...Object.getOwnPropertyDescriptors(original),
    });
    this.#undo.push(() => {
      target[name] = original;
    });
  }

  #classify(name: string, call: Call | 'opening'): Classify {
    if (DESCRIPTOR_FUNCTIONS.includes(name)) {
      return ([fd]) => {
        const below = this.#pathOfFd.get(fd);
        return below === undefined ? undefined : { call: call as Call, below };
      };
    }
    return ([path, flags]) => {
      const below = this.#below(path);
      if (below === undefined) return undefined;
      return { call: call === 'opening' ? openCall(flags) : call, below };
    };
  }

  /** Path below the base; undefined: elsewhere. */
  #below(path: Path): string | undefined {
    const text = path instanceof URL ? fileURLToPath(path) : String(path);
    const below = relative(this.#base, text);
    return below.startsWith('..') ? undefined : below;
  }

  #note(classified: ReturnType<Classify>): Made | undefined {
    if (classified === undefined) return undefined;
    const { call, below } = classified;
    const file = fileKind(below);
    return { call, file, error: this.#switchboard.note(call, file) };
  }

  /** What a call that succeeded leaves to be known. */
  #done({ call }: Made, args: readonly Any[], result: unknown): void {
    if (call === 'close') {
      this.#pathOfFd.delete(args[0]);
      this.#switchboard.noteOpen(-1);
    } else if (typeof result === 'number' && isOpen(call)) {
      this.#pathOfFd.set(result, this.#below(args[0])!);
      this.#switchboard.noteOpen(1);
    } else if (call === 'rename') {
      const from = this.#below(args[0]);
      // Segments are opened before they get their names.
      for (const [fd, path] of this.#pathOfFd) {
        if (path === from) this.#pathOfFd.set(fd, this.#below(args[1]) ?? path);
      }
    }
  }

  #blockingForm(name: string, original: Any, classify: Classify): Any {
    return (...args: Any[]) => {
      const made = this.#note(classify(args));
      if (made === undefined) return original(...args);
      const { call, error } = made;
      if (error === undefined) {
        const result = original(...args);
        this.#done(made, args, result);
        return result;
      }
      const used = shortened(args, error);
      if (happens(error) && used !== undefined) {
        const result = original(...used);
        if (error === 'short') return result;
        if (isOpen(call)) closeSync(result);
        else this.#done(made, args, result);
      }
      throw failure(error, name);
    };
  }

  #callbackForm(name: string, original: Any, classify: Classify): Any {
    return (...args: Any[]) => {
      const given: Any = args.pop();
      const callback = typeof given === 'function' ? given : () => {};
      const made = this.#note(classify(args));
      if (made === undefined) return original(...args, given);
      const { call, error } = made;
      // Nobody waits for a descriptor to be closed, and a thread may sleep before it hears of that.
      const isAwaited = call !== 'close';
      if (isAwaited) this.#switchboard.noteBusy(1);
      else this.#done(made, args, undefined);
      const end = (failed: unknown, ...results: unknown[]): void => {
        if (isAwaited) this.#switchboard.noteBusy(-1);
        callback(failed, ...results);
      };
      const used = shortened(args, error);
      if (error !== undefined && (!happens(error) || used === undefined)) {
        setImmediate(end, failure(error, name));
        return undefined;
      }
      original(...used!, (failed: unknown, ...results: unknown[]) => {
        if (failed) return end(failed, ...results);
        if (error !== undefined && isOpen(call)) closeSync(results[0] as number);
        else if (isAwaited) this.#done(made, args, results[0]);
        if (error === undefined || error === 'short') return end(null, ...results);
        end(failure(error, name));
      });
      return undefined;
    };
  }

  #promiseForm(name: string, original: Any, classify: Classify): Any {
    return async (...args: Any[]) => {
      const made = this.#note(classify(args));
      if (made === undefined) return original(...args);
      const { error } = made;
      this.#switchboard.noteBusy(1);
      try {
        if (error !== undefined && !happens(error)) throw failure(error, name);
        const result = await original(...args);
        if (!isOpen(made.call)) {
          this.#done(made, args, result);
          if (error === undefined) return result;
        } else if (error === undefined) {
          this.#pathOfHandle.set(result, this.#below(args[0])!);
          this.#switchboard.noteOpen(1);
          // Each handle has a function of its own for that.
          result.close = this.#handleForm(result.close, 'close');
          return result;
        } else {
          await result.close();
        }
        throw failure(error, name);
      } finally {
        this.#switchboard.noteBusy(-1);
      }
    };
  }

  #handleForm(original: Any, call: Call | 'opening'): Any {
    const run = (handle: FileHandle, args: Any[]): Promise<unknown> =>
      this.#runHandle(handle, original, call as Call, args);
    return function (this: FileHandle, ...args: Any[]): Promise<unknown> {
      return run(this, args);
    };
  }

  async #runHandle(handle: FileHandle, original: Any, call: Call, args: Any[]): Promise<unknown> {
    const below = this.#pathOfHandle.get(handle);
    const made = this.#note(below === undefined ? undefined : { call, below });
    if (made === undefined) return original.apply(handle, args);
    const { error } = made;
    this.#switchboard.noteBusy(1);
    try {
      const used = shortened(args, error);
      if (error !== undefined && (!happens(error) || used === undefined)) {
        throw failure(error, call);
      }
      const result = await original.apply(handle, used);
      if (call === 'close') this.#switchboard.noteOpen(-1);
      if (error !== undefined && error !== 'short') throw failure(error, call);
      return result;
    } finally {
      this.#switchboard.noteBusy(-1);
    }
  }
}

function isOpen(call: Call): boolean {
  return call === 'create' || call === 'open for reading' || call === 'open for writing';
}

function openCall(flags: unknown): Call {
  if (typeof flags === 'number') {
    if ((flags & fs.constants.O_CREAT) !== 0) return 'create';
    const { O_WRONLY, O_RDWR } = fs.constants;
    return (flags & (O_WRONLY | O_RDWR)) === 0 ? 'open for reading' : 'open for writing';
  }
  const text = typeof flags === 'string' ? flags : 'r';
  if (text.startsWith('w') || text.startsWith('a')) return 'create';
  return text.includes('+') ? 'open for writing' : 'open for reading';
}

/** Whether the call is carried out, in whole or in part. */
function happens(error: ErrorKind): boolean {
  return error === 'late' || error === 'short' || error === 'partial';
}

/**
 * The arguments `(file, bytes, offset, length, position)`, or those without a file, of a call that
 * takes half. One that is cut off and fails ends with a sector: a disk writes these whole or not at
 * all. Undefined: it does nothing.
 */
function shortened(args: readonly Any[], error: ErrorKind | undefined): readonly Any[] | undefined {
  if (error !== 'short' && error !== 'partial') return args;
  const at = typeof args[0] === 'number' ? 3 : 2;
  const half = Math.max(1, args[at] >> 1);
  if (error === 'short') return args.with(at, half);
  const position: number = args[at + 1] ?? 0;
  const length = Math.floor((position + half) / SECTOR_BYTES) * SECTOR_BYTES - position;
  return length > 0 ? args.with(at, length) : undefined;
}

function failure(error: ErrorKind, name: string): NodeJS.ErrnoException {
  const code = error === 'late' || error === 'partial' ? 'EIO' : error;
  return Object.assign(new Error(`${code}: injected, ${name}`), { code, syscall: name });
}
