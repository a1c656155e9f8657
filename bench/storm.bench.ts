import { defaultWorkerCount } from '../src/options.ts';
import { callersText, piscinaStorm } from './baselines/measurements.ts';
import { type LoopResult, merged } from './support/closed-loop.ts';
import { loopOf, onEngine, subjectOf } from './support/engine.ts';
import { stormLoop } from './support/loops.ts';
import type { BenchContext, BenchRow, BenchTopic } from './support/topic.ts';

const RECORDS = 20_000;
/** The default has to be the fastest, or nearly: measurements of the same differ by as much. */
const DEFAULT_AT_LEAST = 0.9;

interface StormSetup {
  readonly records: number;
  readonly callers: number;
  readonly operations: number;
  readonly atLeast: number;
}

function workOf(records: number, callers: number): string {
  return `storm, ${records} records, ${callersText(callers)}`;
}

async function storm(context: BenchContext, setup: StormSetup): Promise<void> {
  const { callers, operations, atLeast } = setup;
  const records = setup.records === RECORDS ? RECORDS : context.scaled(setup.records);
  const piscina = await piscinaStorm(context, { records, callers });
  const loop = loopOf(context, callers, operations);
  const result = await onEngine(context, { records }, (manager, workload) =>
    stormLoop(manager, workload, loop),
  );
  context.add(workOf(records, callers), subjectOf(), result, ['b', piscina, atLeast]);
}

/** The same storm with other numbers of workers, taking turns so that they share the weather. */
async function workerCounts(context: BenchContext, callers: number): Promise<void> {
  const workerDefault = defaultWorkerCount();
  const others = [0, 1, 2].filter((count) => count !== workerDefault);
  const results = new Map<number, LoopResult[]>([...others, workerDefault].map((n) => [n, []]));
  const loop = { ...loopOf(context, callers, 300_000), samples: 1 };
  for (let round = 0; round < context.samples; round++) {
    for (const [workerCount, rounds] of results) {
      rounds.push(
        await onEngine(context, { records: RECORDS, workerCount }, (manager, workload) =>
          stormLoop(manager, workload, loop),
        ),
      );
    }
  }
  const work = `${workOf(RECORDS, callers)}, in turns`;
  const rows: BenchRow[] = [];
  for (const workerCount of others) {
    rows.push(context.add(work, subjectOf({ workerCount }), merged(results.get(workerCount)!)));
  }
  const best = rows.reduce((a, b) => (b.value > a.value ? b : a));
  const subject = `${subjectOf()} (the default)`;
  const measured = merged(results.get(workerDefault)!);
  context.add(work, subject, measured, ['other', best, DEFAULT_AT_LEAST]);
}

const topic: BenchTopic = {
  title: 'pull storms, 90 % decisions, 500 tenants, durable; (b) is not durable',
  async run(context: BenchContext): Promise<void> {
    await storm(context, { records: RECORDS, callers: 64, operations: 1_000_000, atLeast: 8 });
    await storm(context, { records: RECORDS, callers: 1024, operations: 1_000_000, atLeast: 13 });
    await storm(context, { records: 200_000, callers: 64, operations: 1_000_000, atLeast: 4 });
    await storm(context, { records: 200_000, callers: 1024, operations: 1_000_000, atLeast: 6.5 });
    await workerCounts(context, 64);
  },
};

export default topic;
