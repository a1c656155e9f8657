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
import { closedError, invalidArgument, PullManagerError, quote, storeError } from '../errors.ts';
import { type ImagePulledRecord, type ImagePullIntent, PulledRecord } from '../records/record.ts';
import { settle } from '../util/settle.ts';
import type {
  AccessorContext,
  Awaitable,
  OwnedAccessor,
  PullRecordsAccessor,
  RecordListing,
  RecordWrite,
} from './accessor.ts';
import {
  checkIntent,
  checkListing,
  checkRecord,
  checkRecordOf,
  missingMethod,
  nameOf,
} from './answers.ts';

/**
 * What a store module exports by default: makes the accessor of one worker.
 *
 * Called once in each worker, and again for one that replaces a dead worker; with `workerCount: 0`
 * once in the calling thread, as worker 0 of 1. `options` is a structured clone of the engine's
 * option `store.options`. What it throws makes opening the engine fail with `STORE_UNAVAILABLE`.
 */
export type AccessorFactory = (
  options: unknown,
  context: { readonly workerIndex: number; readonly workerCount: number },
) => Awaitable<PullRecordsAccessor>;

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
  const missing = missingMethod(accessor);
  if (missing !== undefined) throw unusable(url, `makes an accessor without the method ${missing}`);
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
      (answer) => checkRecordOf(imageRef, answer),
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
    return settle(run, check, (cause) => {
      throw this.#failure(what, cause);
    });
  }

  #failure(what: string, cause: unknown): PullManagerError {
    return storeError(`the store module ${quote(this.#url)} failed in ${what}`, cause, this.#url);
  }

  #checkListing<T>(
    what: string,
    listing: unknown,
    check: (record: unknown) => T,
  ): RecordListing<T> {
    const checked = checkListing(listing, check, (cause) => this.#failure(what, cause));
    if (checked !== undefined) return checked;
    throw unusable(this.#url, `answered ${what} without arrays of records and errors`);
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

function unusable(url: string, problem: string): PullManagerError {
  const message = `the store module ${quote(url)} ${problem}`;
  return new PullManagerError('STORE_UNAVAILABLE', message, { path: url });
}
