/** What the storm itself costs: its callers against an engine that does nothing. */
import type { EngineStats } from '../metrics/stats.ts';
import { Caller } from './caller.ts';
import type { StormDecision, StormEngine } from './engine.ts';
import { Ledger } from './ledger.ts';
import { BATCH_SIZE, PlanShape } from './plan.ts';
import { Recorder } from './recorder.ts';
import type { RequestOptions } from './stages.ts';
import { StormState } from './state.ts';
import type { Universe } from './universe.ts';
import { Verifier } from './verifier.ts';

/** Processor time of the storm's own work for each operation. */
export interface Overhead {
  /** Choosing the operation, calling, awaiting and measuring it. */
  readonly driverNs: number;
  /** Keeping the ledger and checking the decision, beyond that. */
  readonly verifyNs: number;
}

const ROUNDS = 3;
const OPERATIONS = 100_000;
const CALLERS = 64;

/** Measures the overhead with the operations of a scenario; takes about a quarter of a second. */
export async function measureOverhead(
  universe: Universe,
  options: RequestOptions,
  { policy, behaviour }: Pick<Verifier, 'policy' | 'behaviour'>,
): Promise<Overhead> {
  const shape = new PlanShape(universe, { ...options, decisionShare: 1, mix: undefined });
  const begin = (ledger: Ledger): Verifier =>
    new Verifier(ledger, policy, CALLERS * BATCH_SIZE, behaviour);
  const plain: number[] = [];
  const verified: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    plain.push(await timeRound(universe, shape, begin, false));
    verified.push(await timeRound(universe, shape, begin, true));
  }
  const driverNs = Math.min(...plain);
  return { driverNs, verifyNs: Math.max(0, Math.min(...verified) - driverNs) };
}

async function timeRound(
  universe: Universe,
  shape: PlanShape,
  begin: (ledger: Ledger) => Verifier,
  isVerified: boolean,
): Promise<number> {
  const ledger = new Ledger(universe);
  const verifier = begin(ledger);
  const recorder = new Recorder();
  const state = new StormState({
    universe,
    ledger,
    verifier,
    shapes: [shape],
    recorder,
    engine: NULL_ENGINE,
  });
  state.isVerified = isVerified;
  state.keepsWrong = false;
  for (let image = 0; image < universe.images.length; image++) {
    const pull = ledger.beginPull(
      image,
      universe.tenants.credential(image % universe.tenants.count, 0),
    );
    ledger.endPull(pull, true);
    ledger.intents[image]!.count = 0;
  }
  try {
    state.operationsMax = OPERATIONS;
    const callers = Array.from(
      { length: CALLERS },
      (_, number) => new Caller(state, number, CALLERS),
    );
    // Processor time: what else runs on the machine does not count.
    const before = process.cpuUsage();
    await Promise.all(callers.map((caller) => caller.run()));
    const { user, system } = process.cpuUsage(before);
    return ((user + system) / state.counts.operations) * 1e3;
  } finally {
    recorder.close();
  }
}

const ALLOWED: StormDecision = { mustPull: false, reason: 'credentialRecordFound' };
const NEED_NOT_PULL = Promise.resolve(false);
const DONE = Promise.resolve();
const DECIDED = Promise.resolve(ALLOWED);

const NULL_ENGINE: StormEngine = {
  recordPullIntent: () => DONE,
  recordImagePulled: () => DONE,
  recordImagePullFailed: () => DONE,
  mustAttemptImagePull: () => NEED_NOT_PULL,
  decide: () => DECIDED,
  decideSync: () => ALLOWED,
  decideBatch: (requests) => Promise.resolve(requests.map(() => ALLOWED)),
  withPull: (_image, pull) => pull(new AbortController().signal),
  pruneUnknownRecords: () => Promise.resolve({ pruned: 0, errors: [] }),
  listImagePullIntents: () => Promise.resolve({ records: [], errors: [] }),
  listImagePulledRecords: () => Promise.resolve({ records: [], errors: [] }),
  getImagePulledRecord: () => Promise.resolve(undefined),
  stats(): EngineStats {
    throw new Error('a null engine counts nothing');
  },
  close: () => DONE,
};
