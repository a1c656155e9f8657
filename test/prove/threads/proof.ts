import type { Proof, ProofOptions, ProofReport } from '../proof.ts';
import { closeUnderLoad, closingPlan, proveClosings } from './closings.ts';
import { proveDeaths } from './deaths.ts';
import { proveLocks } from './locks.ts';
import { proveOverload } from './overload.ts';
import { type LifePlan, lifePlans } from './strikes.ts';

const SECONDS = 120;
/** Share of the time; locks and overload do a number of operations instead. */
const DEATHS_SHARE = 0.45;
const CLOSINGS_SHARE = 0.2;
const LOCK_OPERATIONS = 10_000_000;

export const proof: Proof = {
  name: 'threads',
  what: 'workers die, locks are contended, queues are full: nothing is lost, nobody waits for ever',
  seconds: SECONDS,
  run,
};

/** One after the other: each needs all cores. */
async function run(options: ProofOptions): Promise<ProofReport> {
  const { seed, seconds, rest, log } = options;
  const scale = seconds / SECONDS;
  const until = (share: number): number => performance.now() + share * seconds * 1_000;
  const parts: Record<string, () => Promise<ProofReport>> = {
    deaths: () => proveDeaths(options, lifePlans(seed), until(DEATHS_SHARE)),
    locks: () =>
      proveLocks(
        { operations: LOCK_OPERATIONS * scale, seed, deathEveryMs: 50, stuckMs: 60_000 },
        `npm run prove -- threads --seed ${seed} -- locks`,
      ),
    closings: () => proveClosings(options, until(CLOSINGS_SHARE)),
    overload: () => proveOverload(seed, scale),
  };
  const [part, argument] = rest;
  if (part === 'life') return proveDeaths(options, [JSON.parse(argument!) as LifePlan], until(1));
  if (part === 'closing') return replayClosing(options, Number(argument));
  const reports: ProofReport[] = [];
  for (const [name, prove] of Object.entries(parts)) {
    if (part !== undefined && part !== name) continue;
    log(name);
    reports.push(await prove());
  }
  if (reports.length === 0) throw new Error(`no part is called ${String(part)}`);
  return {
    rows: reports.flatMap(({ rows }) => rows),
    failures: reports.flatMap(({ failures }) => failures),
  };
}

async function replayClosing(options: ProofOptions, number: number): Promise<ProofReport> {
  const { seed, directory } = options;
  const what = 'an engine was closed under load';
  const { wrong } = await closeUnderLoad(closingPlan(number, seed, directory));
  const replay = `npm run prove -- threads --seed ${seed} -- closing ${number}`;
  return {
    rows: [{ what, count: 1, unit: 'closings', failures: wrong.length }],
    failures: wrong.map((detail) => ({ what, detail, replay })),
  };
}
