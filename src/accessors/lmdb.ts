/**
 * The store in an LMDB environment: for record sets larger than memory, and as the yardstick of a
 * proven store. `lmdb` is an optional peer dependency, loaded when the first such store is opened.
 *
 * | Database | Key | Value |
 * | --- | --- | --- |
 * | `meta` | `format` | msgpack `[version]` |
 * | `intents` | SHA-256 of the image | CRC-32, then msgpack `[version, image]` |
 * | `pulled` | SHA-256 of the imageRef | CRC-32, then the packed record of `records/codec.ts` |
 *
 * Keys are hashes because LMDB's are limited to 1,978 bytes and image names are not. Each value
 * repeats its key, so that a misfiled or damaged one is seen and never taken for "absent". The
 * pages around them are LMDB's, which trusts them: beyond its header, which is checked here, a
 * `data.mdb` that was cut or overwritten can end the process.
 *
 * *Committed* (visible) and *flushed* (durable) are different promises of lmdb-js. Here they are one:
 * `overlappingSync` is off, so a transaction flushes before it counts as committed.
 */
import { createHash } from 'node:crypto';
import { chmod, type FileHandle, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { Database, RootDatabase } from 'lmdb';
import { Packr } from 'msgpackr';
import { closedError, errorCode, PullManagerError, quote, storeError } from '../errors.ts';
import { decodeRecord, encodeRecord, packText, unpackText } from '../records/codec.ts';
import { type ImagePulledRecord, type ImagePullIntent, PulledRecord } from '../records/record.ts';
import type { AccessorContext, OwnedAccessor, RecordListing, RecordWrite } from './accessor.ts';

/** Version of the environment's layout, in `meta`. */
export const LMDB_FORMAT_VERSION = 1;

const INTENT_VERSION = 1;
const FORMAT_KEY: Buffer = Buffer.from('format');
const CHECKSUM_BYTES = 4;
const DATA_FILE = 'data.mdb';
const LOCK_FILE = 'lock.mdb';
const FILE_MODE = 0o600;
/** Marks the bytes of a text that UTF-8 cannot carry; no UTF-8 text has it. */
const NOT_UTF8: Buffer = Buffer.from([0xff]);
/**
 * lmdb-js starts a timer with each read transaction. In a thread that blocks, these pile up: after
 * this many the accessor asks for one turn of the event loop.
 */
const READS_PER_TURN = 256;
const REASON_WAIT_MS = 1000;

const packr = new Packr({ useRecords: false });

type Bytes = Uint8Array;
type BinaryDatabase = Database<Bytes, Bytes>;

interface Environment {
  readonly root: RootDatabase<Bytes, Bytes>;
  readonly meta: BinaryDatabase;
  readonly intents: BinaryDatabase;
  readonly pulled: BinaryDatabase;
}

/**
 * Makes the environment in an existing directory ready for workers: creates what is missing, checks
 * the format version, and leaves its files to their owner only (mode 0600).
 *
 * Errors: `STORE_UNAVAILABLE` (also when `lmdb` is not installed), `STORE_CORRUPT`,
 * `STORE_VERSION_UNSUPPORTED`.
 */
export async function prepareLmdb(path: string): Promise<void> {
  await checkDataFile(join(path, DATA_FILE));
  const environment = await openEnvironment(path);
  try {
    const format = environment.meta.getBinary(FORMAT_KEY);
    if (format === undefined) {
      const bytes = packr.pack([LMDB_FORMAT_VERSION]);
      environment.root.transactionSync(() => {
        void environment.meta.put(FORMAT_KEY, bytes);
      });
    } else {
      checkFormat(format, path);
    }
    await chmod(join(path, DATA_FILE), FILE_MODE);
    await chmod(join(path, LOCK_FILE), FILE_MODE);
  } catch (cause) {
    throw lmdbError('cannot prepare the store', cause, path);
  } finally {
    await environment.root.close();
  }
}

/**
 * Opens the environment that `prepareLmdb` made ready, in the calling thread; several threads of a
 * process may have it open.
 *
 * Reads are synchronous. Writes are too where `context.mayBlock`, otherwise they flush in a thread
 * of lmdb's own.
 */
export async function openLmdb(path: string, context: AccessorContext): Promise<OwnedAccessor> {
  const environment = await openEnvironment(path);
  try {
    const format = environment.meta.getBinary(FORMAT_KEY);
    if (format !== undefined) checkFormat(format, path);
  } catch (cause) {
    await environment.root.close();
    throw lmdbError('cannot open the store', cause, path);
  }
  return new LmdbAccessor(environment, path, context.mayBlock);
}

class LmdbAccessor implements OwnedAccessor {
  readonly listsOnlyOwnKeys = false;
  readonly #environment: Environment;
  readonly #path: string;
  readonly #mayBlock: boolean;
  readonly #underWay = new Set<Promise<void>>();
  #writtenBytes = 0;
  #readCount = 0;
  #turn: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(environment: Environment, path: string, mayBlock: boolean) {
    this.#environment = environment;
    this.#path = path;
    this.#mayBlock = mayBlock;
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
        const record = decodeRecord(checkedPayload(value));
        return [record.imageRef, record];
      }),
    );
  }

  getImagePulledRecord(imageRef: string): ImagePulledRecord | undefined {
    const value = this.#read('getImagePulledRecord', ({ pulled }) =>
      pulled.getBinary(hashKey(packText(imageRef, 'imageRef'))),
    );
    if (value === undefined) return undefined;
    const record = this.#decode(() => decodeRecord(checkedPayload(value)), { imageRef });
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
    if (batch.length === 0) return;
    // Everything that can be wrong with the batch itself is found before the transaction begins.
    const writes = batch.map((write) => encodeWrite(this.#environment, write));
    const bytes = writes.reduce((sum, { value }) => sum + (value?.byteLength ?? 0), 0);
    const apply = () => {
      for (const { database, key, value } of writes) {
        // The promises say less than that of the transaction as a whole.
        if (value === undefined) void database.remove(key);
        else void database.put(key, value);
      }
    };
    if (!this.#mayBlock) return this.#commitInBackground(apply, bytes);
    try {
      this.#environment.root.transactionSync(apply);
    } catch (cause) {
      throw lmdbError('commit failed', cause, this.#path);
    }
    this.#writtenBytes += bytes;
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

  // `batch` rather than `transaction`: equally atomic, and it needs no call back into this thread.
  #commitInBackground(apply: () => void, bytes: number): Promise<void> {
    const run = async () => {
      try {
        await this.#environment.root.batch(apply);
      } catch (cause) {
        throw lmdbError('commit failed', await rootCause(cause), this.#path);
      }
      this.#writtenBytes += bytes;
    };
    const committed = run();
    this.#underWay.add(committed);
    const forget = () => void this.#underWay.delete(committed);
    committed.then(forget, forget);
    return committed;
  }

  #assertOpen(what: string): void {
    if (this.#closed !== undefined) throw closedError(what);
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
    decode: (value: Bytes) => readonly [key: string, record: T],
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

interface EncodedWrite {
  readonly database: BinaryDatabase;
  readonly key: Bytes;
  /** Undefined: remove. */
  readonly value: Bytes | undefined;
}

function encodeWrite(environment: Environment, write: RecordWrite): EncodedWrite {
  const { intents, pulled } = environment;
  switch (write.op) {
    case 'writeIntent': {
      const image = packText(write.image, 'image');
      const payload = packr.pack([INTENT_VERSION, image]);
      return { database: intents, key: hashKey(image), value: withChecksum(payload) };
    }
    case 'deleteIntent': {
      const image = packText(write.image, 'image');
      return { database: intents, key: hashKey(image), value: undefined };
    }
    case 'writePulled': {
      const imageRef = packText(write.record.imageRef, 'imageRef');
      const payload = encodeRecord(PulledRecord.from(write.record));
      return { database: pulled, key: hashKey(imageRef), value: withChecksum(payload) };
    }
    case 'deletePulled': {
      const imageRef = packText(write.imageRef, 'imageRef');
      return { database: pulled, key: hashKey(imageRef), value: undefined };
    }
  }
}

/** 32 bytes for any text; different texts stay different, lone surrogates included. */
function hashKey(packed: string | Uint8Array): Buffer {
  const hash = createHash('sha256');
  if (typeof packed === 'string') hash.update(packed, 'utf8');
  else hash.update(NOT_UTF8).update(packed);
  return hash.digest();
}

function withChecksum(payload: Uint8Array): Bytes {
  // Memory of its own: the packer reuses its buffer, and LMDB may read this one from its thread.
  const value = Buffer.allocUnsafeSlow(CHECKSUM_BYTES + payload.byteLength);
  value.set(payload, CHECKSUM_BYTES);
  value.writeUInt32LE(crc32(payload), 0);
  return value;
}

function checkedPayload(value: Bytes): Bytes {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const payload = bytes.subarray(CHECKSUM_BYTES);
  if (bytes.byteLength <= CHECKSUM_BYTES || bytes.readUInt32LE(0) !== crc32(payload)) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored value does not match its checksum');
  }
  return payload;
}

function decodeIntent(value: Bytes): string {
  const [version, image, ...rest] = unpackArray(checkedPayload(value));
  if (version !== INTENT_VERSION || rest.length > 0) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored intent has an unknown version or shape');
  }
  return unpackText(image);
}

function unpackArray(bytes: Bytes): unknown[] {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored value is not msgpack', { cause });
  }
  if (!Array.isArray(value)) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored value is not an array');
  }
  return value;
}

function checkFormat(bytes: Bytes, path: string): void {
  let version: unknown;
  try {
    [version] = unpackArray(bytes);
  } catch (cause) {
    throw new PullManagerError('STORE_CORRUPT', 'the format entry is damaged', { path, cause });
  }
  if (version === LMDB_FORMAT_VERSION) return;
  if (typeof version === 'number' && version > LMDB_FORMAT_VERSION) {
    const message = `the store has format ${version}, this version reads ${LMDB_FORMAT_VERSION}`;
    throw new PullManagerError('STORE_VERSION_UNSUPPORTED', message, { path });
  }
  throw new PullManagerError('STORE_CORRUPT', 'the format entry is damaged', { path });
}

/** Two pages that each begin with this describe the rest of an environment (64 bit). */
const META = {
  flagsOffset: 18,
  isMeta: 0x08,
  magicOffset: 24,
  magic: 0xbeefc0de,
  pageSizeOffset: 48,
  bytes: 176,
  pageSizeMin: 512,
  pageSizeMax: 65_536,
} as const;

/** Throws `STORE_CORRUPT` for a file that is not an environment's: lmdb-js would crash on it. */
async function checkDataFile(path: string): Promise<void> {
  // Elsewhere the layout is another one.
  if (endianness() !== 'LE' || !process.arch.endsWith('64')) return;
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    if ((await file.stat()).size === 0) return;
    const pageSize = await checkMeta(file, 0);
    const isPageSize = pageSize >= META.pageSizeMin && pageSize <= META.pageSizeMax;
    if (isPageSize) await checkMeta(file, pageSize);
    else throw new PullManagerError('STORE_CORRUPT', 'the data file has no page size', { path });
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return;
    throw storeError(`cannot open the store: ${quote(path)}`, cause, path);
  } finally {
    await file?.close();
  }

  async function checkMeta(handle: FileHandle, position: number): Promise<number> {
    const meta = Buffer.alloc(META.bytes);
    const { bytesRead } = await handle.read(meta, 0, META.bytes, position);
    const isMeta = (meta.readUInt16LE(META.flagsOffset) & META.isMeta) !== 0;
    if (bytesRead < META.bytes || !isMeta || meta.readUInt32LE(META.magicOffset) !== META.magic) {
      const message = `${quote(path)} is not the data file of a store`;
      throw new PullManagerError('STORE_CORRUPT', message, { path });
    }
    return meta.readUInt32LE(META.pageSizeOffset);
  }
}

function entryCount(database: BinaryDatabase): number {
  const stats: { entryCount?: number } = database.getStats();
  return stats.entryCount ?? 0;
}

async function openEnvironment(path: string): Promise<Environment> {
  const lmdb = await loadLmdb();
  const format = { encoding: 'binary', keyEncoding: 'binary' } as const;
  let root: RootDatabase<Bytes, Bytes> | undefined;
  try {
    root = lmdb.open<Bytes, Bytes>({
      path,
      // By default a path with a dot in its last part names a file.
      noSubdir: false,
      overlappingSync: false,
      ...format,
    });
    const openPart = (name: string) =>
      root?.openDB<Bytes, Bytes>(name, { ...format }) as BinaryDatabase;
    return {
      root,
      meta: openPart('meta'),
      intents: openPart('intents'),
      pulled: openPart('pulled'),
    };
  } catch (cause) {
    await root?.close();
    throw lmdbError('cannot open the store', cause, path);
  }
}

async function loadLmdb(): Promise<typeof import('lmdb')> {
  try {
    return await import('lmdb');
  } catch (cause) {
    const message =
      "the store 'lmdb' needs the package lmdb, which is not installed or not loadable";
    throw new PullManagerError('STORE_UNAVAILABLE', `${message}: npm install lmdb`, { cause });
  }
}

/** A failed background commit only says that it failed; the reason may arrive as a promise. */
async function rootCause(cause: unknown): Promise<unknown> {
  const reason = (cause as { commitError?: unknown } | undefined)?.commitError;
  if (reason === undefined) return cause;
  const patience = new AbortController();
  const late = delay(REASON_WAIT_MS, cause, { signal: patience.signal });
  try {
    return await Promise.race([reason, late]);
  } catch (error) {
    return error;
  } finally {
    patience.abort();
    late.catch(() => {});
  }
}

/** LMDB's messages name conditions ("Environment mapsize limit reached"), never data. */
function lmdbError(what: string, cause: unknown, path: string): PullManagerError {
  if (cause instanceof PullManagerError) return cause;
  const detail = cause instanceof Error ? cause.message : typeof cause;
  const isDamage = /MDB_(INVALID|CORRUPTED|PAGE_NOTFOUND|VERSION_MISMATCH)/.test(detail);
  const name = isDamage ? 'STORE_CORRUPT' : 'STORE_UNAVAILABLE';
  return new PullManagerError(name, `${what}: ${detail}`, { path, cause });
}
