/**
 * Kills an agent at every step of making sure of an image, and the real containerd under it, again
 * and again, and checks that nobody is let in or kept out wrongly afterwards. Needs root and what
 * scripts/install-components.sh installs.
 *
 *   node scripts/agent-crash-test.mjs [--kills 200] [--runtime-kills 20] [--seed N]
 *
 * Exits 0 where nothing was found, else 1, with what was found and the plan of that life.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { compileAside } from './compile-project.mjs';

async function main() {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '200' },
      'runtime-kills': { type: 'string', default: '20' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    },
  });
  const [kills, runtimeKills, seed] = [values.kills, values['runtime-kills'], values.seed].map(
    Number,
  );
  if (!(kills >= 1) || !(runtimeKills >= 0) || !Number.isInteger(seed)) {
    throw new Error('--kills, --runtime-kills and --seed must be numbers');
  }
  const { out, remove } = compileAside('test/real/tsconfig.crash.json');
  const modules = join(out, 'test', 'real');
  const load = (path) => import(pathToFileURL(join(modules, path)).href);
  const startedMs = performance.now();
  let components;
  try {
    const { Components } = await load('kit/components.js');
    const { runAgentCrashes } = await load('crash/agent-crashes.js');
    components = await new Components().start();
    const report = await runAgentCrashes({
      components,
      command: [process.execPath, join(modules, 'crash', 'agent-life.js')],
      seed,
      kills,
      runtimeKills,
      log: (line) => console.log(line),
    });
    const steps = Object.entries(report.killsByStep).map(([step, count]) => `${step} ${count}`);
    console.log(
      `seed ${seed}: ${report.killsAtSteps + report.killsAtAnyMoment} kills of the agent ` +
        `(${report.killsAtSteps} at ${steps.length} steps), ${report.runtimeKills} of the runtime ` +
        `(${report.runtimeKillsInTheGap} with the image visible, ${report.unanswered} pulls left ` +
        `unanswered); ${report.checks} checks and ${report.proofs} proofs, ` +
        `${report.violations.length} violations; ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`,
    );
    console.log(`by step: ${steps.join(', ')}`);
    for (const violation of report.violations) console.log(`FAILED: ${violation}`);
    return report.violations.length === 0 ? 0 : 1;
  } finally {
    await components?.[Symbol.asyncDispose]();
    remove();
  }
}

process.exitCode = await main().catch((error) => {
  console.error(`agent-crash-test: ${error.stack}`);
  return 1;
});
