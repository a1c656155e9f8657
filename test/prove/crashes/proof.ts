/** SIGKILL at random moments and at named points, on every store that keeps records. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { wholeNumber } from '../common/arguments.ts';
import { inLanes } from '../common/lanes.ts';
import { hasProgram } from '../common/programs.ts';
import { skippedReport } from '../common/skipped.ts';
import type { Proof, ProofFailure, ProofOptions, ProofReport, ProofRow } from '../proof.ts';
import { failuresOf } from './findings.ts';
import { runKills } from './kills.ts';
import { runPointKills } from './point-kills.ts';
import { pointsOf } from './points/catalogue.ts';
import { nameOf } from './store-name.ts';

/** Kills of each store while callers are at work, in the time that is planned; with those at points and while opening, 300. */
const KILLS: Readonly<Record<string, number>> = { journal: 80, kubelet: 50, lmdb: 35 };
const SECONDS = 140;
/** So many times the time that is planned may be needed on a busy machine. */
const PATIENCE = 8;
/** Lives wait for the disk half of the time. */
const LANES = 3;

type Task = () => Promise<ProofReport>;

export const proof: Proof = {
  name: 'crashes',
  what: 'SIGKILL under load, while opening and closing, and at named points: nothing is lost',
  seconds: SECONDS,
  run,
};

async function run(options: ProofOptions): Promise<ProofReport> {
  const reports = await inLanes(LANES, tasksOf(options), (task) => task());
  return {
    rows: reports.flatMap(({ rows }) => rows),
    failures: reports.flatMap(({ failures }) => failures),
  };
}

/** What the command line names, or everything. */
function tasksOf(options: ProofOptions): Task[] {
  const { values } = parseArgs({
    args: [...options.rest],
    options: {
      store: { type: 'string', multiple: true, default: Object.keys(KILLS) },
      kills: { type: 'string' },
      hits: { type: 'string' },
    },
  });
  const scale = options.seconds / SECONDS;
  const hits = wholeNumber('hits', values.hits) ?? Math.max(1, Math.round(scale));
  return values.store.flatMap((store) => {
    const planned = Math.max(1, Math.round((KILLS[store] ?? 1) * scale));
    const kills = wholeNumber('kills', values.kills) ?? planned;
    const tasks: Task[] = [];
    if (kills > 0) {
      tasks.push(() => killAtRandom(options, store, kills));
    }
    if (hits > 0 && pointsOf(store).length > 0) {
      tasks.push(() => killAtPoints(options, store, hits));
    }
    return tasks;
  });
}

async function killAtRandom(
  options: ProofOptions,
  store: string,
  kills: number,
): Promise<ProofReport> {
  const directory = join(options.directory, `${nameOf(store)}-kills`);
  const report = await runKills({
    directory,
    store,
    storePath: join(directory, 'store'),
    seed: options.seed,
    kills,
    limitMs: limitMsOf(options),
    log: (line) => options.log(`${nameOf(store)}: ${line}`),
  });
  const replay = replayOf(options, store, kills, 0);
  const failures = failuresOf(`${nameOf(store)}: kills under load`, report, directory, replay);
  const { killsUnderLoad, killsAtOpen, killsAtClose, acknowledged, compared, refusals } = report;
  const row: ProofRow = {
    what: `${nameOf(store)}: under load`,
    count: killsUnderLoad + killsAtClose,
    unit: 'kills',
    failures: failures.length,
    note:
      `${killsAtClose} of them while closing, ${killsAtOpen} more while opening; ` +
      `${acknowledged} acknowledged, ${compared} compared, ${refusals} refusals held`,
  };
  return { rows: [row], failures };
}

async function killAtPoints(
  options: ProofOptions,
  store: string,
  hits: number,
): Promise<ProofReport> {
  const directory = join(options.directory, `${nameOf(store)}-points`);
  const problem = process.platform === 'linux' ? undefined : 'needs Linux';
  const what = `${nameOf(store)}: at points`;
  if (problem !== undefined) return skippedReport('crashes', what, problem);
  const tracing = hasProgram('strace') ? undefined : 'there is no program strace';
  const all = pointsOf(store);
  const points = all.filter(({ isTraced }) => !isTraced || tracing === undefined);
  const report = await runPointKills({
    directory,
    store,
    storePath: join(directory, 'store'),
    seed: options.seed,
    hits,
    points,
    limitMs: limitMsOf(options),
  });
  const replay = replayOf(options, store, 0, hits);
  const failures = failuresOf(what, report, directory, replay);
  if (failures.length === 0) failures.push(...gapsOf(what, report, replay));
  const counts = [...report.hits.values()];
  const kills = counts.reduce((sum, count) => sum + count, 0);
  const reached = counts.filter((count) => count > 0).length;
  for (const line of hitLines(report.hits)) options.log(`${nameOf(store)}: kills ${line}`);
  const row: ProofRow = {
    what,
    count: kills,
    unit: 'kills',
    failures: failures.length,
    note:
      `${reached} of ${points.length} points, each at least ${Math.min(...counts)} times, ` +
      `in ${report.lives} lives`,
  };
  if (points.length === all.length) return { rows: [row], failures };
  const skipped = skippedReport('crashes', `${nameOf(store)}: at points of native code`, tracing!);
  return { rows: [row, ...skipped.rows], failures: [...failures, ...skipped.failures] };
}

/** One line for each call: how often before, halfway through and after it. */
function hitLines(hits: ReadonlyMap<string, number>): string[] {
  const calls = new Map<string, string[]>();
  for (const [name, count] of hits) {
    const [moment = '', ...call] = name.split(' ');
    const text = call.join(' ');
    calls.set(text, [...(calls.get(text) ?? []), `${moment} ${count}`]);
  }
  return Array.from(calls, ([call, moments]) => `at '${call}': ${moments.join(', ')}`);
}

/** Points about which nothing was shown. */
function gapsOf(
  subject: string,
  { missed, uncharted }: { missed: readonly string[]; uncharted: readonly string[] },
  replay: string,
): ProofFailure[] {
  const failures: ProofFailure[] = [];
  if (missed.length > 0) {
    failures.push({ what: `${subject}: never reached`, detail: missed.join('\n'), replay });
  }
  if (uncharted.length > 0) {
    const what = `${subject}: calls that points/catalogue.ts does not have`;
    failures.push({ what, detail: uncharted.join('\n'), replay });
  }
  return failures;
}

function limitMsOf({ seconds }: ProofOptions): number {
  return Math.max(seconds, SECONDS) * PATIENCE * 1_000;
}

/** The moments of kills differ from run to run. */
function replayOf({ seed }: ProofOptions, store: string, kills: number, hits: number): string {
  const args = `--store '${store}' --kills ${kills} --hits ${hits}`;
  return `npm run prove -- crashes --seed ${seed} -- ${args}`;
}
