/**
 * Shows that `pullwarden compare` finds a slowdown and does not cry wolf: compares this build with a
 * copy of itself, and with a copy that is slowed down on purpose, as often as wanted.
 *
 *   node scripts/compare-check.mjs [--short] [--identical 20] [--slowed 10] [--turns N]
 *     [--slowdown 0.2 | --steps N] [--ops N] [--keep DIRECTORY]
 *
 * The slowed copy does useless work in every decision, as much as raises the processor time of an
 * operation by the share wanted; how much that is, is measured first. The builds run in turns, each
 * run in a process of its own, and the results go through the real command line.
 *
 * Fails where fewer than nine in ten slowed builds are found, or more than one in twenty identical
 * ones is called slower. `--short` is one round of each with a doubled slowdown, for CI.
 */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './build.mjs';

const TIMEOUT_MS = 120_000;
const CROSSED = 99;
const FOUND_SHARE_MIN = 0.9;
const ALARM_SHARE_MAX = 0.05;
const CALIBRATION_TURNS = 5;
const CALIBRATIONS_MAX = 6;
const CORRECTION_MAX = 3;
/** How far the slowdown may be from the one wanted, as a share of it. */
const SLOWDOWN_TOLERANCE = 0.1;
/** Useless steps in a decision to begin with. */
const CALIBRATION_STEPS = 5_000;
/** Where the useless work goes: the way of every decision that needs no trip to a worker. */
const PLANTED_FILE = 'dist/src/engine/decider.js';
const PLANTED_AFTER = 'decideSync(image, imageRef, credentials) {';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    identical: { type: 'string' },
    slowed: { type: 'string' },
    turns: { type: 'string' },
    slowdown: { type: 'string' },
    ops: { type: 'string', default: '300000' },
    steps: { type: 'string' },
    keep: { type: 'string' },
  },
});
const wanted = values.short
  ? { identical: 1, slowed: 1, turns: 6, slowdown: 0.4 }
  : { identical: 20, slowed: 10, turns: 10, slowdown: 0.2 };
for (const name of Object.keys(wanted)) {
  if (values[name] !== undefined) wanted[name] = Number(values[name]);
  if (!(wanted[name] >= 0)) throw new Error(`--${name} must be a number of at least 0`);
}

/** What is measured: decisions and a few pulls, in one thread and in memory, unchecked. */
const STORM =
  `storm mixed --concurrency 64 --ops ${values.ops} --seed 1 --store memory --workers 0 --no-verify --json`.split(
    ' ',
  );

// Below the root, so that the copies find the dependencies.
mkdirSync(join(ROOT, 'build'), { recursive: true });
const home = mkdtempSync(join(ROOT, 'build', 'compare-check-'));

function copyOfBuild(name) {
  const directory = join(home, name);
  for (const part of ['dist', 'data', 'package.json']) {
    cpSync(join(ROOT, part), join(directory, part), { recursive: true });
  }
  return directory;
}

function plant(build, steps) {
  const path = join(build, PLANTED_FILE);
  const text = readFileSync(join(ROOT, PLANTED_FILE), 'utf8');
  const parts = text.split(PLANTED_AFTER);
  if (parts.length !== 2) throw new Error(`${PLANTED_FILE} has not one "${PLANTED_AFTER}"`);
  const work = `let planted = 1; for (let i = 0; i < ${steps}; i++) planted = Math.imul(planted, 31) + i;`;
  // The result is used, or the work would be optimised away.
  const use = 'globalThis.planted = planted;';
  writeFileSync(path, parts.join(`${PLANTED_AFTER} ${work} ${use}`));
}

function run(build, args, codes) {
  const main = join(build, 'dist', 'src', 'cli', 'main.js');
  const child = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (child.error !== undefined || !codes.includes(child.status)) {
    const problem = child.error?.message ?? `exit ${child.signal ?? child.status}`;
    throw new Error(`${args.join(' ')}: ${problem}\n${child.stdout}${child.stderr}`);
  }
  return child;
}

function storm(build) {
  return run(build, STORM, [0]).stdout;
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  return (
    (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2
  );
}

/** By which factor an operation of B takes more processor time; pairs see the same machine. */
function factorOf(a, b) {
  const costOf = (build) => JSON.parse(storm(build)).runs[0].cpuPerOperation;
  return median(Array.from({ length: CALIBRATION_TURNS }, () => costOf(b) / costOf(a)));
}

/** Plants as much useless work as gives the slowdown wanted; answers what it gives. */
function calibrate(plain, slowed) {
  let steps = CALIBRATION_STEPS;
  for (let attempt = 1; ; attempt++) {
    plant(slowed, steps);
    const slowdown = factorOf(plain, slowed) - 1;
    console.log(
      `${steps} useless steps in a decision: an operation takes ${percent(slowdown)} more`,
    );
    const isNear = Math.abs(slowdown - wanted.slowdown) <= wanted.slowdown * SLOWDOWN_TOLERANCE;
    if (isNear || attempt === CALIBRATIONS_MAX) return;
    if (!(slowdown > 0)) throw new Error('the cost of useless work cannot be measured here');
    // A single measurement may be far off: no step is trusted with more than this.
    const factor = Math.min(
      CORRECTION_MAX,
      Math.max(1 / CORRECTION_MAX, wanted.slowdown / slowdown),
    );
    steps = Math.max(1, Math.round(steps * factor));
  }
}

function percent(share) {
  return share === undefined ? '?' : `${(share * 100).toFixed(1)} %`;
}

/** Measures two builds in turns and compares them; whether B was called slower. */
function round(name, a, b) {
  const files = ['a', 'b'].map((side) => join(home, `${name}-${side}.jsonl`));
  for (let turn = 0; turn < wanted.turns; turn++) {
    // Neither side is always the first: what comes first may warm up what both use.
    const order = turn % 2 === 0 ? [0, 1] : [1, 0];
    for (const side of order) appendFileSync(files[side], storm(side === 0 ? a : b));
  }
  const compared = run(a, ['compare', ...files, '--max-regression', '10%', '--json'], [0, CROSSED]);
  const { metrics } = JSON.parse(compared.stdout);
  const [{ change, band, verdict, metric }] = metrics;
  const isSlower = compared.status === CROSSED;
  console.log(
    `${name.padEnd(13)} ${metric} ${percent(change)} (${percent(band?.low)} to ${percent(band?.high)}) ${verdict}`,
  );
  return isSlower;
}

let isRight = true;
try {
  const plain = copyOfBuild('plain');
  const same = copyOfBuild('same');
  const slowed = copyOfBuild('slowed');
  if (values.steps === undefined) calibrate(plain, slowed);
  else plant(slowed, Number(values.steps));
  const count = (kind, times, b) =>
    Array.from({ length: times }, (_, i) => round(`${kind}-${i + 1}`, plain, b)).filter(Boolean)
      .length;
  const alarms = count('identical', wanted.identical, same);
  const found = count('slowed', wanted.slowed, slowed);
  isRight =
    alarms <= wanted.identical * ALARM_SHARE_MAX && found >= wanted.slowed * FOUND_SHARE_MIN;
  console.log(
    `${wanted.turns} runs a side: ${found} of ${wanted.slowed} slowed builds found, ` +
      `${alarms} of ${wanted.identical} identical builds called slower: ${isRight ? 'passed' : 'FAILED'}`,
  );
} finally {
  if (values.keep !== undefined) cpSync(home, values.keep, { recursive: true });
  rmSync(home, { recursive: true, force: true });
}
process.exitCode = isRight ? 0 : 1;
