/** The host's side of `fixtures/engine/file-store.mjs`. */
import type { StoreOptions } from '../../src/accessors/backend.ts';
import { temporaryDirectory } from './engines.ts';

/** What the store does instead of working. */
export const COMMAND = {
  WORK: 0,
  /** Throws before anything is done. */
  FAIL: 1,
  /** Throws after everything is done. */
  FAIL_AFTER: 2,
  /** Ends its thread before anything is done. */
  EXIT: 3,
  /** Ends its thread after everything is done. */
  EXIT_AFTER: 4,
  /** Never answers, and its thread dies of an uncaught error. */
  THROW_LATER: 5,
  /** Says that what is there cannot be decoded. */
  CORRUPT: 6,
  /** Answers something that the contract does not know. */
  NONSENSE: 7,
  /** Does not answer as long as the word says so. */
  HOLD: 8,
} as const;

export type Command = (typeof COMMAND)[keyof typeof COMMAND];

const WORDS = {
  commit: 0,
  get: 1,
  exists: 2,
  list: 3,
  open: 4,
  close: 5,
  isSync: 6,
  commitCount: 7,
  openCount: 8,
  once: 9,
} as const;

/** A store whose every operation can be made to fail, in whatever thread it runs. */
export class FileStore {
  readonly options: StoreOptions;
  readonly #board: Int32Array;

  private constructor(directory: string) {
    this.#board = new Int32Array(new SharedArrayBuffer(4 * 16));
    this.options = {
      module: new URL('../fixtures/engine/file-store.mjs', import.meta.url),
      options: { directory, board: this.#board },
    };
  }

  static async create(): Promise<FileStore> {
    return new FileStore(await temporaryDirectory());
  }

  /** Makes operations of this kind obey from now on. */
  set(operation: 'commit' | 'get' | 'exists' | 'list' | 'open' | 'close', command: Command): void {
    Atomics.store(this.#board, WORDS.once, 0);
    Atomics.store(this.#board, WORDS[operation], command);
  }

  /** Makes the next operation of this kind obey, and no further one. */
  setOnce(operation: 'commit' | 'get' | 'exists' | 'list' | 'open', command: Command): void {
    Atomics.store(this.#board, WORDS.once, 1);
    Atomics.store(this.#board, WORDS[operation], command);
  }

  /** Ends all commands. */
  work(): void {
    for (let word = 0; word < WORDS.isSync; word++) Atomics.store(this.#board, word, COMMAND.WORK);
  }

  /** Whether operations answer at once; otherwise they answer with a promise. */
  set isSync(value: boolean) {
    Atomics.store(this.#board, WORDS.isSync, value ? 1 : 0);
  }

  get commitCount(): number {
    return Atomics.load(this.#board, WORDS.commitCount);
  }

  get openCount(): number {
    return Atomics.load(this.#board, WORDS.openCount);
  }
}
