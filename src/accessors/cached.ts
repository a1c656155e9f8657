/**
 * A write-through cache in front of a slow store: two bounded maps, one of intents and one of pulled
 * records, in the thread that owns the keys.
 *
 * As in the reference a listing always asks the store, a write goes to the store first, and a map
 * that is known to hold everything ("authoritative") answers for absent keys too. Unlike it [W20],
 * absence is remembered key by key where the map is not authoritative, a map that is exactly full
 * may be, values are immutable, and after a failed write the store is asked again, since it may have
 * kept what it failed to acknowledge.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager, the cache of pull records (from v1.34).
 */
import { closedError, invalidArgument, PullManagerError, storeError } from '../errors.ts';
import type { ImagePulledRecord, ImagePullIntent, PulledRecord } from '../records/record.ts';
import { settle } from '../util/settle.ts';
import type { Awaitable, PullRecordsAccessor, RecordListing, RecordWrite } from './accessor.ts';
import {
  checkIntent,
  checkListing,
  checkRecord,
  checkRecordOf,
  missingMethod,
  nameOf,
} from './answers.ts';
import { type CacheUsage, KeyCache } from './key-cache.ts';

const INTENTS_MAX = 1024;
const PULLED_MAX = 2000;

/** How much a cache remembers. */
export interface CacheOptions {
  /** Intents remembered, from 1; more than 1024 are cut to that. @default 1024 */
  readonly intentsMax?: number | undefined;
  /** Pulled records remembered, from 1; more than 2000 are cut to that. @default 2000 */
  readonly pulledMax?: number | undefined;
}

/** An accessor that remembers what its store has answered. Used by one thread, as every accessor. */
export interface CachedAccessor extends PullRecordsAccessor {
  /** How the two maps are doing now; a new value at each call. */
  readonly usage: { readonly intents: CacheUsage; readonly pulled: CacheUsage };
  /**
   * Forgets what is known of a key, or of all of them, because somebody else may have changed it:
   * the next lookup asks the store. Without it the cache takes its owner for the only writer.
   *
   * @param key An image or an imageRef: both the intent and the pulled record of that text go.
   *   Without it everything goes, and the maps can answer for absent keys again only after the next
   *   listing.
   */
  forget(key?: string): void;
}

/**
 * Puts a write-through cache in front of a store, and fills it from the store's listings.
 *
 * Usable in front of every accessor; meant for one's own slow store:
 * ```js
 * export default async (options, context) => cachedAccessor(await openMyStore(options, context));
 * ```
 * Lookups that the cache can answer are answered at once; everything else, and when a write counts as
 * durable, is the store's. Calls may overlap. Values handed out are immutable. What the store answers
 * is checked: what is malformed or belongs to another key is an error, and no error is remembered,
 * nor is a damaged record ever taken for an absent one.
 *
 * In an engine with several workers each has a cache of its own. Listings return the keys of all, so
 * make the cache large enough for all of them if it shall answer for absent keys.
 *
 * A listing that fails at open is no error: lookups ask the store then. Closing closes the store.
 *
 * Errors: `INVALID_ARGUMENT` naming the option, for sizes that are no whole numbers from 1 on, or if
 * `store` is no accessor. The accessor's own: `STORE_UNAVAILABLE` for an answer that the contract does
 * not know, `RECORD_CORRUPT` for a malformed record that it answered and `INVALID_ARGUMENT` for one to
 * be written, `CLOSED`; all others are passed on as they are.
 */
export async function cachedAccessor(
  store: PullRecordsAccessor,
  options: CacheOptions = {},
): Promise<CachedAccessor> {
  if (typeof store !== 'object' || store === null) {
    throw invalidArgument('store', `must be an accessor, but is ${nameOf(store)}`);
  }
  const missing = missingMethod(store);
  if (missing !== undefined) throw invalidArgument('store', `lacks the method ${missing}`);
  const intentsMax = checkSize('options.intentsMax', options.intentsMax, INTENTS_MAX);
  const pulledMax = checkSize('options.pulledMax', options.pulledMax, PULLED_MAX);
  const cached = new Cached(store, intentsMax, pulledMax);
  await cached.warmUp();
  return cached;
}

// The reference divides by such a size [W21].
function checkSize(argument: string, size: number | undefined, max: number): number {
  if (size === undefined) return max;
  const cut = typeof size === 'number' ? Math.min(size, max) : Number.NaN;
  if (Number.isInteger(cut) && cut >= 1) return cut;
  throw invalidArgument(argument, 'must be a whole number from 1 on');
}

class Cached implements CachedAccessor {
  readonly #store: PullRecordsAccessor;
  readonly #intents: KeyCache<true>;
  readonly #pulled: KeyCache<PulledRecord>;
  #closed: Promise<void> | undefined;

  constructor(store: PullRecordsAccessor, intentsMax: number, pulledMax: number) {
    this.#store = store;
    this.#intents = new KeyCache(intentsMax);
    this.#pulled = new KeyCache(pulledMax);
  }

  async warmUp(): Promise<void> {
    for (const list of [
      () => this.listImagePullIntents(),
      () => this.listImagePulledRecords(),
    ] as const) {
      try {
        await list();
      } catch {
        // The map stays empty, and each lookup shows whether the store works.
      }
    }
  }

  get usage(): { intents: CacheUsage; pulled: CacheUsage } {
    return { intents: this.#intents.usage, pulled: this.#pulled.usage };
  }

  forget(key?: string): void {
    for (const cache of [this.#intents, this.#pulled]) {
      if (key === undefined) cache.forgetAll();
      else cache.forget(key);
    }
  }

  listImagePullIntents(): Awaitable<RecordListing<ImagePullIntent>> {
    return this.#list(
      'listImagePullIntents',
      () => this.#store.listImagePullIntents(),
      checkIntent,
      this.#intents,
      ({ image }) => [image, true],
    );
  }

  imagePullIntentExists(image: string): Awaitable<boolean> {
    this.#assertOpen('imagePullIntentExists');
    const found = this.#intents.get(image, () =>
      settle(() => this.#store.imagePullIntentExists(image), checkExists, rethrow),
    );
    return settle(
      () => found,
      (intent) => intent === true,
      rethrow,
    );
  }

  writeImagePullIntent(image: string): Awaitable<void> {
    return this.#write('writeImagePullIntent', [{ op: 'writeIntent', image }], () =>
      this.#store.writeImagePullIntent(image),
    );
  }

  deleteImagePullIntent(image: string): Awaitable<void> {
    return this.#write('deleteImagePullIntent', [{ op: 'deleteIntent', image }], () =>
      this.#store.deleteImagePullIntent(image),
    );
  }

  listImagePulledRecords(): Awaitable<RecordListing<ImagePulledRecord>> {
    return this.#list(
      'listImagePulledRecords',
      () => this.#store.listImagePulledRecords(),
      checkRecord,
      this.#pulled,
      (record) => [record.imageRef, record],
    );
  }

  getImagePulledRecord(imageRef: string): Awaitable<ImagePulledRecord | undefined> {
    this.#assertOpen('getImagePulledRecord');
    return this.#pulled.get(imageRef, () =>
      settle(
        () => this.#store.getImagePulledRecord(imageRef),
        (answer) => checkRecordOf(imageRef, answer),
        rethrow,
      ),
    );
  }

  writeImagePulledRecord(record: ImagePulledRecord): Awaitable<void> {
    return this.#write('writeImagePulledRecord', [{ op: 'writePulled', record }], () =>
      this.#store.writeImagePulledRecord(record),
    );
  }

  deleteImagePulledRecord(imageRef: string): Awaitable<void> {
    return this.#write('deleteImagePulledRecord', [{ op: 'deletePulled', imageRef }], () =>
      this.#store.deleteImagePulledRecord(imageRef),
    );
  }

  commit(batch: readonly RecordWrite[]): Awaitable<void> {
    return this.#write('commit', batch, () => this.#store.commit(batch));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.forget();
    await this.#store.close();
  }

  #assertOpen(what: string): void {
    if (this.#closed !== undefined) throw closedError(what);
  }

  #list<R, T>(
    what: string,
    list: () => Awaitable<RecordListing<unknown>>,
    check: (record: unknown) => R,
    cache: KeyCache<T>,
    entryOf: (record: R) => readonly [string, T],
  ): Awaitable<RecordListing<R>> {
    this.#assertOpen(what);
    const epoch = cache.beginListing();
    const toError = (cause: unknown): PullManagerError =>
      storeError(`the store failed in ${what}`, cause);
    return settle(
      list,
      (answer) => {
        const listing = checkListing(answer, check, toError);
        if (listing === undefined) throw unusable(what, 'without arrays of records and errors');
        cache.endListing(epoch, listing.records.map(entryOf), listing.errors.length === 0);
        return listing;
      },
      rethrow,
    );
  }

  /** The store first, then the maps. Of several writes of a key in one batch the last one counts. */
  #write(what: string, batch: readonly RecordWrite[], run: () => unknown): Awaitable<void> {
    this.#assertOpen(what);
    const intents = new Map<string, true | undefined>();
    const pulled = new Map<string, PulledRecord | undefined>();
    // Copied now: records are their writer's own again as soon as the call returns.
    for (const write of batch) {
      if ('image' in write) intents.set(write.image, write.op === 'writeIntent' || undefined);
      else if ('imageRef' in write) pulled.set(write.imageRef, undefined);
      else pulled.set(write.record.imageRef, copyOf(write.record));
    }
    for (const image of intents.keys()) this.#intents.beginWrite(image);
    for (const imageRef of pulled.keys()) this.#pulled.beginWrite(imageRef);
    return settle(
      run,
      () => {
        for (const [image, intent] of intents) this.#intents.endWrite(image, intent);
        for (const [imageRef, record] of pulled) this.#pulled.endWrite(imageRef, record);
      },
      (cause) => {
        for (const image of intents.keys()) this.#intents.failWrite(image);
        for (const imageRef of pulled.keys()) this.#pulled.failWrite(imageRef);
        throw cause;
      },
    );
  }
}

/** The record in a form that nobody can change. */
function copyOf(record: ImagePulledRecord): PulledRecord {
  try {
    return checkRecord(record);
  } catch (cause) {
    const { reason } = cause as PullManagerError;
    throw invalidArgument('record', `cannot be stored: ${reason}`);
  }
}

function checkExists(answer: unknown): true | undefined {
  if (typeof answer === 'boolean') return answer || undefined;
  throw unusable('imagePullIntentExists', `with ${nameOf(answer)}`);
}

function unusable(what: string, problem: string): PullManagerError {
  return new PullManagerError('STORE_UNAVAILABLE', `the store answered ${what} ${problem}`);
}

function rethrow(cause: unknown): never {
  throw cause;
}
