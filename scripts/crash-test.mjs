/**
 * Kills a process under storm load, again and again, and checks what its store holds afterwards.
 *
 *   node scripts/crash-test.mjs [--kills 60] [--store journal|lmdb|kubelet|module:FILE?MODE] [--seed N]
 *                               [--seconds-max 480] [--keep]
 *
 * Exits 0 where nothing was lost, invented, half there or opened to the wrong tenant; else 1, with
 * the keys concerned, what happened to them, and where the store and its logs are.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { compileAside } from './compile-project.mjs';

/** Findings that are shown in full. */
const SHOWN_MAX = 5;

/** Compiles engine and harness into a directory of its own; `remove` it afterwards. */
export function compileHarness() {
  const { out, remove } = compileAside('test/stress/tsconfig.crash.json');
  const urlOf = (name) => pathToFileURL(join(out, 'test', 'stress', name)).href;
  return {
    harness: urlOf('crash-harness.js'),
    power: urlOf('crash-power.js'),
    command: [process.execPath, join(out, 'test', 'fixtures', 'stress', 'crash-life.js')],
    remove,
  };
}

/** One line for each finding, and the details of the first ones. */
export function describeFindings(findings) {
  const kinds = new Map();
  for (const { kind } of findings) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const counts = Array.from(kinds, ([kind, count]) => `${count} ${kind}`).join(', ');
  const shown = findings.slice(0, SHOWN_MAX).map(({ kind, message }) => `  ${kind}: ${message}`);
  if (findings.length > SHOWN_MAX) shown.push(`  … and ${findings.length - SHOWN_MAX} more`);
  return `${counts}\n${shown.join('\n')}`;
}

/** Milliseconds as `12.3 s`. */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

async function main() {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '60' },
      store: { type: 'string', default: 'journal' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      'seconds-max': { type: 'string', default: '480' },
      keep: { type: 'boolean', default: false },
    },
  });
  const { store } = values;
  const [kills, seed, secondsMax] = [values.kills, values.seed, values['seconds-max']].map(Number);
  if (!(kills >= 1) || !Number.isInteger(seed) || !(secondsMax > 0)) {
    throw new Error('--kills, --seed and --seconds-max must be numbers');
  }
  const build = compileHarness();
  const directory = mkdtempSync(join(tmpdir(), 'pullwarden-crash-'));
  const removeAll = () => {
    build.remove();
    if (!values.keep) rmSync(directory, { recursive: true, force: true });
  };
  try {
    const { runCrashTest } = await import(build.harness);
    const report = await runCrashTest({
      directory,
      store,
      storePath: join(directory, 'store'),
      seed,
      command: build.command,
      kills,
      limitMs: secondsMax * 1000,
      log: (line) => console.log(`${store}: ${line}`),
    });
    const { findings, failure } = report;
    const losses = findings.filter(({ kind }) => kind === 'loss').length;
    console.log(
      `${store}, seed ${seed}: ${report.kills} kills under load ` +
        `(${report.killsAtClose} of them while closing), ${report.killsAtOpen} more while opening, ` +
        `${report.cleanCloses} clean closes; ${report.acknowledged} acknowledged writes and ` +
        `${report.compared} keys checked, ${losses} losses, ` +
        `${findings.length} findings; ${seconds(report.durationMs)}`,
    );
    if (findings.length === 0 && failure === undefined) {
      removeAll();
      return 0;
    }
    if (findings.length > 0) console.log(`FAILED: ${describeFindings(findings)}`);
    if (failure !== undefined) console.log(`FAILED: ${failure}`);
    const again = `node scripts/crash-test.mjs --store '${store}' --seed ${seed} --kills ${kills}`;
    console.log(`again: ${again} (the moments of the kills differ)`);
    console.log(`store, plans, event logs and dumps of the last lives: ${directory}`);
    build.remove();
    return 1;
  } catch (error) {
    removeAll();
    throw error;
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  process.exitCode = await main().catch((error) => {
    console.error(`crash-test: ${error.stack}`);
    return 1;
  });
}
