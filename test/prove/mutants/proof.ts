/** Engines with one planted error each: the detectors must notice every one, and pass the real engine. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from '../common/child-process.ts';
import { inLanes } from '../common/lanes.ts';
import type { Proof, ProofFailure, ProofOptions, ProofReport } from '../proof.ts';
import { simulateInChild } from '../simulation/in-child.ts';
import { MUTANTS, mutantNamed } from './catalogue.ts';
import type { DurabilityOptions, DurabilityResult } from './durability.ts';
import { type DetectorName, type Mutant, mutate } from './mutant.ts';

/** Detectors at a time. */
const LANES = 2;
/** Share of the time that one mutant may go unnoticed, in time of the processors; most need a tenth of it. */
const BUDGET_SHARE = 0.8;
/** The same of the engine as it is, which uses all of it. */
const ENGINE_SHARE = 0.2;
const SECONDS = 90;
/** How much longer that may take on a busy machine. */
const PATIENCE = 20;
const NAME_WIDTH = 56;

export const proof: Proof = {
  name: 'mutants',
  what: 'planted errors in the engine are noticed',
  seconds: SECONDS,
  run,
};

/** The root of the compiled tree that this file is in; mutants are made inside it. */
const TREE = fileURLToPath(new URL('../../..', import.meta.url));

/** What a detector says of an engine; `notice` is undefined where it found nothing wrong. */
interface Finding {
  readonly notice: string | undefined;
  readonly durationMs: number;
}

async function run(options: ProofOptions): Promise<ProofReport> {
  const { rest, log } = options;
  const chosen = rest.length === 0 ? MUTANTS : rest.map(mutantNamed);
  // With less time some of them would not be met, which says nothing of the detectors.
  const seconds = Math.max(options.seconds, SECONDS);
  const failures: ProofFailure[] = [];
  const slowest = { name: '', durationMs: 0 };
  await inLanes(LANES, chosen, async (mutant, index) => {
    const copy = join(TREE, `mutant-${index}`);
    mutate(mutant, TREE, copy);
    try {
      const { notice, durationMs } = await detect(
        copy,
        mutant.detector,
        { ...options, seconds: seconds * BUDGET_SHARE },
        mutant,
      );
      if (durationMs > slowest.durationMs)
        Object.assign(slowest, { name: mutant.name, durationMs });
      const took = `${mutant.detector}, ${(durationMs / 1_000).toFixed(1)} s`;
      log(
        `${mutant.name.padEnd(NAME_WIDTH)} ${notice === undefined ? 'NOT noticed' : 'noticed'} by ${took}`,
      );
      if (notice === undefined) failures.push(missed(mutant, options));
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
  const missedCount = failures.length;
  const detectors: readonly DetectorName[] = ['simulation', 'durability'];
  await inLanes(LANES, detectors, async (detector) => {
    const { notice } = await detect(TREE, detector, {
      ...options,
      seconds: seconds * ENGINE_SHARE,
    });
    log(
      `${'the engine as it is'.padEnd(NAME_WIDTH)} ${notice === undefined ? 'passes' : 'FAILS'} ${detector}`,
    );
    if (notice === undefined) return;
    const what = `the ${detector} finds an error where none is planted`;
    failures.push({ what, detail: notice, replay: replayOf(options) });
  });
  const falseAlarms = failures.length - missedCount;
  const note = `slowest: ${slowest.name}, ${(slowest.durationMs / 1_000).toFixed(1)} s`;
  const rows = [
    {
      what: 'noticed',
      count: chosen.length - missedCount,
      unit: 'planted errors',
      failures: missedCount,
      note,
    },
    {
      what: 'passed by the engine as it is',
      count: detectors.length - falseAlarms,
      unit: 'detectors',
      failures: falseAlarms,
    },
  ];
  return { rows, failures };
}

async function detect(
  tree: string,
  detector: DetectorName,
  { seed, seconds, directory }: ProofOptions,
  { focus = {} }: Partial<Pick<Mutant, 'focus'>> = {},
): Promise<Finding> {
  const startedMs = performance.now();
  let notice: string | undefined;
  if (detector === 'simulation') {
    const shared = { seed, directory, focus, shrinks: false };
    const options = { ...shared, seconds: seconds * PATIENCE, cpuSeconds: seconds };
    const result = await simulateInChild(tree, options);
    if ('broken' in result) notice = result.broken;
    else if (result.failure !== undefined)
      notice = `${result.failure.what}\n${result.failure.detail}`;
  } else {
    const options: DurabilityOptions = { seed, seconds, directory };
    const file = { tree, file: 'test/prove/mutants/durability' };
    const result = await runChild<DurabilityResult>(file, options);
    notice = 'broken' in result ? result.broken : result.failure;
  }
  return { notice, durationMs: performance.now() - startedMs };
}

function missed(
  { name, detector, file, find, replace }: Mutant,
  options: ProofOptions,
): ProofFailure {
  const detail = `the ${detector} passes an engine in which, in src/${file},\n${find}\nis\n${replace}`;
  return { what: `not noticed: ${name}`, detail, replay: `${replayOf(options)} -- "${name}"` };
}

function replayOf({ seed }: ProofOptions): string {
  return `npm run prove -- mutants --seed ${seed}`;
}
