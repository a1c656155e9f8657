/**
 * Runs the smoke storm on every store and worker count, as CI does, and checks its verdict.
 *
 *   node scripts/ci-storms.mjs [--seed N] [--cli FILE]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './build.mjs';

const STORES = ['journal', 'memory', 'lmdb', 'kubelet'];
const WORKER_COUNTS = [0, 1, 2];
const TIMEOUT_MS = 120_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    cli: { type: 'string', default: join(ROOT, 'dist', 'src', 'cli', 'main.js') },
  },
});

/** Runs one storm; answers its result, or throws saying what is wrong with it. */
function storm(store, workers) {
  const directory = mkdtempSync(join(tmpdir(), 'pullwarden-storm-'));
  const args = ['storm', 'smoke', '--store', store, '--workers', String(workers)];
  args.push('--seed', values.seed, '--json');
  try {
    const run = spawnSync(process.execPath, [values.cli, ...args], {
      cwd: directory, // the default paths of the stores are below it
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = `${run.stdout}${run.stderr}`.trim();
    if (run.error) throw new Error(`${run.error.message}\n${output}`);
    if (run.status !== 0) throw new Error(`exit ${run.signal ?? run.status}\n${output}`);
    const result = JSON.parse(run.stdout);
    const { passed, wrongDecisions, operations } = result;
    if (passed !== true) throw new Error(`passed is ${passed}\n${output}`);
    if (wrongDecisions !== 0) throw new Error(`${wrongDecisions} wrong decisions\n${output}`);
    if (!(operations > 0)) throw new Error(`operations is ${operations}\n${output}`);
    if (result.workers !== workers || result.store !== store) {
      throw new Error(`ran on store ${result.store} and ${result.workers} workers instead`);
    }
    return result;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let failures = 0;
for (const store of STORES) {
  for (const workers of WORKER_COUNTS) {
    const name = `smoke, ${store}, ${workers} workers, seed ${values.seed}`;
    try {
      const { operations, operationsPerSecond, durationMs } = storm(store, workers);
      const rate = Math.round(operationsPerSecond).toLocaleString('en');
      console.log(`ok    ${name}: ${operations} ops in ${Math.round(durationMs)} ms, ${rate}/s`);
    } catch (error) {
      failures++;
      console.log(`FAIL  ${name}: ${error.message}`);
    }
  }
}
process.exitCode = failures > 0 ? 1 : 0;
