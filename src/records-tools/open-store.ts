/**
 * Stores opened without an engine, by one accessor in the calling thread.
 *
 * For reading, nothing is created: a path that holds no store is an error. A journal is then only
 * read, in whatever layout it has, and a kubelet's directory is left exactly as it is. An lmdb
 * environment and a module are opened as an engine opens them, because that is the only way to read
 * them. All stores with a directory are locked, which leaves a file `LOCK` in it, but for a kubelet's
 * that is only read.
 */
import { readdir } from 'node:fs/promises';
import type { AccessorContext, OwnedAccessor, PullRecordsAccessor } from '../accessors/accessor.ts';
import { openBackend, type StoreOptions } from '../accessors/backend.ts';
import { acquireDirectoryLock } from '../accessors/directory-lock.ts';
import type { Finding, Inspectable } from '../accessors/inspection.ts';
import { inspectJournal, isJournal, readJournal } from '../accessors/journal/journal-reader.ts';
import {
  unfiledKeys,
  withKubeletInspection,
  withKubeletReader,
} from '../accessors/kubelet/kubelet-reader.ts';
import { openAccessor } from '../accessors/open-accessor.ts';
import { errorCode, PullManagerError, quote, storeError } from '../errors.ts';
import { STRIPE_COUNT_MAX } from '../locks/stripe.ts';
import { inspectListings } from './inspect-listings.ts';
import type { StoreChoice } from './store-choice.ts';

/** What can be asked of a store without changing it. */
export type RecordsReader = Pick<
  PullRecordsAccessor,
  | 'listImagePullIntents'
  | 'imagePullIntentExists'
  | 'listImagePulledRecords'
  | 'getImagePulledRecord'
> &
  Pick<OwnedAccessor, 'timeResolutionMs'>;

const SOLE_WORKER: AccessorContext = {
  workerIndex: 0,
  workerCount: 1,
  stripeCount: STRIPE_COUNT_MAX,
  generation: 1,
  // So that Ctrl-C is heard.
  mayBlock: false,
};

/**
 * Gives a store to `work`, for reading, and closes it after, whatever happens.
 *
 * Errors: `STORE_UNAVAILABLE` (also where there is no store), `STORE_IN_USE`, `STORE_CORRUPT`,
 * `STORE_VERSION_UNSUPPORTED`, `INVALID_ARGUMENT`.
 */
export async function withReader<T>(
  choice: StoreChoice,
  work: (reader: RecordsReader) => Promise<T>,
): Promise<T> {
  await checkThere(choice.options);
  const { options, compatibility } = choice;
  if (!('kind' in options)) return withAccessor(choice, work);
  if (options.kind === 'kubelet') return withKubeletReader(options.dir, compatibility, work);
  if (options.kind !== 'journal') return withAccessor(choice, work);
  return withJournal(options.path, async (path) => {
    const state = await readJournal(path).catch((cause: unknown) => {
      throw journalError(cause, path);
    });
    return work({
      listImagePullIntents: () => ({
        records: Array.from(state.intents, (image) => ({ image })),
        errors: [],
      }),
      imagePullIntentExists: (image) => state.intents.has(image),
      listImagePulledRecords: () => ({ records: [...state.records.values()], errors: [] }),
      getImagePulledRecord: (imageRef) => state.records.get(imageRef),
    });
  });
}

/**
 * Gives a store to `work`, for reading and writing, and closes it after, whatever happens.
 *
 * A journal takes the layout of an engine with one worker; the next engine brings it into its own.
 *
 * Errors: as `withReader`. `STORE_UNAVAILABLE` also where a kubelet's files could not be written: what
 * `work` did is then durable, but in no file that a kubelet reads.
 *
 * @param mayCreate - whether a store that is not there is made.
 */
export async function withWriter<T>(
  choice: StoreChoice,
  mayCreate: boolean,
  work: (accessor: OwnedAccessor) => Promise<T>,
): Promise<T> {
  if (!mayCreate) await checkThere(choice.options);
  return withAccessor(choice, work, () => checkFiled(choice));
}

/**
 * Gives a store to `work`, to be looked through piece by piece. Errors: as `withReader`.
 *
 * @param repairs - whether entries are to be taken out; else it has no `quarantine` where reading can
 * do without it.
 */
export async function withInspectable<T>(
  choice: StoreChoice,
  repairs: boolean,
  work: (store: Inspectable) => Promise<T>,
): Promise<T> {
  await checkThere(choice.options);
  const { options, label, compatibility } = choice;
  if ('kind' in options && options.kind === 'kubelet' && !repairs) {
    return withKubeletInspection(options.dir, compatibility, (inspect) => work({ inspect }));
  }
  if ('kind' in options && options.kind === 'journal') {
    return withJournal(options.path, (path) =>
      work({ inspect: () => inspectWholeJournal(path, label) }),
    );
  }
  return withAccessor(choice, (accessor) =>
    work(isInspectable(accessor) ? accessor : { inspect: () => inspectListings(accessor, label) }),
  );
}

async function* inspectWholeJournal(path: string, label: string): AsyncGenerator<Finding> {
  try {
    yield* inspectJournal(path, label);
  } catch (cause) {
    throw journalError(cause, path);
  }
}

function isInspectable(accessor: object): accessor is Inspectable {
  return typeof (accessor as Partial<Inspectable>).inspect === 'function';
}

/** @param afterwards - called when the accessor is closed and the store still held, after success. */
async function withAccessor<T>(
  { options, compatibility }: StoreChoice,
  work: (accessor: OwnedAccessor) => Promise<T>,
  afterwards?: () => Promise<void>,
): Promise<T> {
  const { workerCount, stripeCount } = SOLE_WORKER;
  const backend = await openBackend(options, { workerCount, stripeCount, compatibility });
  try {
    const accessor = await openAccessor(backend.spec, SOLE_WORKER);
    let result: T;
    try {
      await backend.commitOpen();
      result = await work(accessor);
    } finally {
      await accessor.close();
    }
    await afterwards?.();
    return result;
  } finally {
    await backend.release();
  }
}

const NAMED_MAX = 10;

/** Throws where acknowledged changes are in the redo log of a kubelet's directory only. */
async function checkFiled({ options, compatibility }: StoreChoice): Promise<void> {
  if (!('kind' in options) || options.kind !== 'kubelet') return;
  const unfiled = await unfiledKeys(options.dir, compatibility);
  if (unfiled.length === 0) return;
  const named = unfiled.slice(0, NAMED_MAX).map(({ key }) => quote(key));
  if (unfiled.length > NAMED_MAX) named.push('…');
  const message =
    `the files of ${unfiled.length} keys could not be written in ${quote(options.dir)}: ` +
    `${named.join(', ')}. What was done is kept in .pullwarden/redo, and the next opening tries again`;
  throw new PullManagerError('STORE_UNAVAILABLE', message, { path: options.dir });
}

async function withJournal<T>(given: string, work: (path: string) => Promise<T>): Promise<T> {
  const lock = await acquireDirectoryLock(given);
  try {
    return await work(lock.path);
  } finally {
    await lock.release();
  }
}

function journalError(cause: unknown, path: string): PullManagerError {
  return storeError(`cannot read the journal in ${quote(path)}`, cause, path);
}

/** Throws `STORE_UNAVAILABLE` where the path holds no store, before anything is made there. */
async function checkThere(options: StoreOptions): Promise<void> {
  // Only the module knows where it keeps what; memory is refused before.
  if (!('kind' in options) || options.kind === 'memory') return;
  const path = options.kind === 'kubelet' ? options.dir : options.path;
  let missing: string | undefined;
  try {
    missing = await missingOf(options.kind, path);
  } catch (cause) {
    const isAbsent = errorCode(cause) === 'ENOENT';
    const what = isAbsent ? 'there is no store at' : 'cannot read the store at';
    throw storeError(`${what} ${quote(path)}`, cause, path);
  }
  if (missing === undefined) return;
  const message = `there is no store at ${quote(path)}: the directory holds no ${missing}`;
  throw new PullManagerError('STORE_UNAVAILABLE', message, { path });
}

async function missingOf(
  kind: 'journal' | 'lmdb' | 'kubelet',
  path: string,
): Promise<string | undefined> {
  if (kind === 'journal') return (await isJournal(path)) ? undefined : 'journal';
  const names = await readdir(path);
  if (kind === 'lmdb') return names.includes('data.mdb') ? undefined : 'data.mdb';
  const isKubelet = names.includes('pulled') || names.includes('pulling');
  return isKubelet ? undefined : 'directory pulled or pulling, as image_manager does';
}
