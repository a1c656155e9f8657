/** A store that is slower than its callers: queues end where they must, and memory stays as it is. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { errorCode } from '../../../src/errors.ts';
import type { WhenFull } from '../../../src/options.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { inTime } from '../../support/wait.ts';
import type { ProofReport } from '../proof.ts';
import { secretOf } from './ledger.ts';
import { slowStore } from './slow-store.ts';

export interface FloodOptions {
  readonly whenFull: WhenFull;
  readonly workerCount: number;
  readonly rounds: number;
  readonly callsPerRound: number;
  readonly seed: number;
}

export interface FloodOutcome {
  readonly calls: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly wrong: readonly string[];
  /** Heap in use after a collection, behind the second round and behind the last. */
  readonly heapBytes: readonly [first: number, last: number];
}

const MAX_PENDING = 256;
const COMMIT_MS = 2;
/** Calls that wait for their turn at once, where they wait. */
const PATIENT = 1_000;
/** What may come and go with buffers and compiled code; a promise each would be a hundred times that. */
const GROWTH_BYTES_MAX = 6 * 2 ** 20;
const FULL = 'ERR_PULLMANAGER_QUEUE_FULL';

/** Floods an engine with calls of many keys, writes and questions. */
export async function flood(options: FloodOptions): Promise<FloodOutcome> {
  const { whenFull, workerCount, rounds, callsPerRound, seed } = options;
  const wrong: string[] = [];
  const store = slowStore({ name: `flood${seed}${whenFull}${workerCount}`, commitMs: COMMIT_MS });
  const manager = await PullManager.open({ store, workerCount, maxPending: MAX_PENDING, whenFull });
  const heaps: number[] = [];
  let next = 0;
  let acknowledged = 0;
  let refused = 0;
  const count = async (call: Promise<unknown>): Promise<void> => {
    try {
      await call;
      acknowledged++;
    } catch (error) {
      if (errorCode(error) !== FULL) wrong.push(`a call failed with ${errorCode(error)}`);
      refused++;
    }
  };
  /** One call; what it leaves in the store is taken away again, so that only queues can grow. */
  const call = async (): Promise<void> => {
    // The same in each round: what is known of a key is kept, and is no queue.
    const number = next++ % callsPerRound;
    const name = `${seed}-${number}`;
    const image = `registry.io/flood/app${name}:v1`;
    if (number % 3 === 0) {
      const secrets = [secretOf(name)];
      const { mustPull, cause } = await manager.decide(image, `sha256:${name}`, { secrets });
      if (!mustPull || cause === undefined) acknowledged++;
      else refused++;
      return;
    }
    await count(manager.recordPullIntent(image));
    await count(manager.recordImagePullFailed(image));
  };
  for (let round = 0; round < rounds; round++) {
    const { pendingLimit } = manager.stats();
    if (whenFull === 'reject') {
      // All at once: only what fits waits, and everything else is answered without the store.
      const calls = Array.from({ length: callsPerRound }, call);
      const { pending, heldBack } = manager.stats();
      if (pending > 2 * pendingLimit || heldBack > 0) wrong.push(`${pending} calls wait`);
      await inTime('a round of calls', Promise.all(calls));
    } else {
      let left = callsPerRound;
      const patient = async (): Promise<void> => {
        while (left-- > 0) await call();
      };
      const callers = Promise.all(Array.from({ length: PATIENT }, patient));
      const { pending, heldBack } = manager.stats();
      if (pending > pendingLimit || heldBack > PATIENT) wrong.push(`${pending + heldBack} wait`);
      await inTime('a round of calls', callers);
    }
    heaps.push(heapBytes());
  }
  // The first round fills what has a limit.
  const first = heaps[1]!;
  const last = heaps.at(-1)!;
  if (last - first > GROWTH_BYTES_MAX) {
    wrong.push(`the heap grew from ${mb(first)} to ${mb(last)} in ${rounds} rounds`);
  }
  if (whenFull === 'wait' && refused > 0) wrong.push(`${refused} calls were refused`);
  if (whenFull === 'reject' && refused === 0) wrong.push('nothing was refused');
  await inTime('closing', manager.close());
  const calls = acknowledged + refused;
  return { calls, acknowledged, refused, wrong, heapBytes: [first, last] };
}

export async function proveOverload(seed: number, scale: number): Promise<ProofReport> {
  const rows: ProofReport['rows'][number][] = [];
  const failures: ProofReport['failures'][number][] = [];
  for (const whenFull of ['reject', 'wait'] as const) {
    for (const workerCount of [0, 2]) {
      const rounds = 8;
      const base = whenFull === 'reject' ? 10_000 : 2_500;
      const callsPerRound = Math.max(500, Math.round(base * scale));
      const {
        calls,
        acknowledged,
        refused,
        wrong,
        heapBytes: heap,
      } = await flood({
        whenFull,
        workerCount,
        rounds,
        callsPerRound,
        seed,
      });
      const what = `a slow store is flooded, ${workerCount} workers, '${whenFull}'`;
      const kept = `${acknowledged} done, ${refused} refused at once`;
      const note = `${kept}; heap ${mb(heap[0])}, later ${mb(heap[1])}`;
      rows.push({ what, count: calls, unit: 'calls', failures: wrong.length, note });
      const replay = `npm run prove -- threads --seed ${seed} -- overload`;
      failures.push(...wrong.map((detail) => ({ what, detail, replay })));
    }
  }
  return { rows, failures };
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

function mb(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MB`;
}
