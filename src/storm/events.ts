/** What happens to a storm from outside while its callers run: prunings, restarts, deaths. */

import { errorCode, PULL_MANAGER_ERROR_CODES, PullManagerError } from '../errors.ts';
import type { EngineStats } from '../metrics/stats.ts';
import { plural } from '../terminal/format.ts';
import type { OpenEngine, StormRuntimeImage } from './engine.ts';
import { checkListings, checkRecord } from './listing-check.ts';
import { listedRefs } from './plan.ts';
import type { StormState } from './state.ts';
import type { Universe } from './universe.ts';

/** Records that are read one by one after a pruning that met writes. */
const PROBES_MAX = 256;
/** Share of references that the runtime still lists after a restart. */
const LISTED_AFTER_RESTART = 0.7;
/** How far back the cut-off of every other pruning lies. */
const CUT_OFF_MS = 250;
/** After this time an engine that does not come to rest counts as hung. */
const REST_TIMEOUT_MS = 60_000;

/** Records that are read to see whether every worker answers: far more than there are workers. */
const ANSWERS_WANTED = 256;
const ANSWERS_LOOK_MS = 5;

const EVENT_OF_RESTART = 1 << 20;

/** Ends one of the engine's threads; answers which, or undefined where it has none. */
export type KillWorker = (choice: number) => Promise<string | undefined>;

/** Prunes the records of references that are gone, and checks the outcome; answers what it did. */
export async function prune(state: StormState, event: number, share: number): Promise<string> {
  const { counts, engine, isVerified, ledger, recorder, universe, verifier } = state;
  const isListed = listedRefs(universe, event, share);
  const imageRefs = universe.refs.filter((_, ref) => isListed[ref] === 1);
  const untilMs = Date.now() - (event % 2 === 0 ? 0 : CUT_OFF_MS);
  const begun = isVerified ? ledger.beginPrune(isListed, untilMs) : { removals: [] };
  const startedMs = performance.now();
  let pruned: number;
  try {
    const result = await engine.pruneUnknownRecords(imageRefs, new Date(untilMs));
    pruned = result.pruned;
    if (result.errors.length > 0) state.fail(result.errors[0]);
  } catch (error) {
    for (const { write } of begun.removals) write.isMaybe = true;
    ledger.endPrune(begun);
    state.fail(error);
    return 'failed';
  }
  const tookMs = performance.now() - startedMs;
  recorder.record('pruneUnknownRecords', tookMs);
  recorder.recordService('pruneUnknownRecords', tookMs);
  counts.operations++;
  counts.prunings++;
  counts.prunedRecords += pruned;
  const { sure, possible, unsure } = ledger.endPrune(begun);
  if (isVerified && (pruned < sure || pruned > possible)) {
    state.keepProblems([`pruned ${pruned} records instead of ${sure} to ${possible}`]);
  }
  for (const ref of unsure.slice(0, PROBES_MAX)) {
    const read = verifier.beginRead();
    try {
      const found = await engine.getImagePulledRecord(universe.refs[ref]!);
      state.keepProblems(checkRecord(ledger, ref, found, read));
    } catch (error) {
      state.fail(error);
    } finally {
      verifier.endRead(read);
      ledger.settle(ref);
    }
  }
  return plural(pruned, 'record');
}

/**
 * Ends a thread of the engine in the middle of its work, and waits until its replacement answers.
 * What fails in between is to be expected; what was acknowledged before is not forgotten.
 */
export async function killWorker(
  state: StormState,
  event: number,
  kill: KillWorker,
): Promise<string> {
  const { counts, ledger } = state;
  state.disturbance++;
  const thread = await kill(event);
  if (thread === undefined) {
    state.disturbance++;
    return 'no worker to kill';
  }
  counts.workersKilled++;
  await withTimeout('replacing a killed worker', answering(state));
  ledger.endLost();
  state.disturbance++;
  return thread;
}

/** Waits until every worker answers. */
async function answering({ engine, universe }: StormState): Promise<void> {
  const asked = universe.refs.slice(0, ANSWERS_WANTED);
  for (;;) {
    const reads = await Promise.allSettled(asked.map((ref) => engine.getImagePulledRecord(ref)));
    // What was refused together with these was told in turns of the loop that are over now.
    await new Promise((resolve) => {
      setTimeout(resolve, ANSWERS_LOOK_MS);
    });
    const failures = reads.filter((read) => read.status === 'rejected');
    const other = failures.find(({ reason }) => errorCode(reason) !== WORKER_LOST);
    if (other !== undefined) throw other.reason;
    if (failures.length === 0) return;
  }
}

const { WORKER_LOST } = PULL_MANAGER_ERROR_CODES;

/**
 * Closes the engine while its callers are at work, so that pulls are left half-way, and opens it
 * again on what it left. The runtime then lists some of the images.
 *
 * @param onClose Called with the counters of the engine that was closed.
 */
export async function restart(
  state: StormState,
  options: {
    readonly event: number;
    readonly open: OpenEngine;
    /** Whether the store keeps anything. */
    readonly isDurable: boolean;
    readonly callerCount: number;
    readonly onClose: (stats: EngineStats) => void;
  },
): Promise<string> {
  const { counts, ledger, universe } = state;
  let openGate = (): void => {};
  state.gate = new Promise((resolve) => {
    openGate = resolve;
  });
  state.load?.pause(performance.now());
  try {
    await withTimeout('closing the engine', state.engine.close());
    options.onClose(state.engine.stats());
    await withTimeout('ending the operations in flight', parked(state, options.callerCount));
    const event = EVENT_OF_RESTART + options.event;
    const isListed = listedRefs(universe, event, 1 - LISTED_AFTER_RESTART);
    const startedMs = Date.now();
    state.engine = await options.open(runtimeImages(universe, isListed), state.verifier.policy);
    if (options.isDurable && state.isVerified) {
      // Intents are compared as texts: what was typed in another way stays.
      ledger.restart(
        (image) =>
          isListed[universe.refOfImage[image]!] === 1 &&
          universe.images[image] === universe.fullImages[image],
        startedMs,
      );
    } else if (state.isVerified) {
      ledger.forget();
    }
    counts.restarts++;
    await checkListings(state);
    const { records, intents } = state.engine.stats();
    return `with ${plural(records, 'record')} and ${plural(intents, 'intent')}`;
  } catch (error) {
    // Nobody goes on with an engine that is not there.
    state.stop();
    throw error;
  } finally {
    state.gate = undefined;
    state.load?.resume(performance.now());
    openGate();
  }
}

function runtimeImages(universe: Universe, isListed: Uint8Array): StormRuntimeImage[] {
  const images: StormRuntimeImage[] = [];
  for (const [ref, id] of universe.refs.entries()) {
    if (isListed[ref] !== 1) continue;
    const repoTags = universe.imagesOfRef[ref]!.map((image) => universe.fullImages[image]!);
    images.push({ id, repoTags, repoDigests: [] });
  }
  return images;
}

async function parked(state: StormState, callerCount: number): Promise<void> {
  while (state.parkedCount < callerCount) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** Waits, but not for ever: an engine that hangs is a failed storm. */
export async function withTimeout<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const problem = `${what} took longer than ${REST_TIMEOUT_MS / 1_000} s`;
      reject(new PullManagerError('LOCK_TIMEOUT', problem, { timeoutMs: REST_TIMEOUT_MS }));
    }, REST_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
