/**
 * Every call of a clean run fails once, in every way it can, each time in a run of its own. What there
 * is no time for is left out last: first comes one of each kind of call, file and step.
 */
import { Random } from '../../../src/util/random.ts';
import type { ProofFailure, ProofRow } from '../proof.ts';
import { CALLS, canFail, ERRORS, type ErrorKind, FILES } from './calls.ts';
import type { Job, StoreKind } from './lane.ts';
import type { Lane, Outcome } from './lanes.ts';
import { type LifeFault, MODES, type Mode } from './life.ts';
import { STEP_NAMES } from './script.ts';
import type { Place } from './switchboard.ts';

/** Lives of one kind of engine, each with another fault. */
export interface Campaign {
  readonly what: string;
  readonly store: StoreKind;
  readonly workers: number;
  readonly modes: readonly Mode[];
  /** Share of the time. */
  readonly share: number;
}

export interface SweepOptions {
  readonly lanes: readonly Lane[];
  readonly seed: number;
  readonly seconds: number;
  readonly log: (line: string) => void;
}

export interface SweepReport {
  readonly row: ProofRow;
  readonly failures: ProofFailure[];
}

/** At the end of a life the disk is well. */
const LAST_STEPS = 2;
/** However slow the machine is. */
const LIVES_LEAST = 2;
/** Failures of one campaign that are kept; so many mean that something is broken throughout. */
const FAILURES_MAX = 20;

export async function sweep(campaign: Campaign, options: SweepOptions): Promise<SweepReport> {
  const { store, workers, modes } = campaign;
  const { lanes, seed, seconds, log } = options;
  const endMs = performance.now() + seconds * 1_000;
  const failures: ProofFailure[] = [];
  const tally = new Tally();
  const fail = (job: Job, outcome: Outcome): void => {
    failures.push(failureOf(job, outcome, seed));
    log(`FAILED: ${failures.at(-1)!.what}`);
  };
  const clean: Job = { store, workers, fault: undefined };
  const first = await lanes[0]!.run(clean);
  if ('broken' in first || first.report.problems.length > 0) {
    fail(clean, first);
    return { row: rowOf(campaign, tally, 0, failures.length), failures };
  }
  const jobs = planned(first.report.calls, modes, seed);
  let next = 0;
  const work = async (lane: Lane): Promise<void> => {
    while (next < jobs.length && failures.length < FAILURES_MAX) {
      if (next >= LIVES_LEAST && performance.now() >= endMs) break;
      const fault = jobs[next++]!;
      const job: Job = { store, workers, fault };
      const outcome = await lane.run(job);
      tally.add(fault, outcome);
      if ('broken' in outcome || outcome.report.problems.length > 0) fail(job, outcome);
    }
  };
  await Promise.all(lanes.map(work));
  return { row: rowOf(campaign, tally, jobs.length, failures.length), failures };
}

/** All faults that the calls of a clean run make possible, the most telling first. */
export function planned(
  calls: readonly Place[],
  modes: readonly Mode[],
  seed: number,
): LifeFault[] {
  const random = new Random(seed);
  const byKind = new Map<string, LifeFault[]>();
  for (const place of calls.filter(({ step }) => step < STEP_NAMES.length - LAST_STEPS)) {
    for (const error of ERRORS) {
      if (!canFail(place.call, error)) continue;
      for (const mode of modes) {
        const kind = [place.call, place.file, place.step, error, mode].join('|');
        const points = byKind.get(kind) ?? [];
        points.push({ place, error, mode });
        byKind.set(kind, points);
      }
    }
  }
  const ordered: { readonly point: LifeFault; readonly turn: number; readonly at: number }[] = [];
  for (const points of byKind.values()) {
    for (const [turn, point] of shuffled(points, random).entries()) {
      ordered.push({ point, turn, at: random.next() });
    }
  }
  ordered.sort((a, b) => a.turn - b.turn || a.at - b.at);
  return ordered.map(({ point }) => point);
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  const order: T[] = [];
  while (left.length > 0) order.push(...left.splice(random.below(left.length), 1));
  return order;
}

/** What the lives of a campaign have come to. */
class Tally {
  hits = 0;
  answers = 0;
  refusals = 0;
  recoveries = 0;
  recoveryMsMax = 0;
  readonly kinds = new Set<string>();

  add({ place }: LifeFault, outcome: Outcome): void {
    if ('broken' in outcome) return;
    const { wasHit, answers, refusals, recoveryMs } = outcome.report;
    this.answers += answers;
    this.refusals += refusals;
    this.recoveryMsMax = Math.max(this.recoveryMsMax, recoveryMs);
    if (recoveryMs > 0) this.recoveries++;
    if (!wasHit) return;
    this.hits++;
    this.kinds.add(`${place.call} ${place.file}`);
  }
}

function rowOf(campaign: Campaign, tally: Tally, possible: number, failures: number): ProofRow {
  const { hits, kinds, answers, refusals, recoveries, recoveryMsMax } = tally;
  const recovered =
    recoveries === 0
      ? 'well again at once'
      : `well again at once but in ${recoveries}, there after ${Math.ceil(recoveryMsMax)} ms at most`;
  const note = [
    `of ${possible} that are possible`,
    `${kinds.size} kinds of call`,
    `${answers} answers checked, ${refusals} refused`,
    recovered,
  ].join('; ');
  return { what: campaign.what, count: hits, unit: 'faults', failures, note };
}

function failureOf({ store, workers, fault }: Job, outcome: Outcome, seed: number): ProofFailure {
  const base = `npm run prove -- faults --seed ${seed} -- --store ${store} --workers ${workers}`;
  const engine = `${store} with ${workers} workers`;
  const problems = 'broken' in outcome ? [outcome.broken] : outcome.report.problems;
  const detail = problems.join('\n');
  if (fault === undefined) {
    return { what: `${engine}, no fault`, detail, replay: `${base} --place none` };
  }
  const { place, error, mode } = fault;
  const { step, call, file, nth } = place;
  const what = `${engine}: ${error} (${mode}) at ${call}, ${file}, ${nth}, in "${STEP_NAMES[step]}"`;
  return {
    what,
    detail,
    replay: `${base} --place ${placeText(place)} --error ${error} --mode ${mode}`,
  };
}

/** A place as one word, for a command line. */
function placeText({ step, call, file, nth }: Place): string {
  return [step, CALLS.indexOf(call), FILES.indexOf(file), nth].join('.');
}

/** The place of such a word; undefined: it is none. */
export function placeOf(text: string): Place | undefined {
  const [step = -1, callIndex = -1, fileIndex = -1, nth = 0] = text.split('.').map(Number);
  const call = CALLS[callIndex];
  const file = FILES[fileIndex];
  if (STEP_NAMES[step] === undefined || call === undefined || file === undefined || !(nth >= 1)) {
    return undefined;
  }
  return { step, call, file, nth };
}

/** One fault, or none, again. */
export async function replay(lane: Lane, job: Job, seed: number): Promise<SweepReport> {
  const outcome = await lane.run(job);
  const isBad = 'broken' in outcome || outcome.report.problems.length > 0;
  const failures = isBad ? [failureOf(job, outcome, seed)] : [];
  const row: ProofRow = {
    what: failureOf(job, outcome, seed).what,
    count: 1,
    unit: 'life',
    failures: failures.length,
  };
  return { row, failures };
}

/** Whether these are the words of a fault. */
export function isErrorKind(text: string | undefined): text is ErrorKind {
  return ERRORS.some((error) => error === text);
}

export function isMode(text: string | undefined): text is Mode {
  return MODES.some((mode) => mode === text);
}
