/**
 * The store that a user brings: a module whose default export makes an accessor.
 *
 * Nothing that it answers is believed unseen. It is given plain values of its own and gives back
 * plain values, which are checked and copied: what is malformed or belongs to another key counts as
 * damaged, never as absent.
 */
import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { types } from 'node:util';
import { closedError, invalidArgument, PullManagerError, quote, storeError } from '../errors.ts';
import {
  type ImagePullCredentials,
  type ImagePulledRecord,
  type ImagePullIntent,
  PulledRecord,
} from '../records/record.ts';
import { normalizeCredentials } from '../records/validate.ts';
import type {
  AccessorContext,
  Awaitable,
  OwnedAccessor,
  PullRecordsAccessor,
  RecordListing,
  RecordWrite,
} from './accessor.ts';

/** What a store module exports by default. Called once in each worker. */
export type AccessorFactory = (
  options: unknown,
  context: { readonly workerIndex: number; readonly workerCount: number },
) => Awaitable<PullRecordsAccessor>;

const METHODS = [
  'listImagePullIntents',
  'imagePullIntentExists',
  'writeImagePullIntent',
  'deleteImagePullIntent',
  'listImagePulledRecords',
  'getImagePulledRecord',
  'writeImagePulledRecord',
  'deleteImagePulledRecord',
  'commit',
  'close',
] as const satisfies readonly (keyof PullRecordsAccessor)[];

/**
 * The URL of a store module, so that every thread loads the same file: URLs and paths as they are
 * (relative ones from the working directory), anything else as a package, also from there.
 *
 * Errors: `INVALID_ARGUMENT` for a package that cannot be found.
 */
export function resolveModuleUrl(module: string | URL): string {
  if (typeof module !== 'string') return module.href;
  // Before the test for a URL: `C:\store.js` is a path.
  if (isAbsolute(module)) return pathToFileURL(module).href;
  if (/^\.{1,2}(?:[\\/]|$)/.test(module)) return pathToFileURL(resolve(module)).href;
  if (URL.canParse(module)) return new URL(module).href;
  try {
    const found = createRequire(join(process.cwd(), 'noop.js')).resolve(module);
    return isAbsolute(found) ? pathToFileURL(found).href : new URL(`node:${found}`).href;
  } catch (cause) {
    const own = resolveBesideUs(module);
    if (own !== undefined) return own;
    const problem = `is not a package that ${quote(process.cwd())} can use: ${quote(module)}`;
    const error = invalidArgument('store.module', problem);
    error.cause = cause;
    throw error;
  }
}

/** For packages without an entry for `require`, which the resolution above needs. */
function resolveBesideUs(module: string): string | undefined {
  try {
    return import.meta.resolve(module);
  } catch {
    return undefined;
  }
}

/**
 * Loads a user's accessor in the calling thread and wraps it.
 *
 * Errors: `STORE_UNAVAILABLE` naming the module and what is wrong with it.
 */
export async function openModule(
  spec: { readonly url: string; readonly options: unknown },
  context: AccessorContext,
): Promise<OwnedAccessor> {
  const { url, options } = spec;
  const { workerIndex, workerCount } = context;
  let accessor: unknown;
  try {
    const loaded: { default?: unknown } = await import(/* @vite-ignore */ url);
    const factory = defaultFunction(loaded);
    if (factory === undefined) throw unusable(url, 'has no default export that is a function');
    accessor = await factory(options, { workerIndex, workerCount });
  } catch (cause) {
    throw storeError(`the store module ${quote(url)} cannot be opened`, cause, url);
  }
  if (typeof accessor !== 'object' || accessor === null) {
    throw unusable(url, 'does not make an accessor: its default export returned no object');
  }
  const methods = accessor as Record<string, unknown>;
  for (const method of METHODS) {
    if (typeof methods[method] !== 'function') {
      throw unusable(url, `makes an accessor without the method ${method}`);
    }
  }
  return new ModuleAccessor(accessor as PullRecordsAccessor, url);
}

class ModuleAccessor implements OwnedAccessor {
  /** Not known of a user's store. */
  readonly writtenBytes = 0;
  readonly listsOnlyOwnKeys = false;
  readonly maintenance = undefined;
  readonly #accessor: PullRecordsAccessor;
  readonly #url: string;
  #closed: Promise<void> | undefined;

  constructor(accessor: PullRecordsAccessor, url: string) {
    this.#accessor = accessor;
    this.#url = url;
  }

  /** Reads both listings: the contract has no cheaper way. */
  async count(): Promise<{ intents: number; records: number }> {
    const [intents, pulled] = await Promise.all([
      this.listImagePullIntents(),
      this.listImagePulledRecords(),
    ]);
    return { intents: intents.records.length, records: pulled.records.length };
  }

  listImagePullIntents(): Awaitable<RecordListing<ImagePullIntent>> {
    const what = 'listImagePullIntents';
    return this.#call(
      what,
      () => this.#accessor.listImagePullIntents(),
      (listing) => this.#checkListing(what, listing, checkIntent),
    );
  }

  imagePullIntentExists(image: string): Awaitable<boolean> {
    return this.#call(
      'imagePullIntentExists',
      () => this.#accessor.imagePullIntentExists(image),
      (exists) => {
        if (typeof exists === 'boolean') return exists;
        throw unusable(this.#url, `answered imagePullIntentExists with ${nameOf(exists)}`);
      },
    );
  }

  writeImagePullIntent(image: string): Awaitable<void> {
    return this.#do('writeImagePullIntent', () => this.#accessor.writeImagePullIntent(image));
  }

  deleteImagePullIntent(image: string): Awaitable<void> {
    return this.#do('deleteImagePullIntent', () => this.#accessor.deleteImagePullIntent(image));
  }

  listImagePulledRecords(): Awaitable<RecordListing<ImagePulledRecord>> {
    const what = 'listImagePulledRecords';
    return this.#call(
      what,
      () => this.#accessor.listImagePulledRecords(),
      (listing) => this.#checkListing<ImagePulledRecord>(what, listing, checkRecord),
    );
  }

  getImagePulledRecord(imageRef: string): Awaitable<ImagePulledRecord | undefined> {
    return this.#call(
      'getImagePulledRecord',
      () => this.#accessor.getImagePulledRecord(imageRef),
      (answer) => {
        if (answer === undefined) return undefined;
        const record = checkRecord(answer);
        if (record.imageRef === imageRef) return record;
        throw damaged('the record is that of another imageRef', { imageRef });
      },
    );
  }

  writeImagePulledRecord(record: ImagePulledRecord): Awaitable<void> {
    return this.#do('writeImagePulledRecord', () =>
      this.#accessor.writeImagePulledRecord(toPlain(record)),
    );
  }

  deleteImagePulledRecord(imageRef: string): Awaitable<void> {
    return this.#do('deleteImagePulledRecord', () =>
      this.#accessor.deleteImagePulledRecord(imageRef),
    );
  }

  commit(batch: readonly RecordWrite[]): Awaitable<void> {
    return this.#do('commit', () => this.#accessor.commit(batch.map(plainWrite)));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    try {
      await this.#accessor.close();
    } catch (cause) {
      throw this.#failure('close', cause);
    }
  }

  #do(what: string, run: () => Awaitable<unknown>): Awaitable<void> {
    return this.#call(what, run, () => undefined);
  }

  /** Calls the user's method. Synchronous answers stay synchronous; errors of all kinds are mapped. */
  #call<T, R>(what: string, run: () => Awaitable<T>, check: (answer: T) => R): Awaitable<R> {
    if (this.#closed !== undefined) throw closedError(what);
    try {
      const answer = run();
      if (!isThenable(answer)) return check(answer);
      return Promise.resolve(answer)
        .then(check)
        .catch((cause: unknown) => {
          throw this.#failure(what, cause);
        });
    } catch (cause) {
      throw this.#failure(what, cause);
    }
  }

  #failure(what: string, cause: unknown): PullManagerError {
    return storeError(`the store module ${quote(this.#url)} failed in ${what}`, cause, this.#url);
  }

  #checkListing<T>(
    what: string,
    listing: unknown,
    check: (record: unknown) => T,
  ): RecordListing<T> {
    const given = asObject(listing);
    if (!Array.isArray(given?.records) || !Array.isArray(given.errors)) {
      throw unusable(this.#url, `answered ${what} without arrays of records and errors`);
    }
    const checked: RecordListing<T> = {
      records: [],
      errors: given.errors.map((error) => this.#failure(what, error)),
    };
    for (const record of given.records) {
      try {
        checked.records.push(check(record));
      } catch (cause) {
        checked.errors.push(this.#failure(what, cause));
      }
    }
    return checked;
  }
}

function defaultFunction(loaded: { default?: unknown }): AccessorFactory | undefined {
  let exported: unknown = loaded.default;
  // A CommonJS module compiled from ESM: the default export is one level further in.
  if (typeof exported === 'object' && exported !== null && 'default' in exported) {
    exported = exported.default;
  }
  return typeof exported === 'function' ? (exported as AccessorFactory) : undefined;
}

function toPlain(record: ImagePulledRecord): ImagePulledRecord {
  return PulledRecord.from(record).toPlain();
}

function plainWrite(write: RecordWrite): RecordWrite {
  if (write.op === 'writePulled') return { op: write.op, record: toPlain(write.record) };
  return { ...write };
}

function checkIntent(value: unknown): ImagePullIntent {
  const image = asObject(value)?.image;
  if (typeof image !== 'string') throw damaged('an intent has no image');
  return { image };
}

function checkRecord(value: unknown): PulledRecord {
  const given = asObject(value);
  if (given === undefined) throw damaged(`a record is ${nameOf(value)}; "absent" is undefined`);
  const { imageRef, lastUpdatedTime, credentialMapping } = given;
  if (typeof imageRef !== 'string') throw damaged('a record has no imageRef');
  if (!types.isDate(lastUpdatedTime) || Number.isNaN(lastUpdatedTime.getTime())) {
    throw damaged('lastUpdatedTime of a record is not a valid Date', { imageRef });
  }
  const mapping = asObject(credentialMapping);
  if (mapping === undefined) throw damaged('a record has no credentialMapping', { imageRef });
  const checked: Record<string, ImagePullCredentials> = Object.create(null);
  for (const [imageName, credentials] of Object.entries(mapping)) {
    checked[imageName] = checkCredentials(credentials, imageRef);
  }
  return PulledRecord.from({ imageRef, lastUpdatedTime, credentialMapping: checked });
}

/** In normal form, as the engine keeps them; anything merely truthy opens no image to everybody. */
function checkCredentials(value: unknown, imageRef: string): ImagePullCredentials {
  let problem = 'the credentials of a name are null';
  try {
    const credentials = normalizeCredentials(value);
    if (credentials !== null) return credentials;
  } catch (cause) {
    if (!(cause instanceof PullManagerError)) throw cause;
    problem = cause.message;
  }
  throw damaged(problem, { imageRef });
}

type Fields = Record<string, unknown>;

function asObject(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof asObject(value)?.then === 'function';
}

function nameOf(value: unknown): string {
  return value === null ? 'null' : `a value of type ${typeof value}`;
}

function unusable(url: string, problem: string): PullManagerError {
  const message = `the store module ${quote(url)} ${problem}`;
  return new PullManagerError('STORE_UNAVAILABLE', message, { path: url });
}

function damaged(problem: string, fields: { imageRef?: string } = {}): PullManagerError {
  return new PullManagerError('RECORD_CORRUPT', `stored value is damaged: ${problem}`, {
    ...fields,
    reason: problem,
  });
}
