/** Hostile command lines for the real program, as a process: it ends in order and says why in one line. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Random } from '../../../src/util/random.ts';
import type { ProofFailure, ProofRow } from '../proof.ts';
import { happens, oddText, pick, several } from './choice.ts';

const PROCESSES_PER_SECOND = 0.3;
const PROCESSES_LEAST = 4;
/** Generous: it takes a second. */
const HANG_MS = 60_000;
/** Passed, failed, wrong usage, "must pull", threshold crossed. */
const EXIT_CODES: readonly unknown[] = [0, 1, 2, 3, 99];
const LINES_MAX = 400;

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

/** Starts the program with so many command lines as there is time for. */
export async function childRow(
  seed: number,
  seconds: number,
  directory: string,
): Promise<{ row: ProofRow; failures: ProofFailure[] }> {
  const count = Math.max(PROCESSES_LEAST, Math.round(seconds * PROCESSES_PER_SECOND));
  const random = new Random(seed, 1);
  const own = join(directory, 'cli');
  mkdirSync(own);
  for (const [name, content] of Object.entries(FILES)) writeFileSync(join(own, name), content);
  const failures: ProofFailure[] = [];
  for (let i = 0; i < count; i++) {
    const args = commandLineOf(random);
    const ended = await run(args, own);
    const problem = problemOf(ended);
    if (problem === undefined) continue;
    const line = args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(' ');
    failures.push({
      what: `command line: ${problem}`,
      detail: ended.stderr.slice(0, 2_000),
      replay: `pullwarden ${line}`,
    });
  }
  const row = {
    what: 'command lines of processes',
    count,
    unit: 'processes',
    failures: failures.length,
  };
  return { row, failures };
}

/** What is wrong with how a process ended; undefined if nothing. */
export function problemOf({ code, signal, stderr }: Ended): string | undefined {
  if (signal !== null) return `ended by ${signal}`;
  if (!EXIT_CODES.includes(code)) return `exit code ${code}`;
  if (/\n\s+at |\b(?:Type|Range|Reference|Syntax)Error\b|UnhandledPromise/.test(stderr))
    return 'a stack is shown';
  if (code !== 0 && code !== 99 && code !== 3 && stderr === '')
    return `exit code ${code} without a word`;
  return stderr.split('\n').length > LINES_MAX ? 'too much is said' : undefined;
}

const FILES = {
  'scenario.json': '{"__proto__":{"seed":1}}',
  'secrets.json': '[{"uid":1}]',
  'deep.json': '['.repeat(100_000),
  'records.jsonl': '{"format":"pullwarden-records","version":1}\n{"kind":"__proto__"}\n\xff\n',
  MANIFEST: '{"format":"pullwarden-journal","version":99}',
};
const STORES = [
  'journal:.',
  'journal:none',
  'kubelet:.',
  'lmdb:none',
  'memory',
  'x',
  ':',
  '__proto__:.',
];
const COMMANDS: readonly (readonly string[])[] = [
  ['records', 'list'],
  ['records', 'show', 'a'],
  ['records', 'verify'],
  ['records', 'prune'],
  ['records', 'import', 'records.jsonl'],
  ['records', 'export'],
  ['records'],
  ['check', 'a', 'b'],
  ['check', 'a', 'b', '--secret-file', 'deep.json'],
  ['check', 'a', 'b', '--secret-file', 'secrets.json'],
  ['storm', 'scenario.json'],
  ['storm', 'deep.json'],
  ['storm', '--threshold', '+(*)+(*)+(*)+(*)+(*)+(*)+(*)+(*)z<1'],
  // A flag that is not known, so that no service is started.
  ['agent', '--unknown'],
  ['__proto__'],
  [],
];
const FLAGS = [
  '--json',
  '--no-color',
  '--debu',
  '--help',
  '--store',
  '--compatibility',
  '--policy',
  '--',
  '--secret',
  '--ops',
];

function commandLineOf(random: Random): string[] {
  const args = [...pick(random, COMMANDS)];
  if (happens(random, 0.6)) args.push('--store', pick(random, STORES));
  if (args[0] === 'storm') args.push('--duration', '50ms');
  const more = several(random, 4, () =>
    happens(random, 0.6) ? pick(random, FLAGS) : oddText(random),
  );
  // No argument of a process can hold it.
  return [...args, ...more].map((arg) =>
    arg.replaceAll('\0', '').replaceAll(/[\ud800-\udfff]/g, ''),
  );
}

function run(args: readonly string[], cwd: string): Promise<Ended> {
  const main = fileURLToPath(
    new URL(`../../../src/cli/main${extname(import.meta.url)}`, import.meta.url),
  );
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd,
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: HANG_MS,
      killSignal: 'SIGKILL',
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (piece) => {
      stderr += piece;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stderr }));
  });
}
