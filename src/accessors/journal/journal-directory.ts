/**
 * The host's side of a journal: decides the layout of the directory before the workers open their
 * partitions, and makes it the live one after.
 *
 * A layout is a way to spread keys over partitions, one per worker. When the number of workers or
 * stripes changes, each worker reads all of the old layout, keeps what it owns and writes it as the
 * new layout, beside. `MANIFEST` then switches from one to the other; a crash before leaves the old
 * one as it was.
 */

import { join } from 'node:path';
import { invalidArgument, storeError } from '../../errors.ts';
import { STRIPE_COUNT_MAX } from '../../locks/stripe.ts';
import { makeDirectory } from '../directories.ts';
import { corruptFile } from './file-header.ts';
import { removeQuietly } from './file-io.ts';
import { type JournalFile, listJournalFiles, MANIFEST_NAME } from './file-names.ts';
import { type Manifest, readManifest, writeManifest } from './manifest.ts';
import { isEmptySegment } from './recovery.ts';
import { DEFAULT_TUNING, type JournalTuning } from './tuning.ts';

export interface JournalOptions {
  readonly path: string;
  /** `flush` survives a power cut, `write` a crash of the process. */
  readonly durability: 'flush' | 'write';
  /** Number of accessors that share the directory, at least 1. */
  readonly partitionCount: number;
  readonly stripeCount: number;
  /** Sizes other than the default ones, for tests. */
  readonly tuning?: Partial<JournalTuning>;
}

/** What a worker needs to open its partition. Structured-cloneable. */
export interface JournalPlan {
  readonly path: string;
  readonly durability: 'flush' | 'write';
  /** The layout to be used. */
  readonly target: Manifest;
  /** The layout to be read: the same one, an older one, or none in a new directory. */
  readonly source: Manifest | undefined;
  readonly tuning: JournalTuning;
}

/**
 * Creates or inspects a journal's directory, of which the caller holds the lock.
 *
 * Removes what unfinished or replaced layouts have left, and nothing that is not a journal's.
 *
 * @throws `INVALID_ARGUMENT`, `STORE_UNAVAILABLE`, `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`.
 */
export async function prepareJournal(options: JournalOptions): Promise<JournalPlan> {
  const { path, durability, partitionCount, stripeCount } = options;
  checkCount('partitionCount', partitionCount, Number.MAX_SAFE_INTEGER);
  checkCount('stripeCount', stripeCount, STRIPE_COUNT_MAX);
  const tuning = { ...DEFAULT_TUNING, ...options.tuning };
  try {
    await makeDirectory(path);
    const source = await readManifest(path);
    const files = await listJournalFiles(path);
    if (source === undefined) await checkNothingIsLost(path, files);
    const isLive = (file: JournalFile): boolean =>
      file.layout === source?.layout && !file.temporary;
    for (const file of files) if (!isLive(file)) await removeQuietly(file.path);
    const target = targetLayout(source, partitionCount, stripeCount);
    return { path, durability, target, source, tuning };
  } catch (cause) {
    throw storeError(`cannot open the journal in ${path}`, cause, path);
  }
}

/**
 * Makes the plan's layout the live one. Call once all partitions are open, before anything is
 * written to them; after it the old layout's files are gone.
 *
 * @throws `STORE_UNAVAILABLE`; the old layout is then still the live one.
 */
export async function commitJournal(plan: JournalPlan): Promise<void> {
  const { path, source, target } = plan;
  if (source?.layout === target.layout) return;
  try {
    await writeManifest(path, target);
    for (const file of await listJournalFiles(path)) {
      if (file.layout !== target.layout) await removeQuietly(file.path);
    }
  } catch (cause) {
    throw storeError(`cannot switch the layout of the journal in ${path}`, cause, path);
  }
}

function targetLayout(
  source: Manifest | undefined,
  partitionCount: number,
  stripeCount: number,
): Manifest {
  if (source === undefined) return { layout: 1, partitionCount, stripeCount };
  // With one partition it does not matter which stripe a key is in.
  const isSame =
    source.partitionCount === partitionCount &&
    (partitionCount === 1 || source.stripeCount === stripeCount);
  return isSame ? source : { layout: source.layout + 1, partitionCount, stripeCount };
}

/**
 * Without a manifest the directory is new, or a first start was cut short: then its files are
 * empty. Anything else means that the manifest is lost.
 *
 * @throws `STORE_CORRUPT`
 */
export async function checkNothingIsLost(
  path: string,
  files: readonly JournalFile[],
): Promise<void> {
  for (const file of files) {
    if (file.temporary) continue;
    if (file.kind === 'journal' && (await isEmptySegment(file))) continue;
    throw corruptFile(join(path, MANIFEST_NAME), 0, 'it is missing, and there are records');
  }
}

function checkCount(argument: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return;
  throw invalidArgument(argument, `must be a whole number from 1 to ${max}`);
}
