import {
  callersText,
  jsonFilesIntents,
  jsonFilesRepeatedIntents,
  rawDisk,
  repeatedIntentsText,
} from './baselines/measurements.ts';
import { type EngineOptions, loopOf, onEngine, subjectOf } from './support/engine.ts';
import { intentLoop, repeatedIntentLoop } from './support/loops.ts';
import type { BenchContext, BenchTopic, Comparison } from './support/topic.ts';

async function intents(
  context: BenchContext,
  setup: EngineOptions & { readonly callers: number; readonly operations: number },
  ...comparisons: readonly Comparison[]
): Promise<void> {
  const { callers, operations } = setup;
  const loop = loopOf(context, callers, operations);
  const result = await onEngine(context, setup, (manager) => intentLoop(manager, loop));
  const work = `recordPullIntent, ${callersText(callers)}`;
  context.add(work, subjectOf(setup), result, ...comparisons);
}

/** As many images as the list of official ones has. */
const KNOWN_IMAGES = 9_849;
const ROUNDS = 30;

async function repeatedIntents(
  context: BenchContext,
  callers: number,
  atLeast: number,
): Promise<void> {
  const files = await jsonFilesRepeatedIntents(context, callers);
  const rounds = { callers, images: context.scaled(KNOWN_IMAGES), rounds: context.scaled(ROUNDS) };
  const result = await onEngine(context, {}, (manager) => repeatedIntentLoop(manager, rounds));
  context.add(repeatedIntentsText(callers), subjectOf(), result, ['a', files, atLeast]);
}

const topic: BenchTopic = {
  title: 'durable notes that a pull begins, of images never heard of and of known ones',
  async run(context: BenchContext): Promise<void> {
    const disk = await rawDisk(context, { batch: 1 });
    const single = { callers: 1, operations: 5_000 };
    await intents(context, single, ['c', disk, 0.5]);
    await intents(context, { ...single, workerCount: 0 }, ['c', disk]);
    for (const { callers, operations, atLeast } of [
      { callers: 64, operations: 100_000, atLeast: 80 },
      { callers: 1024, operations: 300_000, atLeast: 300 },
    ]) {
      const files = await jsonFilesIntents(context, { flush: true, callers });
      const batch = await rawDisk(context, { batch: callers });
      await intents(context, { callers, operations }, ['a', files, atLeast], ['c', batch]);
      await repeatedIntents(context, callers, atLeast);
    }
  },
};

export default topic;
