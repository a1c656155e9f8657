/**
 * Runs benchmarks by topic: every `bench/<topic>.bench.ts`.
 *
 *   npm run bench                          all topics
 *   npm run bench -- baselines decide      some
 *   npm run bench -- --list                their names
 *   --json FILE    also writes the results       --quick   fewer operations and samples
 *   --dir DIR      where files are written; has to be a real disk for flushes to mean anything
 *                  (default: build/bench-data in the checkout; many systems keep /tmp in memory)
 *
 * Measured on a build, with plain `node`: `npm run bench` compiles src, workers and bench together
 * into `build/` (tsconfig.bench.json), file for file and with the options of `dist/`. So benchmarks
 * can import any module of the engine, workers are the built ones, and no loader sits in between.
 *
 * A ratio compares rows of one run. Exit code 1 when a benchmark fails or sees a wrong answer; a
 * floor that was missed is marked `!` and counted in the last line.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, floors, machineLine, table } from './support/report.ts';
import { BenchContext, type BenchRow, type BenchTopic } from './support/topic.ts';

const SUFFIX = '.bench.js';
const RESULT_SCHEMA = 1;

function topicNames(): string[] {
  return readdirSync(fileURLToPath(new URL('.', import.meta.url)))
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .sort();
}

async function runTopic(name: string, context: BenchContext): Promise<BenchRow[]> {
  const first = context.rows.length;
  const module: { default: BenchTopic } = await import(
    new URL(`./${name}${SUFFIX}`, import.meta.url).href
  );
  process.stdout.write(`\n## ${name}: ${module.default.title}\n\n`);
  await module.default.run(context);
  const rows = context.rows.slice(first);
  process.stdout.write(`${table(rows)}\n`);
  return rows;
}

const USAGE = `Usage: npm run bench -- [TOPIC ...] [--json FILE] [--dir DIR] [--quick] [--list]
Topics: ${topicNames().join(', ')} (default: all). See docs/benchmarks.md.
`;

function parsedArgs() {
  return parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      dir: { type: 'string' },
      quick: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
}

async function main(): Promise<number> {
  let parsed: ReturnType<typeof parsedArgs>;
  try {
    parsed = parsedArgs();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const known = topicNames();
  if (values.list) {
    process.stdout.write(`${known.join('\n')}\n`);
    return 0;
  }
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no such topic: ${unknown.join(', ')}; there are ${known.join(', ')}\n`);
    return 2;
  }
  const ownDirectory = fileURLToPath(new URL('../bench-data', import.meta.url));
  const directory = values.dir ?? ownDirectory;
  mkdirSync(directory, { recursive: true });
  const machine = describeMachine(directory);
  process.stdout.write(`${machineLine(machine)}\n`);
  if (machine.fileSystem === 'tmpfs')
    process.stderr.write(`${directory} is in memory: see --dir\n`);
  if (machine.load > machine.cores / 2) {
    process.stderr.write(`the machine is busy (load ${machine.load.toFixed(1)}): do not publish\n`);
  }
  const context = new BenchContext(directory, values.quick, (row) => {
    if (process.stderr.isTTY) process.stderr.write(`${row.work}: ${row.subject}\n`);
  });
  const topics: Record<string, BenchRow[]> = {};
  for (const name of positionals.length > 0 ? positionals : known) {
    topics[name] = await runTopic(name, context);
  }
  if (values.dir === undefined) rmSync(ownDirectory, { recursive: true, force: true });
  const { set, missed } = floors(context.rows);
  process.stdout.write(`\n${set - missed.length} of ${set} floors reached\n`);
  if (values.json !== undefined) {
    const result = { schema: RESULT_SCHEMA, machine, quick: values.quick, topics };
    writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  return 0;
}

process.exitCode = await main();
