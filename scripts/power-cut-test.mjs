/**
 * Cuts the power of a store under storm load and checks what it holds afterwards: shows that what
 * was acknowledged was flushed. Needs Linux and root; says `skipped: why` elsewhere and exits 0.
 *
 *   node scripts/power-cut-test.mjs [--cuts 8] [--stores journal,lmdb,kubelet] [--seed N]
 *                                   [--seconds-max 120] [--keep]
 *
 * First comes a control: a store that never flushes must lose something, or this proves nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ROOT } from './build.mjs';
import { compileHarness, describeFindings, seconds } from './crash-test.mjs';

const CONTROL = `module:${join(ROOT, 'test', 'fixtures', 'stress', 'log-store.mjs')}?neverFlushes`;
const CONTROL_CUTS = 5;

async function main() {
  const { values } = parseArgs({
    options: {
      cuts: { type: 'string', default: '8' },
      stores: { type: 'string', default: 'journal,lmdb,kubelet' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      'seconds-max': { type: 'string', default: '120' },
      keep: { type: 'boolean', default: false },
    },
  });
  const [cuts, seed, secondsMax] = [values.cuts, values.seed, values['seconds-max']].map(Number);
  if (!(cuts >= 1) || !Number.isInteger(seed) || !(secondsMax > 0)) {
    throw new Error('--cuts, --seed and --seconds-max must be numbers');
  }
  const build = compileHarness();
  const directory = mkdtempSync(join(tmpdir(), 'pullwarden-power-'));
  let failures = 0;
  try {
    const { powerCutProblem, runPowerCuts } = await import(build.power);
    const problem = powerCutProblem(directory);
    if (problem !== undefined) {
      console.log(`skipped: ${problem}`);
      return 0;
    }
    const cutPower = (store, name, wanted) =>
      runPowerCuts({
        directory: join(directory, name),
        store,
        seed,
        command: build.command,
        cuts: wanted,
        limitMs: secondsMax * 1000,
      });
    const control = await cutPower(CONTROL, 'control', CONTROL_CUTS);
    if (control.findings.length === 0) {
      if (control.failure !== undefined) throw new Error(`control: ${control.failure}`);
      console.log('skipped: here, data that are not flushed survive the cut');
      return 0;
    }
    console.log(`control: a store that never flushes lost data after ${control.cuts} cuts`);
    for (const store of values.stores.split(',')) {
      const report = await cutPower(store, store, cuts);
      const { findings, failure } = report;
      const losses = findings.filter(({ kind }) => kind === 'loss').length;
      console.log(
        `${store}, seed ${seed}: ${report.cuts} power cuts under load, ` +
          `${report.cutsAtOpen} more while opening; ${report.acknowledged} acknowledged writes and ` +
          `${report.compared} keys checked, ${losses} losses, ${findings.length} findings; ` +
          seconds(report.durationMs),
      );
      if (findings.length === 0 && failure === undefined) continue;
      failures++;
      if (findings.length > 0) console.log(`FAILED: ${describeFindings(findings)}`);
      if (failure !== undefined) console.log(`FAILED: ${failure}`);
      console.log(
        `again: node scripts/power-cut-test.mjs --stores '${store}' --seed ${seed} --cuts ${cuts}`,
      );
      console.log(`plans, event logs and dumps of the last lives: ${join(directory, store)}`);
    }
    return failures > 0 ? 1 : 0;
  } finally {
    build.remove();
    if (failures === 0 && !values.keep) rmSync(directory, { recursive: true, force: true });
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  process.exitCode = await main().catch((error) => {
    console.error(`power-cut-test: ${error.stack}`);
    return 1;
  });
}
