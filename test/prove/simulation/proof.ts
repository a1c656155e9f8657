/** Random short histories on the real engine, disturbed, each explained by the sequential model. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { wholeNumber } from '../common/arguments.ts';
import type { Proof, ProofFailure, ProofOptions, ProofReport, ProofRow } from '../proof.ts';
import { addCounts, type Counts, noCounts, tooOpen } from './counts.ts';
import { simulateInChild } from './in-child.ts';
import type { SimulationResult } from './simulate.ts';

/** Processes at a time. */
const LANES = 2;
/** How often a session is run that is to be seen failing again. */
const REPLAYS_DEFAULT = 20;

export const proof: Proof = {
  name: 'simulation',
  what: 'disturbed histories of the real engine are linearizable',
  seconds: 50,
  run,
};

/** The root of the compiled tree that this file is in. */
const TREE = fileURLToPath(new URL('../../..', import.meta.url));

async function run(options: ProofOptions): Promise<ProofReport> {
  const { values } = parseArgs({
    args: [...options.rest],
    options: { session: { type: 'string' }, times: { type: 'string' } },
  });
  const seed = wholeNumber('session', values.session);
  const times = wholeNumber('times', values.times) ?? REPLAYS_DEFAULT;
  const lanes = Array.from({ length: seed === undefined ? LANES : 1 }, (_, lane) => lane);
  const results = await Promise.all(
    lanes.map((lane) =>
      simulateInChild(TREE, {
        seed: options.seed * LANES + lane,
        seconds: options.seconds,
        directory: options.directory,
        focus: {},
        ...(seed === undefined ? {} : { session: { seed, times } }),
      }),
    ),
  );
  const counts = noCounts();
  const failures: ProofFailure[] = [];
  const replay = `npm run prove -- simulation --seed ${options.seed}`;
  let sessions = 0;
  for (const result of results) {
    if ('broken' in result) {
      failures.push({ what: 'a simulation broke', detail: result.broken, replay });
      continue;
    }
    addCounts(counts, result.counts);
    sessions += result.sessions;
    if (result.failure !== undefined) failures.push(failureOf(result.failure));
  }
  const open = tooOpen(counts);
  if (open !== undefined) {
    failures.push({ what: 'too little was decided', detail: open, replay });
  }
  return { rows: rowsOf(counts, sessions, failures.length), failures };
}

function failureOf(failure: NonNullable<SimulationResult['failure']>): ProofFailure {
  const { seed, what, detail } = failure;
  const note = 'threads interleave as they like: the session is run again until it fails';
  const replay = `npm run prove -- simulation -- --session ${seed}`;
  return { what, detail: `${detail}\n(${note})`, replay };
}

function rowsOf(counts: Counts, sessions: number, failures: number): ProofRow[] {
  const { clock, death, hold, restart, storeFails } = counts.disturbances;
  const row = (what: string, count: number, unit: string, note?: string): ProofRow => ({
    what,
    count,
    unit,
    failures: 0,
    ...(note === undefined ? {} : { note }),
  });
  const note = `${sessions} engines; ${counts.undecided} more histories too wide to decide`;
  const histories = row('explained', counts.explained, 'histories', note);
  return [
    { ...histories, failures },
    row('in them', counts.operations, 'operations'),
    row('in them', counts.decisions, 'decisions'),
    row('survived', death, 'worker deaths'),
    row('survived', restart, 'restarts'),
    row('survived', storeFails, 'failing stores'),
    row('survived', clock, 'clock jumps'),
    row('survived', hold, 'stripes held by others'),
  ];
}
