/** Records of removed images taken out of a store, by the rules of `pruneUnknownRecords`. */
import type { OwnedAccessor } from '../accessors/accessor.ts';
import type { PullManagerError } from '../errors.ts';
import { lookedUpRecords } from './looked-up.ts';
import type { RecordsReader } from './open-store.ts';

/** What a pruning is to do, worked out before anything is deleted. */
export interface PrunePlan {
  /** imageRefs of the records that go, in UTF-8 order. */
  readonly prunable: readonly string[];
  readonly kept: number;
  /** Whether there are records, and none of them is listed: the list may be one of something else. */
  readonly isUnmatched: boolean;
  /** Of records that cannot be read: they stay. */
  readonly errors: readonly PullManagerError[];
}

/**
 * The records that are older than `untilMs` and not listed. One of that very time stays, or of the
 * same step of a store that keeps times in coarser steps; one without a time is older than everything.
 */
export async function planPrune(
  reader: RecordsReader,
  imageRefs: ReadonlySet<string>,
  untilMs: number,
): Promise<PrunePlan> {
  const { records, errors } = await lookedUpRecords(reader);
  // A record of the cut-off's own step may have been written after it [W12].
  const stepMs = reader.timeResolutionMs ?? 1;
  const cutOffMs = Math.floor(untilMs / stepMs) * stepMs;
  const prunable: string[] = [];
  for (const { imageRef, updatedAtMs } of records) {
    if (updatedAtMs < cutOffMs && !imageRefs.has(imageRef)) prunable.push(imageRef);
  }
  const isUnmatched = records.length > 0 && !records.some((one) => imageRefs.has(one.imageRef));
  return { prunable, kept: records.length - prunable.length, isUnmatched, errors };
}

const CHUNK = 1_000;

/**
 * Deletes the records of a plan, a chunk at a time; tells `onPruned` of each chunk that is gone for
 * good.
 *
 * @throws the store's errors, the signal's reason; earlier chunks stay deleted.
 */
export async function prune(
  accessor: OwnedAccessor,
  { prunable }: PrunePlan,
  onPruned: (imageRefs: readonly string[]) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < prunable.length; from += CHUNK) {
    signal.throwIfAborted();
    const chunk = prunable.slice(from, from + CHUNK);
    await accessor.commit(chunk.map((imageRef) => ({ op: 'deletePulled', imageRef })));
    await onPruned(chunk);
  }
}
