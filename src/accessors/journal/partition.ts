/** Brings a partition's state to memory, whatever layout it is in on disk. */
import { ownerOf, stripeOf } from '../../locks/stripe.ts';
import { corruptFile } from './file-header.ts';
import { removeQuietly } from './file-io.ts';
import { type JournalFile, listJournalFiles } from './file-names.ts';
import type { JournalPlan } from './journal-directory.ts';
import { type Manifest, readManifest } from './manifest.ts';
import type { Pacer } from './pacer.ts';
import { type RecoveredPartition, recoverPartition } from './recovery.ts';
import type { SegmentPlace } from './segment.ts';
import { writeSnapshot } from './snapshot-writer.ts';
import { JournalState } from './state.ts';

/** A partition as it was loaded, and the last number in its file names, 0 if there is none. */
export interface LoadedPartition extends RecoveredPartition {
  readonly lastNumber: number;
}

/**
 * Loads a partition into `state`: from its own files, or, where the plan changes the layout and is
 * not committed yet, from those of the old layout.
 */
export async function loadPartition(
  plan: JournalPlan,
  place: SegmentPlace,
  state: JournalState,
  pacer: Pacer,
): Promise<LoadedPartition> {
  const { path, target, source } = plan;
  // Asked again: a replacement may come after the layout was switched.
  const live = await readManifest(path);
  let recovered: RecoveredPartition;
  if (live?.layout === target.layout) recovered = await recoverOwn(place, state, pacer);
  else if (live?.layout === source?.layout) {
    recovered = await buildPartition(plan, place, state, pacer);
  } else throw corruptFile(path, 0, 'its manifest was changed while it was in use');
  const files = await partitionFiles(path, target.layout, place.partition);
  return { ...recovered, lastNumber: files.at(-1)?.number ?? 0 };
}

/** The files of a partition, by number. */
export async function partitionFiles(
  directory: string,
  layout: number,
  partition: number,
): Promise<JournalFile[]> {
  const files = await listJournalFiles(directory);
  return files.filter((file) => file.layout === layout && file.partition === partition);
}

async function recoverOwn(
  { directory, layout, partition, partitionCount }: SegmentPlace,
  state: JournalState,
  pacer: Pacer,
): Promise<RecoveredPartition> {
  const files = await partitionFiles(directory, layout, partition);
  for (const file of files) if (file.temporary) await removeQuietly(file.path);
  return recoverPartition({ directory, files, partitionCount, state, pacer, flushes: true });
}

/** Reads the old layout, keeps what belongs to the partition, and writes a first snapshot. */
async function buildPartition(
  { path, source, target, tuning }: JournalPlan,
  place: SegmentPlace,
  state: JournalState,
  pacer: Pacer,
): Promise<RecoveredPartition> {
  // Of a predecessor that died on the way.
  for (const file of await partitionFiles(path, place.layout, place.partition)) {
    await removeQuietly(file.path);
  }
  let snapshotBytes = 0;
  if (source !== undefined) {
    await readLayout(path, source, ownView(state, target, place.partition), pacer);
    const options = { place, number: 1, firstSequence: 1, state, isStopped: () => false };
    const { snapshotFrameBytes: frameBytes } = tuning;
    snapshotBytes = (await writeSnapshot({ ...options, frameBytes })) ?? 0;
  }
  return { nextSequence: 1, journalBytes: 0, segmentCount: 0, snapshotBytes, obsolete: [] };
}

/** A view of `state` through which only the keys of a partition are written. */
function ownView(state: JournalState, target: Manifest, partition: number): JournalState {
  const { partitionCount, stripeCount } = target;
  if (partitionCount === 1) return state;
  return new JournalState(
    state,
    (key) => ownerOf(stripeOf(key, stripeCount), partitionCount) === partition,
  );
}

async function readLayout(
  directory: string,
  source: Manifest,
  state: JournalState,
  pacer: Pacer,
): Promise<void> {
  const { layout, partitionCount } = source;
  for (let partition = 0; partition < partitionCount; partition++) {
    const files = await partitionFiles(directory, layout, partition);
    await recoverPartition({ directory, files, partitionCount, state, pacer, flushes: false });
  }
}
