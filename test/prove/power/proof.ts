/** Power cuts and crash snapshots, on every store that promises to survive them. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { wholeNumber } from '../common/arguments.ts';
import { skippedReport } from '../common/skipped.ts';
import { failuresOf } from '../crashes/findings.ts';
import type { Outcome } from '../crashes/kills.ts';
import { nameOf } from '../crashes/store-name.ts';
import type { Proof, ProofOptions, ProofReport, ProofRow } from '../proof.ts';
import { runPowerCuts } from './cuts.ts';
import { copyProblem, cutProblem } from './disk.ts';
import { runSnapshots } from './snapshots.ts';

const STORES = ['journal', 'kubelet', 'lmdb'];
const SECONDS = 70;
/** So many times the time that is planned may be needed on a busy machine. */
const PATIENCE = 10;
/** In the time that is planned, of each store. */
const CUTS = 5;
const SNAPSHOTS = 7;
/** A store that never flushes has to lose something by then. */
const CONTROL_COUNT = 6;

export const proof: Proof = {
  name: 'power',
  what: 'power cuts and copies of a live disk: what was acknowledged had been flushed',
  seconds: SECONDS,
  run,
};

/** Something that takes from a store what it has not flushed. */
interface Form {
  readonly name: 'cuts' | 'snapshots';
  /** Why it cannot be done here. */
  readonly problem: string | undefined;
  readonly run: (store: string, name: string, count: number) => Promise<ProofReport & Outcome>;
}

async function run(options: ProofOptions): Promise<ProofReport> {
  const { values } = parseArgs({
    args: [...options.rest],
    options: {
      store: { type: 'string', multiple: true, default: STORES },
      cuts: { type: 'string' },
      snapshots: { type: 'string' },
    },
  });
  const scale = options.seconds / SECONDS;
  const wanted = {
    cuts: wholeNumber('cuts', values.cuts) ?? Math.max(1, Math.round(CUTS * scale)),
    snapshots:
      wholeNumber('snapshots', values.snapshots) ?? Math.max(1, Math.round(SNAPSHOTS * scale)),
  };
  const rows: ProofRow[] = [];
  const failures: ProofReport['failures'][number][] = [];
  for (const form of formsOf(options)) {
    if (wanted[form.name] === 0) continue;
    const reports = await runForm(form, values.store, wanted[form.name], options);
    for (const report of reports) {
      rows.push(...report.rows);
      failures.push(...report.failures);
    }
  }
  return { rows, failures };
}

/** First a control: a store that never flushes must lose something, or nothing is shown. */
async function runForm(
  form: Form,
  stores: readonly string[],
  count: number,
  { log }: ProofOptions,
): Promise<ProofReport[]> {
  const { name, problem } = form;
  const skipped = (reason: string): ProofReport[] =>
    stores.map((store) => skippedReport('power', `${nameOf(store)}: ${name}`, reason));
  if (problem !== undefined) return skipped(problem);
  const control = await form.run(controlStore(), `control-${name}`, CONTROL_COUNT);
  if (control.failure !== undefined) return [control];
  if (control.findings.length === 0) return skipped('here, data that are not flushed survive');
  log(`${name}: a store that never flushes has lost data, as it must`);
  const lost: ProofRow = {
    what: `control that never flushes: ${name}`,
    count: control.findings.length,
    unit: 'losses, as it must',
    failures: 0,
  };
  const reports: ProofReport[] = [{ rows: [lost], failures: [] }];
  for (const store of stores) {
    const report = await form.run(store, `${nameOf(store)}-${name}`, count);
    reports.push(report);
    log(`${nameOf(store)}: ${report.rows[0]!.count} ${name}, ${report.compared} keys compared`);
  }
  return reports;
}

function formsOf(options: ProofOptions): Form[] {
  const { seed, seconds, directory: root } = options;
  const limitMs = Math.max(seconds, SECONDS) * PATIENCE * 1_000;
  const cuts: Form = {
    name: 'cuts',
    problem: cutProblem(join(root, 'probe-cuts')),
    async run(store, name, count) {
      const directory = join(root, name);
      const report = await runPowerCuts({ directory, store, seed, cuts: count, limitMs });
      const subject = `${nameOf(store)}: power cuts`;
      const failures = failuresOf(subject, report, directory, replayOf(seed, store, count, 0));
      const more = `${report.cutsAtOpen} more while opening, ${report.cutsAtClose} while closing`;
      const row = rowOf(
        subject,
        report.cuts,
        'cuts',
        failures.length,
        `${more}; ${noteOf(report)}`,
      );
      return { ...report, rows: [row], failures };
    },
  };
  const snapshots: Form = {
    name: 'snapshots',
    problem: copyProblem(join(root, 'probe-snapshots')),
    async run(store, name, count) {
      const directory = join(root, name);
      const report = await runSnapshots({ directory, store, seed, snapshots: count, limitMs });
      const subject = `${nameOf(store)}: snapshots under load`;
      const failures = failuresOf(subject, report, directory, replayOf(seed, store, 0, count));
      const more = `${report.concurrent} events while copying`;
      const note = `${more}; ${noteOf(report)}`;
      const row = rowOf(subject, report.snapshots, 'copies', failures.length, note);
      return { ...report, rows: [row], failures };
    },
  };
  return [cuts, snapshots];
}

function rowOf(
  what: string,
  count: number,
  unit: string,
  failures: number,
  note: string,
): ProofRow {
  return { what, count, unit, failures, note };
}

function noteOf({ acknowledged, compared, refusals }: Outcome): string {
  return `${acknowledged} acknowledged, ${compared} compared, ${refusals} refusals held`;
}

/** The moments differ from run to run. */
function replayOf(seed: number, store: string, cuts: number, snapshots: number): string {
  const args = `--store '${store}' --cuts ${cuts} --snapshots ${snapshots}`;
  return `npm run prove -- power --seed ${seed} -- ${args}`;
}

/** It is no part of what is compiled. */
function controlStore(): string {
  const path = join('test', 'fixtures', 'stores', 'log-store.mjs');
  for (let at = fileURLToPath(new URL('.', import.meta.url)); ; at = dirname(at)) {
    if (existsSync(join(at, path))) return `module:${join(at, path)}?neverFlushes`;
    if (dirname(at) === at) throw new Error(`there is no ${path} above the program`);
  }
}
