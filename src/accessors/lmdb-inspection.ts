/**
 * The lmdb store looked at entry by entry, and bad entries taken out of it.
 *
 * A quarantined entry moves, in one transaction, to the database `quarantine` of the same
 * environment, which nothing else reads. Its key is `<database>/<SHA-256 of the entry's key, hex>`;
 * its value is msgpack `[1, database, key, value, movedAtMs]` with key and value byte for byte.
 */
import { createHash } from 'node:crypto';
import { Packr } from 'msgpackr';
import { invalidArgument, type PullManagerError, quote } from '../errors.ts';
import { packText } from '../records/codec.ts';
import type { Finding } from './inspection.ts';
import { type BinaryDatabase, type Environment, lmdbError } from './lmdb-environment.ts';
import { decodeIntent, decodePulled, hashKey } from './lmdb-values.ts';

const QUARANTINE = 'quarantine';
const QUARANTINE_VERSION = 1;
/** Entries that are read with one look at the store. */
const PAGE = 1024;

const packr = new Packr({ useRecords: false });

/** Databases of entries, and what decodes one to the key that it is the value of. */
const DATABASES: Readonly<
  Record<'intents' | 'pulled', { kind: 'intent' | 'pulled'; keyOf: (value: Uint8Array) => string }>
> = {
  intents: { kind: 'intent', keyOf: decodeIntent },
  pulled: { kind: 'pulled', keyOf: (value) => decodePulled(value).imageRef },
};
const NAMES = ['intents', 'pulled'] as const;

/** Every entry of the environment, by database and key; `location` is `<database>/<key, hex>`. */
export async function* inspectEnvironment(
  environment: Environment,
  path: string,
): AsyncGenerator<Finding> {
  for (const name of NAMES) {
    let last: Uint8Array | undefined;
    for (;;) {
      const page = readPage(environment, environment[name], last, path);
      for (const { key, value } of page) yield inspectEntry(name, key, value);
      if (page.length < PAGE) break;
      last = page.at(-1)!.key;
    }
  }
}

/**
 * Moves an entry to `quarantine`; durable when it resolves with the entry's new place.
 *
 * @throws `INVALID_ARGUMENT` for an entry that is not there (any more), `STORE_UNAVAILABLE`.
 */
export async function quarantineEntry(
  environment: Environment,
  path: string,
  entry: Finding,
): Promise<string> {
  const [name, hex] = entry.location.split('/');
  const database = NAMES.find((known) => known === name);
  const key = Buffer.from(hex ?? '', 'hex');
  if (database === undefined) throw notThere(entry);
  const found = environment[database].getBinary(key);
  environment.root.resetReadTxn();
  if (found === undefined) throw notThere(entry);
  // Memory of our own: LMDB's page may change once it is written to.
  const value = Buffer.from(found);
  const id = `${database}/${createHash('sha256').update(key).digest('hex')}`;
  const moved = packr.pack([QUARANTINE_VERSION, database, key, value, Date.now()]);
  try {
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    const quarantine: BinaryDatabase = environment.root.openDB(QUARANTINE, { ...binary });
    await environment.root.batch(() => {
      // Inside a batch these promises say nothing; the batch's own one does.
      void quarantine.put(Buffer.from(id), Buffer.from(moved));
      void environment[database].remove(key);
    });
  } catch (cause) {
    throw lmdbError('cannot put an entry into quarantine', cause, path);
  }
  return `${QUARANTINE}/${id}`;
}

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

function readPage(
  { root }: Environment,
  database: BinaryDatabase,
  after: Uint8Array | undefined,
  path: string,
): Entry[] {
  try {
    const range = after === undefined ? {} : { start: after, exclusiveStart: true };
    const page: Entry[] = [];
    for (const { key, value } of database.getRange({ ...range, limit: PAGE })) {
      // Copies: the next read may use the same memory.
      page.push({ key: Buffer.from(key), value: Buffer.from(value) });
    }
    return page;
  } catch (cause) {
    throw lmdbError('cannot read the store', cause, path);
  } finally {
    // Else LMDB goes on showing the past, and keeps its pages.
    root.resetReadTxn();
  }
}

function inspectEntry(name: 'intents' | 'pulled', key: Uint8Array, value: Uint8Array): Finding {
  const { kind, keyOf } = DATABASES[name];
  const location = `${name}/${Buffer.from(key).toString('hex')}`;
  let text: string;
  try {
    text = keyOf(value);
  } catch (error) {
    const { reason, message } = error as PullManagerError;
    return { kind, verdict: 'undecodable', location, reason: reason ?? message };
  }
  if (hashKey(packText(text, 'key')).equals(key)) {
    return { kind, verdict: 'valid', location, key: text };
  }
  const reason = 'it is stored under a key that is not the hash of its own';
  return { kind, verdict: 'misfiled', location, key: text, reason };
}

function notThere({ location }: Finding): PullManagerError {
  return invalidArgument('entry', `is not in the store: ${quote(location)}`);
}
