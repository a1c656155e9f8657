import { join } from 'node:path';
import { TENANT_COUNT } from './baselines/measurements.ts';
import { inChild } from './support/child.ts';
import { type ProfiledThread, readProfiles } from './support/cpu-profile.ts';
import { decideAll, openEngine } from './support/engine.ts';
import { intentLoop, stormLoop } from './support/loops.ts';
import type { BenchContext, BenchTopic } from './support/topic.ts';
import { isStranger, Workload } from './support/workload.ts';

const RECORDS = 20_000;
const FUNCTIONS_SHOWN = 5;
const SAMPLING_US = 500;

export interface ProfileOrder {
  readonly directory: string;
  readonly operations: number;
  readonly callers: number;
}

/** In a child: the storm. */
export async function profiledStorm(order: ProfileOrder): Promise<void> {
  const workload = new Workload(RECORDS, TENANT_COUNT);
  await using manager = await openEngine(order.directory);
  await workload.load(manager);
  await stormLoop(manager, workload, { ...order, samples: 1 });
}

/** In a child: decisions in the calling thread. */
export async function profiledDecisions(order: ProfileOrder): Promise<void> {
  const workload = new Workload(RECORDS, TENANT_COUNT);
  await using manager = await openEngine(order.directory);
  await workload.load(manager);
  for (let round = 0; round < 2; round++) await decideAll(manager, workload);
  for (let index = 0; index < order.operations; index++) {
    const image = workload.pick(index);
    const mustPull = isStranger(index);
    const pod = workload.podOf(image, mustPull);
    const decision = manager.decideSync(image.image, image.imageRef, pod);
    if (decision?.mustPull !== mustPull) throw new Error(`wrong answer for ${image.image}`);
  }
}

/** In a child: durable intents. */
export async function profiledIntents(order: ProfileOrder): Promise<void> {
  await using manager = await openEngine(order.directory);
  await intentLoop(manager, { ...order, samples: 1 });
}

async function profile(
  context: BenchContext,
  title: string,
  task: (order: ProfileOrder) => Promise<void>,
  setup: Omit<ProfileOrder, 'directory'>,
  isOnlyHost = false,
): Promise<void> {
  const operations = context.scaled(setup.operations);
  await context.inDirectory(async (directory) => {
    const profiles = join(directory, 'profiles');
    await inChild(import.meta.url, task, { ...setup, operations, directory }, [
      '--cpu-prof',
      `--cpu-prof-dir=${profiles}`,
      `--cpu-prof-interval=${SAMPLING_US}`,
    ]);
    const threads = readProfiles(profiles);
    if (threads.length < 2) throw new Error(`${threads.length} threads were profiled`);
    const shown = profileTable(isOnlyHost ? threads.slice(0, 1) : threads);
    process.stdout.write(`${title}, ${operations} operations:\n\n${shown}\n\n`);
  });
}

function profileTable(threads: readonly ProfiledThread[]): string {
  const lines = ['| thread | function | where | own time |', '| --- | --- | --- | ---: |'];
  for (const { threadId, idleShare, functions } of threads) {
    const thread = threadId === 0 ? 'host' : `worker ${threadId}`;
    const shown = functions.slice(0, FUNCTIONS_SHOWN);
    for (const { name, file, selfShare } of shown) {
      lines.push(`| ${thread} | \`${name}\` | ${file} | ${percent(selfShare)} |`);
    }
    const rest = 1 - idleShare - shown.reduce((sum, { selfShare }) => sum + selfShare, 0);
    lines.push(`| ${thread} | all others | | ${percent(rest)} |`);
    lines.push(`| ${thread} | idle | | ${percent(idleShare)} |`);
  }
  return lines.join('\n');
}

function percent(share: number): string {
  return `${(100 * Math.max(0, share)).toFixed(1)} %`;
}

const topic: BenchTopic = {
  title:
    'where the time goes, by `node --cpu-prof`: the five functions with most time of their own',
  async run(context: BenchContext): Promise<void> {
    const storm = { callers: 64, operations: 5_000_000 };
    await profile(context, 'storm, 20000 records, 64 callers', profiledStorm, storm);
    const intents = { callers: 1024, operations: 2_000_000 };
    await profile(context, 'recordPullIntent, 1024 callers', profiledIntents, intents);
    const decisions = { callers: 1, operations: 30_000_000 };
    await profile(context, 'decideSync, 20000 records', profiledDecisions, decisions, true);
  },
};

export default topic;
