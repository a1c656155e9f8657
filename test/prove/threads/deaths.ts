/**
 * Deaths of workers: every kind, at every moment, on every store, with 1, 2 and 4 workers. A few
 * processes host the engines; their workers watch themselves (`preload.ts`).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ProofFailure, ProofOptions, ProofReport, ProofRow } from '../proof.ts';
import { KINDS } from './board.ts';
import type { LifeReply } from './life-process.ts';
import { type LifePlan, STORES, strikesOfLife, textOfStrike } from './strikes.ts';

const PROCESSES = 2;
/** Longer than anything that a life waits for. */
const GUARD_MS = 180_000;
/** Small, so that a worker that runs out of memory does so soon. */
const HEAP_MB = 96;

/** A life and what came of it. */
interface Lived {
  readonly plan: LifePlan;
  readonly reply: LifeReply;
}

/** Runs the lives, begins none after `untilMs` of the clock `performance.now`. */
export async function proveDeaths(
  options: ProofOptions,
  plans: readonly LifePlan[],
  untilMs: number,
): Promise<ProofReport> {
  const lived: Lived[] = [];
  const waiting = [...plans];
  const host = async (): Promise<void> => {
    let process = startProcess(options.directory);
    for (;;) {
      const plan = performance.now() < untilMs ? waiting.shift() : undefined;
      if (plan === undefined) break;
      const reply = await replyOf(process, plan);
      lived.push({ plan, reply });
      if (!('broken' in reply)) continue;
      await end(process);
      process = startProcess(options.directory);
    }
    await end(process);
  };
  await Promise.all(Array.from({ length: PROCESSES }, host));
  return { rows: rowsOf(plans, lived), failures: lived.flatMap(failuresOf) };
}

function wrongOf({ reply }: Lived): readonly string[] {
  return 'broken' in reply ? [reply.broken] : reply.result.wrong;
}

function failuresOf(life: Lived): ProofFailure[] {
  const wrong = wrongOf(life);
  if (wrong.length === 0) return [];
  const { plan } = life;
  const what = `workers of the store ${plan.store} died, ${plan.workerCount} at work`;
  const strikes = strikesOfLife(plan).map((strike) => `a worker ${textOfStrike(strike)}`);
  const detail = [...strikes, '', ...wrong.slice(0, 6)].join('\n');
  return [{ what, detail, replay: `npm run prove -- threads -- life '${JSON.stringify(plan)}'` }];
}

function rowsOf(plans: readonly LifePlan[], lived: readonly Lived[]): ProofRow[] {
  const rows: ProofRow[] = KINDS.map((kind) => {
    const of = ({ plan }: { readonly plan: LifePlan }): number =>
      strikesOfLife(plan).filter((strike) => strike.kind === kind).length;
    const failed = lived.filter((life) => of(life) > 0 && wrongOf(life).length > 0);
    const planned = plans.reduce((sum, plan) => sum + of({ plan }), 0);
    const count = lived.reduce((sum, life) => sum + of(life), 0);
    const moments = new Set(
      lived.flatMap(({ plan }) =>
        strikesOfLife(plan).flatMap((strike) =>
          strike.kind === kind ? [`${strike.scene}, ${strike.moment}`] : [],
        ),
      ),
    );
    const note = `of ${planned} combinations of store, workers and moment; ${moments.size} moments`;
    return { what: `a worker ${kind}`, count, unit: 'deaths', failures: failed.length, note };
  });
  const results = lived.flatMap(({ reply }) => ('result' in reply ? [reply.result] : []));
  const sum = (of: (result: (typeof results)[number]) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const stores = new Set(lived.map(({ plan }) => plan.store)).size;
  const longestMs = Math.max(0, ...results.map((result) => result.longestMs));
  return [
    ...rows,
    {
      what: 'acknowledged calls, looked up after each death',
      count: sum(({ acknowledged }) => acknowledged),
      unit: 'calls',
      failures: lived.filter((life) => wrongOf(life).length > 0).length,
      note: `${stores} of ${STORES.length} stores; ${sum(({ lost }) => lost)} calls were rejected`,
    },
    {
      what: 'others go on while a worker is away',
      count: sum(({ others }) => others),
      unit: 'calls',
      failures: 0,
      note: `the longest took ${longestMs.toFixed(0)} ms`,
    },
  ];
}

function startProcess(directory: string): ChildProcess {
  const extension = extname(import.meta.url);
  const preload = new URL(`preload${extension}`, import.meta.url).href;
  const execArgv = [`--max-old-space-size=${HEAP_MB}`, '--import', preload];
  const main = new URL(`life-process${extension}`, import.meta.url);
  return fork(main, [directory], { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

async function end(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const exited = once(process, 'exit');
  process.kill('SIGKILL');
  await exited;
}

async function replyOf(process: ChildProcess, plan: LifePlan): Promise<LifeReply> {
  const guard = new AbortController();
  const { signal } = guard;
  const ended = once(process, 'exit', { signal }).then(([code, killed]: unknown[]) => ({
    broken: `the process ended with ${String(code ?? killed)}`,
  }));
  const late = delay(GUARD_MS, { broken: 'the process hangs' }, { signal });
  const replied = once(process, 'message', { signal }).then(([reply]: LifeReply[]) => reply!);
  // The two that lose are ended by the abort below.
  for (const promise of [ended, late, replied]) promise.catch(() => {});
  try {
    process.send(plan);
    return await Promise.race([replied, ended, late]);
  } finally {
    guard.abort();
  }
}
