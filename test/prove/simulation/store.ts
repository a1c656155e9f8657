/**
 * The store module of the simulation: a file for each key, replaced in one step, so that every worker
 * may list while others write. It fails and dies as the words of a board say.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import type {
  Awaitable,
  PullRecordsAccessor,
  RecordWrite,
} from '../../../src/accessors/accessor.ts';
import type { ImagePulledRecord } from '../../../src/records/record.ts';
import { COMMAND, type StoreOrders, WORD } from './store-board.ts';

type Kind = 'intent' | 'pulled';

export default async function open({
  directory,
  board,
  answersAtOnce,
}: StoreOrders): Promise<PullRecordsAccessor> {
  while (Atomics.load(board, WORD.OPEN) === COMMAND.HOLD) await turnOfEventLoop();
  return new SimulatedStore(directory, board, answersAtOnce);
}

class SimulatedStore implements PullRecordsAccessor {
  readonly #directory: string;
  readonly #board: Int32Array;
  readonly #answersAtOnce: boolean;

  constructor(directory: string, board: Int32Array, answersAtOnce: boolean) {
    this.#directory = directory;
    this.#board = board;
    this.#answersAtOnce = answersAtOnce;
    for (const kind of ['intent', 'pulled']) {
      fs.mkdirSync(join(directory, kind), { recursive: true });
    }
  }

  listImagePullIntents(): { records: { image: string }[]; errors: never[] } {
    return { records: this.#list<{ image: string }>('intent'), errors: [] };
  }

  imagePullIntentExists(image: string): Awaitable<boolean> {
    return this.#answer(WORD.EXISTS, () => this.#read('intent', image) !== undefined);
  }

  writeImagePullIntent(image: string): Awaitable<void> {
    return this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): Awaitable<void> {
    return this.commit([{ op: 'deleteIntent', image }]);
  }

  listImagePulledRecords(): { records: ImagePulledRecord[]; errors: never[] } {
    return { records: this.#list<ImagePulledRecord>('pulled').map(revived), errors: [] };
  }

  getImagePulledRecord(imageRef: string): Awaitable<ImagePulledRecord | undefined> {
    return this.#answer(WORD.GET, () => {
      const found = this.#read<ImagePulledRecord>('pulled', imageRef);
      return found && revived(found);
    });
  }

  writeImagePulledRecord(record: ImagePulledRecord): Awaitable<void> {
    return this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): Awaitable<void> {
    return this.commit([{ op: 'deletePulled', imageRef }]);
  }

  commit(batch: readonly RecordWrite[]): Awaitable<void> {
    return this.#answer(WORD.COMMIT, (command) => {
      for (const write of batch) this.#apply(write);
      if (command === COMMAND.FAIL_AFTER) throw failure();
      if (command === COMMAND.EXIT_AFTER) process.exit(1);
    });
  }

  close(): void {}

  #answer<T>(word: number, act: (command: number) => T): Awaitable<T> {
    if (this.#answersAtOnce) return act(this.#obey(word));
    return turnOfEventLoop().then(() => act(this.#obey(word)));
  }

  #obey(word: number): number {
    const isOnce = Atomics.load(this.#board, WORD.ONCE) === 1;
    const command = isOnce
      ? Atomics.exchange(this.#board, word, COMMAND.WORK)
      : Atomics.load(this.#board, word);
    if (command === COMMAND.FAIL) throw failure();
    if (command === COMMAND.EXIT) process.exit(1);
    return command;
  }

  #apply(write: RecordWrite): void {
    switch (write.op) {
      case 'writeIntent':
        this.#replace('intent', write.image, { image: write.image });
        break;
      case 'deleteIntent':
        fs.rmSync(this.#pathOf('intent', write.image), { force: true });
        break;
      case 'writePulled':
        this.#replace('pulled', write.record.imageRef, write.record);
        break;
      case 'deletePulled':
        fs.rmSync(this.#pathOf('pulled', write.imageRef), { force: true });
    }
  }

  #replace(kind: Kind, key: string, value: unknown): void {
    const path = this.#pathOf(kind, key);
    // Beside the folder, so that no listing meets it.
    const temporary = join(this.#directory, `new-${threadId}`);
    fs.writeFileSync(temporary, JSON.stringify(value));
    fs.renameSync(temporary, path);
  }

  #list<T>(kind: Kind): T[] {
    const folder = join(this.#directory, kind);
    return fs.readdirSync(folder).flatMap((name) => parsed<T>(join(folder, name)) ?? []);
  }

  #read<T>(kind: Kind, key: string): T | undefined {
    return parsed<T>(this.#pathOf(kind, key));
  }

  #pathOf(kind: Kind, key: string): string {
    return join(this.#directory, kind, createHash('sha256').update(key).digest('hex'));
  }
}

/** What a file holds; undefined where it is gone. */
function parsed<T>(path: string): T | undefined {
  try {
    return JSON.parse(fs.readFileSync(path, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function revived(record: ImagePulledRecord): ImagePulledRecord {
  return { ...record, lastUpdatedTime: new Date(record.lastUpdatedTime) };
}

function failure(): Error {
  return Object.assign(new Error('the store fails'), { code: 'EIO' });
}
