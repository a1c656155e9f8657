/**
 * The store in an LMDB environment: for record sets larger than memory, and as the yardstick of a
 * proven store. `lmdb` is an optional peer dependency, loaded when the first such store is opened.
 *
 * | Database | Key | Value |
 * | --- | --- | --- |
 * | `meta` | `format` | msgpack `[version]` |
 * | `intents` | SHA-256 of the image | CRC-32, then msgpack `[version, image]` |
 * | `pulled` | SHA-256 of the imageRef | CRC-32, then the packed record of `records/codec.ts` |
 * | `quarantine` | see `lmdb-inspection.ts` | what `records verify --repair` took out; only there if it did |
 *
 * Keys are hashes because LMDB's are limited to 1,978 bytes and image names are not. Each value
 * repeats its key, so that a misfiled or damaged one is seen and never taken for "absent". The
 * pages around them are LMDB's, which trusts them: beyond its header, which is checked, a
 * `data.mdb` that was cut or overwritten can end the process.
 *
 * *Committed* (visible) and *flushed* (durable) are different promises of lmdb-js. Here they are one:
 * `overlappingSync` is off, so a commit flushes before it counts.
 *
 * Commits run in a thread of lmdb's own, also where this thread might block: a synchronous
 * transaction runs JavaScript while it holds LMDB's lock, and a worker that is terminated there never
 * gives it back. `batch` rather than `transaction`, which was seen to hang in lmdb-js 3.5.6.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { closedError, PullManagerError, quote } from '../errors.ts';
import { packText } from '../records/codec.ts';
import type { ImagePulledRecord, ImagePullIntent } from '../records/record.ts';
import type { OwnedAccessor, RecordListing, RecordWrite } from './accessor.ts';
import type { Finding, Inspectable } from './inspection.ts';
import {
  type BinaryDatabase,
  checkRoom,
  type Environment,
  lmdbError,
  openEnvironment,
} from './lmdb-environment.ts';
import { inspectEnvironment, quarantineEntry } from './lmdb-inspection.ts';
import {
  decodeIntent,
  decodePulled,
  type EncodedWrite,
  encodeWrite,
  hashKey,
} from './lmdb-values.ts';

/**
 * lmdb-js starts a timer with each read transaction. In a thread that blocks, these pile up: after
 * this many the accessor asks for one turn of the event loop.
 */
const READS_PER_TURN = 256;
const REASON_WAIT_MS = 1000;
/** What a write may take at worst: a page on each level of its tree, and of that of free pages. */
const ROOM_BYTES_PER_WRITE = 8 * 4096;

/**
 * Opens the environment that `prepareLmdb` made ready, in the calling thread; several threads of a
 * process may have it open.
 *
 * Reads answer at once, commits with a promise: the thread's event loop has to turn.
 */
export async function openLmdb(path: string): Promise<OwnedAccessor & Required<Inspectable>> {
  const environment = await openEnvironment(path);
  return new LmdbAccessor(environment, path);
}

class LmdbAccessor implements OwnedAccessor, Required<Inspectable> {
  readonly listsOnlyOwnKeys = false;
  readonly #environment: Environment;
  readonly #path: string;
  readonly #underWay = new Set<Promise<void>>();
  #writtenBytes = 0;
  #readCount = 0;
  #turn: Promise<void> | undefined;
  /**
   * Why a commit failed. From then on LMDB may show what is not durable, and acknowledge what it did
   * not write: nothing is believed until the store is opened anew.
   */
  #failure: PullManagerError | undefined;
  #closed: Promise<void> | undefined;

  constructor(environment: Environment, path: string) {
    this.#environment = environment;
    this.#path = path;
  }

  /** Bytes of the values handed to LMDB; what it writes in pages around them is not counted. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  get maintenance(): Promise<void> | undefined {
    return this.#turn;
  }

  count(): { intents: number; records: number } {
    return this.#read('count', ({ intents, pulled }) => ({
      intents: entryCount(intents),
      records: entryCount(pulled),
    }));
  }

  listImagePullIntents(): RecordListing<ImagePullIntent> {
    return this.#read('listImagePullIntents', ({ intents }) =>
      this.#list(intents, (value) => {
        const image = decodeIntent(value);
        return [image, { image }];
      }),
    );
  }

  imagePullIntentExists(image: string): boolean {
    const value = this.#read('imagePullIntentExists', ({ intents }) =>
      intents.getBinary(hashKey(packText(image, 'image'))),
    );
    if (value === undefined) return false;
    const found = this.#decode(() => decodeIntent(value), { image });
    if (found !== image) throw this.#misfiled({ image });
    return true;
  }

  writeImagePullIntent(image: string): void | Promise<void> {
    return this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): void | Promise<void> {
    return this.commit([{ op: 'deleteIntent', image }]);
  }

  listImagePulledRecords(): RecordListing<ImagePulledRecord> {
    return this.#read('listImagePulledRecords', ({ pulled }) =>
      this.#list<ImagePulledRecord>(pulled, (value) => {
        const record = decodePulled(value);
        return [record.imageRef, record];
      }),
    );
  }

  getImagePulledRecord(imageRef: string): ImagePulledRecord | undefined {
    const value = this.#read('getImagePulledRecord', ({ pulled }) =>
      pulled.getBinary(hashKey(packText(imageRef, 'imageRef'))),
    );
    if (value === undefined) return undefined;
    const record = this.#decode(() => decodePulled(value), { imageRef });
    if (record.imageRef !== imageRef) throw this.#misfiled({ imageRef });
    return record;
  }

  writeImagePulledRecord(record: ImagePulledRecord): void | Promise<void> {
    return this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): void | Promise<void> {
    return this.commit([{ op: 'deletePulled', imageRef }]);
  }

  commit(batch: readonly RecordWrite[]): void | Promise<void> {
    this.#assertOpen('commit');
    if (batch.length === 0) return undefined;
    // Everything that can be wrong with the batch itself is found before the transaction begins.
    const writes = batch.map((write) => encodeWrite(this.#environment, write));
    const committed = this.#commit(writes);
    this.#underWay.add(committed);
    const forget = (): void => void this.#underWay.delete(committed);
    committed.then(forget, forget);
    return committed;
  }

  inspect(): AsyncIterable<Finding> {
    this.#assertOpen('inspect');
    return inspectEnvironment(this.#environment, this.#path);
  }

  quarantine(entry: Finding): Promise<string> {
    this.#assertOpen('quarantine');
    return quarantineEntry(this.#environment, this.#path, entry);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#turn;
    await this.#environment.root.close();
  }

  async #commit(writes: readonly EncodedWrite[]): Promise<void> {
    const bytes = writes.reduce((sum, { value }) => sum + (value?.byteLength ?? 0), 0);
    checkRoom(this.#path, bytes + writes.length * ROOM_BYTES_PER_WRITE);
    try {
      await this.#environment.root.batch(() => {
        for (const { database, key, value } of writes) {
          // Inside a batch these promises say nothing; the batch's own one does.
          if (value === undefined) void database.remove(key);
          else void database.put(key, value);
        }
      });
    } catch (cause) {
      this.#failure = lmdbError('commit failed', await reasonOf(cause), this.#path);
      throw this.#failure;
    }
    this.#writtenBytes += bytes;
  }

  #assertOpen(what: string): void {
    if (this.#closed !== undefined) throw closedError(what);
    if (this.#failure !== undefined) throw this.#failure;
  }

  // A read transaction shows the past until it is reset, and keeps LMDB from reusing pages.
  #read<T>(what: string, read: (environment: Environment) => T): T {
    this.#assertOpen(what);
    try {
      return read(this.#environment);
    } catch (cause) {
      throw lmdbError(`${what} failed`, cause, this.#path);
    } finally {
      this.#environment.root.resetReadTxn();
      this.#readCount++;
      if (this.#readCount >= READS_PER_TURN) this.#askForTurn();
    }
  }

  #askForTurn(): void {
    this.#turn ??= new Promise((resolve) => {
      // As long as lmdb's own timers, so that they have run by then.
      setTimeout(() => {
        this.#readCount = 0;
        this.#turn = undefined;
        resolve();
      }, 1);
    });
  }

  #list<T>(
    database: BinaryDatabase,
    decode: (value: Uint8Array) => readonly [key: string, record: T],
  ): RecordListing<T> {
    const listing: RecordListing<T> = { records: [], errors: [] };
    for (const { key, value } of database.getRange()) {
      try {
        const [text, record] = decode(value);
        if (!hashKey(packText(text, 'key')).equals(key)) throw this.#misfiled({});
        listing.records.push(record);
      } catch (cause) {
        listing.errors.push(lmdbError('cannot decode an entry', cause, this.#path));
      }
    }
    return listing;
  }

  #decode<T>(decode: () => T, fields: { image?: string; imageRef?: string }): T {
    try {
      return decode();
    } catch (cause) {
      const message = `the stored value of ${quote(fields.image ?? fields.imageRef ?? '')} is damaged`;
      throw new PullManagerError('RECORD_CORRUPT', message, { ...fields, path: this.#path, cause });
    }
  }

  #misfiled(fields: { image?: string; imageRef?: string }): PullManagerError {
    const message = 'a stored value is that of another key';
    return new PullManagerError('RECORD_CORRUPT', message, { ...fields, path: this.#path });
  }
}

function entryCount(database: BinaryDatabase): number {
  const stats: { entryCount?: number } = database.getStats();
  return stats.entryCount ?? 0;
}

/** A failed batch only says that it failed; the reason comes as a promise, which nobody else takes. */
async function reasonOf(cause: unknown): Promise<unknown> {
  const reason: unknown = (cause as { commitError?: unknown } | undefined)?.commitError;
  if (!(reason instanceof Promise)) return cause;
  const patience = new AbortController();
  const late = delay(REASON_WAIT_MS, cause, { signal: patience.signal });
  late.catch(() => {});
  try {
    return await Promise.race([reason, late]);
  } catch (error) {
    return error;
  } finally {
    patience.abort();
  }
}
