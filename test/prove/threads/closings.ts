/** Engines that are closed under full load: everybody is answered, what was acknowledged is kept. */
import { join } from 'node:path';
import type { StoreOptions } from '../../../src/accessors/backend.ts';
import { errorCode } from '../../../src/errors.ts';
import type { WhenFull } from '../../../src/options.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { Random } from '../../../src/util/random.ts';
import { inTime, until } from '../../support/wait.ts';
import type { ProofFailure, ProofOptions, ProofReport } from '../proof.ts';
import { STRIPE_COUNT } from './board.ts';
import { type Entry, Ledger, secretOf } from './ledger.ts';
import { Load } from './load.ts';
import { STORES, storeAt } from './strikes.ts';

export interface ClosingPlan {
  readonly store: StoreOptions;
  readonly workerCount: number;
  readonly maxPending: number;
  readonly whenFull: WhenFull;
  /** How it is closed. */
  readonly by: 'close' | 'signal' | 'an attached manager first';
  readonly seed: number;
  /** Whether there is anything to be found afterwards. */
  readonly keeps: boolean;
}

export interface ClosingResult {
  readonly wrong: readonly string[];
  readonly acknowledged: number;
  /** Calls that were refused or ended, by code. */
  readonly codes: ReadonlyMap<string, number>;
}

const CALLERS = 24;
/** More threads are started seldom: each costs more than everything else. */
const WORKER_COUNTS = [0, 0, 0, 1, 1, 2, 0, 4];
const WAYS = ['close', 'signal', 'an attached manager first'] as const;
const CLOSED = 'ERR_PULLMANAGER_CLOSED';
const ABORTED = 'ERR_PULLMANAGER_ABORTED';
const FULL = 'ERR_PULLMANAGER_QUEUE_FULL';

/** Closes one engine under load, and looks at what it left. Rejects where something hangs. */
export async function closeUnderLoad(plan: ClosingPlan): Promise<ClosingResult> {
  const { store, workerCount, maxPending, whenFull, by, seed } = plan;
  const random = new Random(seed, 3);
  const ledger = new Ledger();
  const aborter = new AbortController();
  const { signal } = aborter;
  const shape = { store, workerCount, stripeCount: STRIPE_COUNT, maxPending, whenFull };
  const manager = await inTime('opening', PullManager.open({ ...shape, signal }));
  const beside = await PullManager.attach(manager.handle);
  const owners = Math.max(1, workerCount);
  const callers = Math.ceil(CALLERS / owners);
  const loads = [manager, beside].map(
    (each, i) =>
      new Load({ manager: each, ledger, seed: 2 * seed + i, callers, workerCount: owners }),
  );
  const pulls = abortedPulls(manager, ledger, random);
  const some = random.below(300);
  const operations = (): number =>
    loads.reduce((sum, load) => sum + load.operations.reduce((all, count) => all + count, 0), 0);
  await until('some work is done', () => operations() >= some);

  if (by === 'an attached manager first') await inTime('leaving', beside.close());
  if (by === 'signal') aborter.abort();
  await inTime('closing', manager.close());
  await inTime(
    'calls are unanswered',
    Promise.all([...loads.map((load) => load.stop()), pulls.stop()]),
  );
  await inTime('leaving', beside.close());

  const wrong = loads.flatMap((load) => load.wrong);
  const allowed = new Set([CLOSED, ABORTED, ...(whenFull === 'reject' ? [FULL] : [])]);
  const codes = pulls.codes;
  for (const load of loads) {
    for (const [code, count] of load.failures) codes.set(code, (codes.get(code) ?? 0) + count);
  }
  for (const [code, count] of codes) {
    if (!allowed.has(code)) wrong.push(`${count} calls failed with ${code}`);
  }
  const { pending, heldBack } = manager.stats();
  if (pending + heldBack > 0) wrong.push(`${pending + heldBack} calls wait in a closed engine`);
  if (plan.keeps) {
    const next = await inTime('opening', PullManager.open({ store, workerCount: 0 }));
    wrong.push(...(await ledger.check(next, true)).map((text) => `after reopening: ${text}`));
    await inTime('closing', next.close());
  }
  return { wrong, acknowledged: ledger.acknowledged, codes };
}

/** Callers of `withPull` that change their minds. */
function abortedPulls(
  manager: PullManager,
  ledger: Ledger,
  random: Random,
): { readonly codes: Map<string, number>; stop(): Promise<void> } {
  const codes = new Map<string, number>();
  const stop = new AbortController();
  let turn = 0;
  const call = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      turn++;
      const image = `registry.io/aborted/app${turn}:v1`;
      const imageRef = `sha256:aborted${turn}`;
      const aborter = new AbortController();
      const begun = ledger.begin(image);
      let pulled: Entry | undefined;
      if (random.below(2) === 0) setImmediate(() => aborter.abort());
      const pull = async (): Promise<{ imageRef: string; credentials: object }> => {
        begun.done();
        pulled = ledger.pulled(image, imageRef, 'tenant1');
        await new Promise((resolve) => setImmediate(resolve));
        return { imageRef, credentials: { kubernetesSecrets: [secretOf('tenant1')] } };
      };
      try {
        await manager.withPull(image, pull, { signal: aborter.signal });
        pulled!.done();
      } catch (error) {
        const code = errorCode(error) ?? String(error);
        codes.set(code, (codes.get(code) ?? 0) + 1);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  };
  const ended = Promise.all([call(), call()]);
  return {
    codes,
    async stop() {
      stop.abort();
      await ended;
    },
  };
}

export function closingPlan(number: number, seed: number, directory: string): ClosingPlan {
  const random = new Random(seed, number);
  const kind = STORES[number % STORES.length]!;
  return {
    store: storeAt(kind, join(directory, `closing${number}`)),
    workerCount: WORKER_COUNTS[Math.floor(number / STORES.length) % WORKER_COUNTS.length]!,
    maxPending: [4, 16, 1_000][random.below(3)]!,
    whenFull: random.below(2) === 0 ? 'reject' : 'wait',
    by: WAYS[random.below(WAYS.length)]!,
    seed: seed * 10_000 + number,
    keeps: kind !== 'memory',
  };
}

/** Closes one engine after the other until `untilMs` of the clock `performance.now`. */
export async function proveClosings(options: ProofOptions, untilMs: number): Promise<ProofReport> {
  const { seed, directory } = options;
  const failures: ProofFailure[] = [];
  const codes = new Map<string, number>();
  let count = 0;
  let acknowledged = 0;
  while (performance.now() < untilMs) {
    const plan = closingPlan(count, seed, directory);
    let wrong: readonly string[];
    try {
      const result = await closeUnderLoad(plan);
      wrong = result.wrong;
      acknowledged += result.acknowledged;
      for (const [code, times] of result.codes) codes.set(code, (codes.get(code) ?? 0) + times);
    } catch (error) {
      wrong = [error instanceof Error ? (error.stack ?? error.message) : String(error)];
    }
    const replay = `npm run prove -- threads --seed ${seed} -- closing ${count}`;
    count++;
    if (wrong.length === 0) continue;
    const what = 'an engine was closed under load';
    failures.push({
      what,
      detail: [JSON.stringify(plan), ...wrong.slice(0, 6)].join('\n'),
      replay,
    });
  }
  const refused = `${codes.get(CLOSED) ?? 0} closed, ${codes.get(FULL) ?? 0} full, ${codes.get(ABORTED) ?? 0} aborted`;
  const note = `${STORES.length} stores, 0 to 4 workers; ${acknowledged} acknowledged; refused: ${refused}`;
  const what = 'engines closed under load';
  return { rows: [{ what, count, unit: 'closings', failures: failures.length, note }], failures };
}
