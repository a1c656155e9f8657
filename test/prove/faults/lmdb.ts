/**
 * The lmdb store writes with native code, so its system calls are made to fail from outside, by
 * `strace`. On a disk that fails the library may end the process; then the next one must find all that
 * was acknowledged.
 */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PullManager } from '../../../src/index.ts';
import { hashNumbers } from '../../../src/util/random.ts';
import { skippedReport } from '../common/skipped.ts';
import type { ProofFailure, ProofRow } from '../proof.ts';
import type { LmdbEnd, LmdbLine, LmdbWrite } from './lmdb-life.ts';
import { Oracle } from './oracle.ts';

const CALLS = ['pwrite64', 'pwritev', 'writev', 'fdatasync', 'ftruncate'] as const;
const ERRORS = ['EIO', 'ENOSPC'] as const;
/** A thread's calls from the first to this one. */
const WHEN_MAX = 24;
const LIFE_LIMIT_MS = 120_000;
const WHAT = 'lmdb, a system call fails';

export interface LmdbFault {
  readonly call: string;
  readonly error: string;
  readonly when: number;
}

export interface LmdbOptions {
  readonly directory: string;
  readonly seed: number;
  readonly seconds: number;
  /** Only this one. @default as many as there is time for */
  readonly fault?: LmdbFault | undefined;
}

export interface LmdbReport {
  readonly row: ProofRow;
  readonly failures: readonly ProofFailure[];
}

export async function proveLmdb(options: LmdbOptions): Promise<LmdbReport> {
  const replay = `npm run prove -- faults --seed ${options.seed} -- --lmdb`;
  const missing = whatIsMissing();
  if (missing !== undefined) {
    const { rows, failures } = skippedReport('faults', WHAT, missing);
    return { row: rows[0], failures };
  }
  const failures: ProofFailure[] = [];
  let lives = 0;
  let endings = 0;
  let refusals = 0;
  const endMs = performance.now() + options.seconds * 1_000;
  const faults = options.fault === undefined ? allFaults(options.seed) : [options.fault];
  for (const fault of faults) {
    const life = await lmdbLife(join(options.directory, String(++lives)), fault);
    refusals += life.refused;
    if (life.wasEnded) endings++;
    const { call, error, when } = fault;
    const what = `lmdb: ${error} at ${call} ${when}`;
    const detail = life.problems.join('\n');
    if (detail !== '')
      failures.push({ what, detail, replay: `${replay} ${call}:${error}:${when}` });
    if (performance.now() >= endMs) break;
  }
  const note = `of ${faults.length} that are possible; the library ended the process in ${endings}, ${refusals} answers refused`;
  return {
    row: { what: WHAT, count: lives, unit: 'faults', failures: failures.length, note },
    failures,
  };
}

/** A fault in the words of a command line; undefined: it is none. */
export function lmdbFaultOf(text: string): LmdbFault | undefined {
  const [call = '', error = '', when = ''] = text.split(':');
  return Number(when) >= 1 ? { call, error, when: Number(when) } : undefined;
}

function allFaults(seed: number): LmdbFault[] {
  const faults = CALLS.flatMap((call, c) =>
    ERRORS.flatMap((error, e) =>
      Array.from({ length: WHEN_MAX }, (_, i) => {
        return { call, error, when: i + 1, at: hashNumbers(seed, c, e, i) };
      }),
    ),
  );
  return faults.sort((a, b) => a.at - b.at);
}

function whatIsMissing(): string | undefined {
  const { status } = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']);
  return status === 0 ? undefined : 'there is no strace, or it may not trace';
}

interface LmdbLife {
  readonly problems: string[];
  readonly refused: number;
  readonly wasEnded: boolean;
}

async function lmdbLife(store: string, { call, error, when }: LmdbFault): Promise<LmdbLife> {
  const program = fileURLToPath(new URL('./lmdb-life.js', import.meta.url));
  const args = ['-f', '-qq', '-o', '/dev/null', '-P', join(store, 'data.mdb')];
  args.push('-e', `trace=${CALLS.join(',')}`, '-e', `inject=${call}:error=${error}:when=${when}`);
  args.push(process.execPath, program, store);
  const child = spawn('strace', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIFE_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = `${stderr}${text}`.slice(-2_000);
  });
  const ended = await new Promise<string>((settle) => {
    child.on('close', (code, signal) => settle(signal ?? String(code)));
  });
  const oracle = new Oracle();
  const problems: string[] = [];
  const told = replayed(oracle, stdout);
  if (ended === 'SIGKILL') problems.push('it hangs');
  // A signal is the library's doing; an exit would be ours.
  else if (told === undefined && !ended.startsWith('SIG')) problems.push(`${ended}: ${stderr}`);
  problems.push(...(told?.problems ?? []), ...(await afterwards(store, oracle)));
  return { problems, refused: told?.refused ?? 0, wasEnded: told === undefined };
}

/** Tells the oracle what was said; answers what the life itself found, if it got to the end. */
function replayed(oracle: Oracle, output: string): LmdbEnd | undefined {
  let begun: LmdbWrite | undefined;
  for (const text of output.split('\n').filter((line) => line !== '')) {
    const line = JSON.parse(text) as LmdbLine;
    if ('problems' in line) return line;
    if ('begun' in line) begun = line.begun;
    else {
      oracle[line.outcome](begun!);
      begun = undefined;
    }
  }
  if (begun !== undefined) oracle.uncertain(begun);
  return undefined;
}

/** A next life without faults. */
async function afterwards(store: string, oracle: Oracle): Promise<string[]> {
  const engine = await PullManager.open({ store: { kind: 'lmdb', path: store }, workerCount: 0 });
  oracle.restarted();
  const intents = await engine.listImagePullIntents();
  const records = await engine.listImagePulledRecords();
  const problems = [...intents.errors, ...records.errors].map(({ message }) => message);
  problems.push(...oracle.listedIntents(intents.records.map(({ image }) => image)));
  problems.push(...oracle.listedRecords(records.records));
  await engine.recordPullIntent('registry.test/next/app:1');
  await engine.close();
  return problems;
}
