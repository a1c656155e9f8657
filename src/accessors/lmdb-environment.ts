/**
 * What the lmdb store is opened from: its directory, checked before lmdb-js sees it, because
 * lmdb-js 3.5.6 ends the process where LMDB refuses a file or cannot write a page.
 */
import { statfsSync } from 'node:fs';
import { chmod, type FileHandle, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { Packr } from 'msgpackr';
import { errorCode, PullManagerError, quote, storeError } from '../errors.ts';

/** Version of the environment's layout, in `meta`. */
export const LMDB_FORMAT_VERSION = 1;

const FORMAT_KEY: Buffer = Buffer.from('format');
const DATA_FILE = 'data.mdb';
const LOCK_FILE = 'lock.mdb';
const FILE_MODE = 0o600;
/** What has to stay free on the disk. */
const ROOM_BYTES_LEAST = 1024 * 1024;

const packr = new Packr({ useRecords: false });

/** Databases that take and give bytes as they are. */
export type BinaryDatabase = Database<Uint8Array, Uint8Array>;

/** An open LMDB environment. */
export interface Environment {
  readonly root: RootDatabase<Uint8Array, Uint8Array>;
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
  const dataPath = join(path, DATA_FILE);
  const lockPath = join(path, LOCK_FILE);
  await checkFile(dataPath, checkDataFile);
  await checkFile(lockPath, async () => {});
  checkRoom(path, 0);
  const environment = await openEnvironment(path);
  try {
    const { root, meta } = environment;
    if (meta.getBinary(FORMAT_KEY) === undefined) {
      const format = packr.pack([LMDB_FORMAT_VERSION]);
      root.transactionSync(() => void meta.put(FORMAT_KEY, format));
    }
    await chmod(dataPath, FILE_MODE);
    await chmod(lockPath, FILE_MODE);
  } catch (cause) {
    throw lmdbError('cannot prepare the store', cause, path);
  } finally {
    await environment.root.close();
  }
}

/** Opens an environment in the calling thread. Errors: as `prepareLmdb`. */
export async function openEnvironment(path: string): Promise<Environment> {
  const lmdb = await loadLmdb();
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  let root: Environment['root'] | undefined;
  try {
    root = lmdb.open({
      path,
      // By default a path with a dot in its last part names a file.
      noSubdir: false,
      overlappingSync: false,
      // Batches are commits already; gathered ones reject promises that nobody can handle.
      eventTurnBatching: false,
      ...binary,
    });
    const meta: BinaryDatabase = root.openDB('meta', { ...binary });
    const intents: BinaryDatabase = root.openDB('intents', { ...binary });
    const pulled: BinaryDatabase = root.openDB('pulled', { ...binary });
    const format = meta.getBinary(FORMAT_KEY);
    if (format !== undefined) checkFormat(format, path);
    // The look at the format has opened a view of the store that does not move on by itself.
    root.resetReadTxn();
    return { root, meta, intents, pulled };
  } catch (cause) {
    await root?.close();
    throw lmdbError('cannot open the store', cause, path);
  }
}

/**
 * Throws `STORE_UNAVAILABLE` if the disk may have no room for `bytes`.
 *
 * Costs about 2 µs. A page that cannot be written makes lmdb-js overrun the buffer of its error
 * message, so this comes before every commit.
 */
export function checkRoom(path: string, bytes: number): void {
  let free: number;
  try {
    const { bavail, bsize } = statfsSync(path);
    free = bavail * bsize;
  } catch (cause) {
    throw storeError(`cannot tell the room in ${quote(path)}`, cause, path);
  }
  if (free >= bytes + ROOM_BYTES_LEAST) return;
  const message = `no room on the disk: ${free} bytes are free, a commit may take ${bytes}`;
  throw new PullManagerError('STORE_UNAVAILABLE', message, { path });
}

/** LMDB's messages name conditions ("Environment mapsize limit reached"), never data. */
export function lmdbError(what: string, cause: unknown, path: string): PullManagerError {
  if (cause instanceof PullManagerError) return cause;
  const detail = cause instanceof Error ? cause.message : typeof cause;
  const isDamage = /MDB_(INVALID|CORRUPTED|PAGE_NOTFOUND|VERSION_MISMATCH)/.test(detail);
  const name = isDamage ? 'STORE_CORRUPT' : 'STORE_UNAVAILABLE';
  return new PullManagerError(name, `${what}: ${detail}`, { path, cause });
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

function checkFormat(bytes: Uint8Array, path: string): void {
  let format: unknown;
  try {
    format = packr.unpack(bytes);
  } catch {
    // Judged below, like anything else that is no format.
  }
  const version: unknown = Array.isArray(format) ? format[0] : undefined;
  if (version === LMDB_FORMAT_VERSION) return;
  if (typeof version === 'number' && version > LMDB_FORMAT_VERSION) {
    const message = `the store has format ${version}, this version reads ${LMDB_FORMAT_VERSION}`;
    throw new PullManagerError('STORE_VERSION_UNSUPPORTED', message, { path });
  }
  throw new PullManagerError('STORE_CORRUPT', 'the format entry is damaged', { path });
}

/** Throws if a file exists that cannot be read and written, or that `check` finds fault with. */
async function checkFile(
  path: string,
  check: (file: FileHandle, path: string) => Promise<void>,
): Promise<void> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r+');
    await check(file, path);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return;
    throw storeError(`cannot open the store: ${quote(path)}`, cause, path);
  } finally {
    await file?.close();
  }
}

/** The two pages with which an environment begins (64 bit), as far as they are looked at. */
const META = {
  flagsOffset: 18,
  isMeta: 0x08,
  magicOffset: 24,
  magic: 0xbeefc0de,
  pageSizeOffset: 48,
  pageSizeMin: 512,
  pageSizeMax: 65_536,
  bytes: 176,
} as const;

async function checkDataFile(file: FileHandle, path: string): Promise<void> {
  // Elsewhere the layout is another one.
  if (endianness() !== 'LE' || !process.arch.endsWith('64')) return;
  if ((await file.stat()).size === 0) return;
  let position = 0;
  for (let page = 0; page < 2; page++) {
    const meta = Buffer.alloc(META.bytes);
    const { bytesRead } = await file.read(meta, 0, META.bytes, position);
    const isMeta = (meta.readUInt16LE(META.flagsOffset) & META.isMeta) !== 0;
    const isOurs = isMeta && meta.readUInt32LE(META.magicOffset) === META.magic;
    position = meta.readUInt32LE(META.pageSizeOffset);
    const hasPageSize = position >= META.pageSizeMin && position <= META.pageSizeMax;
    // The page size is in the first page only.
    if (bytesRead < META.bytes || !isOurs || (page === 0 && !hasPageSize)) {
      const message = `${quote(path)} is not the data file of a store`;
      throw new PullManagerError('STORE_CORRUPT', message, { path });
    }
  }
}
