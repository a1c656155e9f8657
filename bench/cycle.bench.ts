import { callersText, jsonFilesCycles } from './baselines/measurements.ts';
import { loopOf, onEngine, subjectOf } from './support/engine.ts';
import { cycleLoop } from './support/loops.ts';
import type { BenchContext, BenchTopic } from './support/topic.ts';

const RECORDS = 20_000;

const topic: BenchTopic = {
  title: 'durable pulls, intent and outcome, each with a new content of a secret',
  async run(context: BenchContext): Promise<void> {
    for (const { callers, operations, atLeast } of [
      { callers: 1, operations: 2_000, atLeast: undefined },
      { callers: 64, operations: 60_000, atLeast: 60 },
      { callers: 1024, operations: 150_000, atLeast: 150 },
    ]) {
      const files = await jsonFilesCycles(context, { flush: true, callers, records: RECORDS });
      const loop = loopOf(context, callers, operations);
      const result = await onEngine(context, { records: RECORDS }, (manager, workload) =>
        cycleLoop(manager, workload, loop),
      );
      const work = `intent + pulled, ${RECORDS} records, ${callersText(callers)}`;
      context.add(work, subjectOf(), result, atLeast ? ['a', files, atLeast] : ['a', files]);
    }
  },
};

export default topic;
