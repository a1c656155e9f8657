/**
 * Runs the proofs and prints what each has survived. Started by `scripts/prove.mjs`, which compiles
 * it; each folder beside this file is a proof.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { formatCount, formatMs } from '../../src/terminal/format.ts';
import { type Column, tableLines } from '../../src/terminal/table.ts';
import { numberOf } from './common/arguments.ts';
import type { Proof, ProofFailure, ProofReport, ProofRow } from './proof.ts';
import { checkedReport, summaryOf } from './verdict.ts';

/** From the quickest to fail to the slowest; proofs that are not named come last. */
const ORDER = ['mutants', 'simulation', 'fuzz', 'faults', 'threads', 'crashes', 'power'];
/** Failures of one proof that are shown in full when it ends. */
const SHOWN_MAX = 5;
const NAME_WIDTH = 10;
const COLUMNS: readonly Column[] = [
  { title: 'proof' },
  { title: 'what' },
  { title: 'how many', align: 'right' },
  { title: '' },
  { title: 'failures', align: 'right' },
  { title: 'time', align: 'right' },
  { title: '' },
];

interface Outcome extends ProofReport {
  readonly proof: string;
  readonly durationMs: number;
}

const HELP = `npm run prove -- [PROOF ...] [--seed N] [--scale N] [--json FILE] [-- ARGUMENT ...]

Runs the proofs of that name, or all, and prints a table. Exits 1 where anything failed,
or a proof did nothing and does not say why.

  --seed N      where every random choice comes from (default: from the clock, printed)
  --scale N     take N times as long, and do N times as much (default: 1)
  --json FILE   writes the table as JSON as well
  ARGUMENT      for one proof, as the command lines of its failures give them

Proofs:
`;

/** Runs what the command line says; gives the exit code. */
export async function prove(args: readonly string[]): Promise<number> {
  const { values, positionals, rest } = parse(args);
  const proofs = await loadProofs();
  if (values.help) {
    const lines = proofs.map(
      ({ name, what, seconds }) => `  ${name.padEnd(NAME_WIDTH)} ${what} (${seconds} s)`,
    );
    process.stdout.write(`${HELP}${lines.join('\n')}\n`);
    return 0;
  }
  const seed = numberOf('seed', values.seed ?? String(Date.now() % 1_000_000));
  const scale = numberOf('scale', values.scale);
  if (scale === 0) throw new Error('--scale must be greater than 0');
  const chosen = positionals.length === 0 ? proofs : positionals.map((name) => named(proofs, name));
  console.log(`seed ${seed}; ${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores\n`);
  const outcomes: Outcome[] = [];
  for (const proof of chosen) outcomes.push(await runOne(proof, { seed, scale, rest }));
  const table = tableLines(COLUMNS, rowsOf(outcomes), Number.POSITIVE_INFINITY);
  console.log(`\n${[...table].join('\n')}\n`);
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ seed, scale, outcomes }, undefined, 2)}\n`);
  }
  for (const line of summaryOf(outcomes)) console.log(line);
  return outcomes.every(({ failures }) => failures.length === 0) ? 0 : 1;
}

async function runOne(
  proof: Proof,
  options: { readonly seed: number; readonly scale: number; readonly rest: readonly string[] },
): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), `pullwarden-${proof.name}-`));
  const startedMs = performance.now();
  const log = (line: string): void => {
    const elapsed = `${((performance.now() - startedMs) / 1_000).toFixed(0)} s`.padStart(6);
    console.log(`${proof.name.padEnd(NAME_WIDTH)} ${elapsed}  ${line}`);
  };
  log(proof.what);
  const { seed, scale, rest } = options;
  const replay = `npm run prove -- ${proof.name} --seed ${seed}`;
  let report: ProofReport;
  try {
    const done = await proof.run({ seed, seconds: proof.seconds * scale, directory, rest, log });
    report = checkedReport(done, replay);
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    report = { rows: [], failures: [{ what: 'the proof itself broke', detail, replay }] };
  }
  for (const failure of report.failures.slice(0, SHOWN_MAX)) showFailure(failure, log);
  const hidden = report.failures.length - SHOWN_MAX;
  if (hidden > 0) log(`… and ${hidden} more failures`);
  if (report.failures.length === 0) rmSync(directory, { recursive: true, force: true });
  else log(`what it left is in ${directory}`);
  return { proof: proof.name, durationMs: performance.now() - startedMs, ...report };
}

function showFailure({ what, detail, replay }: ProofFailure, log: (line: string) => void): void {
  log(`FAILED: ${what}`);
  for (const line of detail.split('\n')) log(`  ${line}`);
  log(`  again: ${replay}`);
}

function rowsOf(outcomes: readonly Outcome[]): string[][] {
  return outcomes.flatMap(({ proof, rows, durationMs, failures }) => {
    // A proof that broke has no rows of its own.
    const broken = { what: 'the proof itself', count: 0, unit: '', failures: failures.length };
    const shown: readonly ProofRow[] = rows.length === 0 ? [broken] : rows;
    return shown.map(({ what, count, unit, failures: failed, skipped, note }, index) => [
      index === 0 ? proof : '',
      what,
      skipped === undefined ? formatCount(count) : 'skipped',
      skipped === undefined ? unit : '',
      formatCount(failed),
      index === 0 ? formatMs(durationMs) : '',
      skipped ?? note ?? '',
    ]);
  });
}

async function loadProofs(): Promise<Proof[]> {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const file = `proof${extname(import.meta.url)}`;
  const names = readdirSync(here, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(here, entry.name, file)))
    .map(({ name }) => name);
  const place = (name: string): number =>
    (ORDER.indexOf(name) + ORDER.length + 1) % (ORDER.length + 1);
  names.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
  const modules = names.map((name) => import(pathToFileURL(join(here, name, file)).href));
  return (await Promise.all(modules)).map(({ proof }: { proof: Proof }) => proof);
}

function parse(args: readonly string[]) {
  const end = args.indexOf('--');
  const own = end === -1 ? args : args.slice(0, end);
  const parsed = parseArgs({
    args: [...own],
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      scale: { type: 'string', default: '1' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  return { ...parsed, rest: end === -1 ? [] : args.slice(end + 1) };
}

function named(proofs: readonly Proof[], name: string): Proof {
  const proof = proofs.find((one) => one.name === name);
  if (proof !== undefined) return proof;
  throw new Error(`no proof is called ${name}: ${proofs.map((one) => one.name).join(', ')}`);
}
