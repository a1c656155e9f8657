/**
 * Work of an owner that is too long for one batch: listings and pruning. A job is done in steps,
 * with batches in between, so that no decision and no pull waits for the whole of it.
 */
import type { AccessorContext, OwnedAccessor } from '../accessors/accessor.ts';
import { PullManagerError, toWire } from '../errors.ts';
import { fnv1 } from '../locks/stripe.ts';
import type { OwnerCall } from '../protocol/owner-link.ts';
import { packRecord } from '../records/codec.ts';
import { PulledRecord } from '../records/record.ts';
import { PRUNE, type PruneOutcome, type PruneRequest } from './batch.ts';

/** What a job needs of the owner whose work it is. */
export interface JobOwner {
  readonly accessor: OwnedAccessor;
  readonly context: AccessorContext;
  run(requests: readonly PruneRequest[]): Promise<void>;
  owns(text: string): boolean;
}

/** Something an owner does bit by bit. */
export interface Job {
  /** False while the host has yet to read what was answered so far. */
  isReady(): boolean;
  /** Does a bit; true when there is no more to do. Never rejects. */
  step(): Promise<boolean>;
}

const LIST_PAGE = 2048;
const PRUNE_CHUNK = 1024;

/** The job that a call asks for. */
export function startJob(owner: JobOwner, call: OwnerCall): Job {
  const steps = stepsOf(owner, call);
  return {
    // The host takes its time: other work goes on, and memory stays bounded.
    isReady: () => !call.link.hasBacklog,
    async step(): Promise<boolean> {
      try {
        return (await steps.next()).done === true;
      } catch (error) {
        call.link.failCall(call, error);
        return true;
      }
    },
  };
}

function stepsOf(owner: JobOwner, call: OwnerCall): AsyncGenerator<void, void, void> {
  switch (call.method) {
    case 'listIntents':
      return listIntents(owner, call);
    case 'listPulled':
      return listPulled(owner, call);
    case 'prune':
      return prune(owner, call);
    default:
      throw new PullManagerError('ENGINE_UNAVAILABLE', `unknown call ${call.method}`);
  }
}

async function* listIntents(owner: JobOwner, call: OwnerCall): AsyncGenerator<void, void, void> {
  const { records, errors } = await owner.accessor.listImagePullIntents();
  const images = records.map((intent) => intent.image);
  yield* pages(call, images, errors);
}

async function* listPulled(owner: JobOwner, call: OwnerCall): AsyncGenerator<void, void, void> {
  const { records, errors } = await owner.accessor.listImagePulledRecords();
  yield* pages(call, records, errors, (record) => packRecord(PulledRecord.from(record)));
}

/** Answers `[errors, item, item, …]` in pages; errors come with the last one. */
async function* pages<T>(
  call: OwnerCall,
  items: readonly T[],
  errors: readonly Error[],
  pack: (item: T) => unknown = (item) => item,
): AsyncGenerator<void, void, void> {
  for (let from = 0; ; from += LIST_PAGE) {
    const more = from + LIST_PAGE < items.length;
    const page = items.slice(from, from + LIST_PAGE).map(pack);
    const shown = more ? [] : errors.map((error) => toWire(error));
    call.link.answerCall(call, [shown, ...page], more);
    if (!more) return;
    yield;
  }
}

/**
 * Deletes records last updated before the cut-off whose image is not listed. Works on a snapshot and
 * looks at each record again when its turn comes: the stripes are held only for a chunk at a time.
 */
async function* prune(owner: JobOwner, call: OwnerCall): AsyncGenerator<void, void, void> {
  const [imageRefs, cutOffMs] = call.args as [string[], number];
  // A record of the cut-off's own step may have been written after it [W12].
  const resolutionMs = owner.accessor.timeResolutionMs ?? 1;
  const untilMs = Math.floor(cutOffMs / resolutionMs) * resolutionMs;
  const listed = new Set(imageRefs);
  const { records, errors } = await owner.accessor.listImagePulledRecords();
  // A listing of the whole store fails alike for every owner: one of them reports it.
  const isReporter = owner.accessor.listsOnlyOwnKeys || owner.context.workerIndex === 0;
  const failures: Error[] = isReporter ? [...errors] : [];
  let pruned = 0;
  let kept = 0;
  const done = (outcome: PruneOutcome): void => {
    if (outcome === 'pruned') pruned++;
    else if (outcome !== 'gone') kept++;
    if (outcome instanceof Error) failures.push(outcome);
  };
  let chunk: PruneRequest[] = [];
  for (const found of records) {
    const { imageRef } = found;
    if (!owner.accessor.listsOnlyOwnKeys && !owner.owns(imageRef)) continue;
    const record = PulledRecord.from(found);
    if (record.updatedAtMs >= untilMs || listed.has(imageRef)) {
      kept++;
      continue;
    }
    const key = { text: imageRef, hash: fnv1(imageRef) | 0, check: 0 };
    chunk.push({ op: PRUNE, image: undefined, imageRef: key, untilMs, done });
    if (chunk.length < PRUNE_CHUNK) continue;
    await owner.run(chunk);
    chunk = [];
    yield;
  }
  if (chunk.length > 0) await owner.run(chunk);
  call.link.answerCall(call, [pruned, kept, failures.map((error) => toWire(error))], false);
}
