/** The command line of the soak; `scripts/soak.mjs` compiles it and calls it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import { STORE_KINDS, storeOptions } from '../../src/accessors/store-location.ts';
import { defaultWorkerCount } from '../../src/options.ts';
import { formatBytes, formatCount, formatNs } from '../../src/terminal/format.ts';
import { type Column, tableLines } from '../../src/terminal/table.ts';
import { numberOf } from '../prove/common/arguments.ts';
import type { Flatness, Series } from './flatness.ts';
import { soakPage } from './page.ts';
import { type SoakOptions, type SoakReport, soak } from './soak.ts';

/** Before, little is left of it behind the warm-up. */
const MINUTES_MIN = 1;

const HELP = `npm run soak -- [--hours N | --minutes N] [--store journal|lmdb|kubelet|memory] [--workers N]
                [--callers N] [--images N] [--seed N] [--json FILE] [--html FILE]

Mixed load on one engine while images and tenants come and go for ever, workers die, threads attach
and leave, and the engine is reopened. Exits 1 where an answer is wrong, or where memory, descriptors,
threads or the store still grow after the warm-up, and says how to run the same again. Ctrl-C ends it
early and judges what there is.
`;

const COLUMNS: readonly Column[] = [
  { title: 'after the warm-up' },
  { title: 'early', align: 'right' },
  { title: 'late', align: 'right' },
  { title: 'growth', align: 'right' },
  { title: 'allowed', align: 'right' },
  { title: '' },
];

/** Runs what the command line says; gives the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      hours: { type: 'string' },
      minutes: { type: 'string', default: '10' },
      store: { type: 'string', default: 'journal' },
      workers: { type: 'string', default: String(defaultWorkerCount()) },
      callers: { type: 'string', default: '32' },
      images: { type: 'string', default: '3000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      json: { type: 'string' },
      html: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const directory = mkdtempSync(join(tmpdir(), 'pullwarden-soak-'));
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  const hours = values.hours === undefined ? 0 : numberOf('hours', values.hours);
  const seed = numberOf('seed', values.seed);
  const minutes = hours > 0 ? hours * 60 : numberOf('minutes', values.minutes);
  if (minutes < MINUTES_MIN) {
    throw new Error(
      `--minutes must be at least ${MINUTES_MIN}: before, nothing can be said of growth`,
    );
  }
  try {
    const options: SoakOptions = {
      store: storeOf(values.store, join(directory, 'store')),
      directory,
      minutes,
      seed,
      workerCount: numberOf('workers', values.workers),
      callers: numberOf('callers', values.callers),
      images: numberOf('images', values.images),
      signal: interrupted.signal,
      log: (line) => console.log(line),
    };
    const tellAgain = (): void => console.log(`  again: ${commandOf(values.store, options)}`);
    const report = await soak(options).catch((error: unknown) => {
      tellAgain();
      throw error;
    });
    if (values.json !== undefined) {
      writeFileSync(values.json, `${JSON.stringify({ seed, store: values.store, ...report })}\n`);
    }
    const problems = problemsOf(report);
    printVerdict(report, problems, `${values.store}, seed ${seed}`);
    if (problems.length > 0) tellAgain();
    if (values.html !== undefined) {
      writeFileSync(
        values.html,
        soakPage(report, `Soak of ${values.store}, seed ${seed}`, problems),
      );
      console.log(`chart: ${values.html}`);
    }
    return problems.length === 0 ? 0 : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Does the same again: the same calls by the same seed; what overlaps what is up to the machine. */
function commandOf(
  store: string,
  { minutes, workerCount, callers, images, seed }: SoakOptions,
): string {
  const words = Object.entries({
    minutes,
    store,
    workers: workerCount,
    callers,
    images,
    seed,
  }).map(([flag, value]) => `--${flag} ${value}`);
  return `npm run soak -- ${words.join(' ')}`;
}

/** What the soak failed for, in words. */
function problemsOf({ flatness, failures, wrongCount }: SoakReport): string[] {
  const growing = flatness.filter(({ isFlat }) => !isFlat).map(({ name }) => name);
  return [
    ...(wrongCount > 0 ? [`${formatCount(wrongCount)} wrong`] : []),
    ...(Object.keys(failures).length > 0 ? ['unexplained failures'] : []),
    ...(growing.length > 0 ? [`growing: ${growing.join(', ')}`] : []),
    ...(flatness.length === 0 ? ['too short to say whether anything grows'] : []),
  ];
}

function printVerdict(report: SoakReport, problems: readonly string[], title: string): void {
  const { flatness, failures, wrong } = report;
  const count = formatCount;
  console.log(
    `\n${title}: ${report.minutes.toFixed(1)} min, ${count(report.operations)} operations ` +
      `on ${count(report.imagesSeen)} images, ${count(report.pruned)} records pruned; ` +
      `${report.workersKilled} workers killed, ${report.threadsAttached} threads attached, ` +
      `reopened ${report.reopened} times; ${count(report.troubles)} calls met a dead worker\n`,
  );
  if (flatness.length > 0) {
    const rows = flatness.map((figure) => rowOf(figure));
    console.log([...tableLines(COLUMNS, rows, Number.POSITIVE_INFINITY)].join('\n'));
  }
  for (const text of wrong) console.log(`WRONG: ${text}`);
  for (const [code, times] of Object.entries(failures)) console.log(`FAILED: ${code} ${times}`);
  console.log(problems.length === 0 ? '\nFLAT' : `\nFAILED: ${problems.join('; ')}`);
}

function rowOf({ name, unit, early, late, growth, allowed, isFlat }: Flatness): string[] {
  const shown = (value: number): string =>
    value < 0 ? `-${format(-value, unit)}` : format(value, unit);
  return [
    name,
    shown(early),
    shown(late),
    shown(growth),
    shown(allowed),
    isFlat ? 'flat' : 'GROWS',
  ];
}

function format(value: number, unit: Series['unit']): string {
  if (unit === 'bytes') return formatBytes(value);
  return unit === 'ns' ? formatNs(value) : formatCount(Math.round(value));
}

function storeOf(kind: string, path: string): StoreOptions {
  const known = STORE_KINDS.find((one) => one === kind);
  if (known !== undefined) return known === 'memory' ? { kind: known } : storeOptions(known, path);
  throw new Error(`--store must be journal, lmdb, kubelet or memory, not ${kind}`);
}
