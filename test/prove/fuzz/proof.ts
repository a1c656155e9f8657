/** Hostile input: everything that reads what others send is fed what nobody should send. */
import { mkdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { hashNumbers } from '../../../src/util/random.ts';
import { inLanes } from '../common/lanes.ts';
import type { Proof, ProofOptions, ProofReport, ProofRow } from '../proof.ts';
import { parseFuzzArguments } from './arguments.ts';
import { childRow } from './cli-children.ts';
import { type GuardOptions, guardedJob } from './guarded-job.ts';
import type { Job, Work } from './job.ts';
import { failureOf, rowOf } from './report.ts';
import { targets } from './targets/index.ts';

/** Threads at a time. */
const LANES = 2;
/** Share of the time in which the worst cases are measured, and processes started, as far as known. */
const OTHER_SHARE = 0.55;
const SHORTEST_SECONDS = 0.5;
const GUARD: GuardOptions = {
  entry: new URL(`./worker${extname(import.meta.url)}`, import.meta.url),
  hangMs: 30_000,
  heapMiB: 512,
};

export const proof: Proof = {
  name: 'fuzz',
  what: 'hostile input: no crash, no hang, no pollution, no more than linear time, bounded memory',
  seconds: 40,
  run,
};

async function run(options: ProofOptions): Promise<ProofReport> {
  const { seed, rest, directory, log } = options;
  const wanted = parseFuzzArguments(
    rest,
    targets.map(({ name }) => name),
  );
  const chosen = targets.filter(
    ({ name }) => wanted.targets.length === 0 || wanted.targets.includes(name),
  );
  const jobs: Job[] = [];
  const add = (target: string, work: Work): void => {
    const own = join(directory, String(jobs.length));
    mkdirSync(own);
    jobs.push({
      module: new URL(`./targets/index${extname(import.meta.url)}`, import.meta.url).href,
      target,
      work,
      directory: own,
    });
  };
  if (wanted.input !== undefined) add(chosen[0]!.name, { kind: 'one', input: wanted.input });
  else {
    const share = (options.seconds * LANES * (1 - OTHER_SHARE)) / chosen.length;
    const seconds = Math.max(SHORTEST_SECONDS, share);
    for (const [i, { name, worstCases }] of chosen.entries()) {
      if (worstCases.length > 0) add(name, { kind: 'growth' });
      add(name, { kind: 'fuzz', seed: hashNumbers(seed, i), seconds });
    }
  }
  const results = await inLanes(LANES, jobs, async (job) => {
    const result = await guardedJob(job, GUARD);
    const { fedCount, found } = result;
    const failed = found.length === 0 ? '' : `, ${found.length} FAILED`;
    log(`${job.target}: ${job.work.kind}, ${fedCount} inputs${failed}`);
    return result;
  });
  const rows: ProofRow[] = chosen.map((target) =>
    rowOf(
      target,
      results.filter((result) => result.target === target.name),
    ),
  );
  const failures = results
    .flatMap(({ target, found }) => found.map((one) => ({ target, one })))
    .map(({ target, one }, i) => failureOf(target, seed, directory, one, i));
  if (wanted.targets.length === 0) {
    const children = await childRow(seed, options.seconds, directory);
    rows.push(children.row);
    failures.push(...children.failures);
  }
  return { rows, failures };
}
