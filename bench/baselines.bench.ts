import {
  jsonFilesCycles,
  jsonFilesDecisions,
  jsonFilesIntents,
  jsonFilesPrune,
  jsonFilesStorm,
  piscinaDecisions,
  piscinaIntents,
  piscinaStorm,
  rawDisk,
} from './baselines/measurements.ts';
import type { BenchContext, BenchTopic } from './support/topic.ts';

const CALLERS = [1, 64, 1024];

const topic: BenchTopic = {
  title: 'the baselines alone',
  async run(context: BenchContext): Promise<void> {
    for (const batch of CALLERS) await rawDisk(context, { batch });
    for (const flush of [true, false]) {
      for (const callers of CALLERS) await jsonFilesIntents(context, { flush, callers });
    }
    for (const callers of CALLERS) await piscinaIntents(context, callers);
    for (const flush of [true, false]) {
      for (const callers of CALLERS) await jsonFilesCycles(context, { flush, callers });
    }
    for (const records of [2_000, 20_000]) {
      for (const callers of CALLERS) await jsonFilesDecisions(context, { records, callers });
      for (const callers of CALLERS) await piscinaDecisions(context, { records, callers });
    }
    for (const callers of CALLERS) {
      const options = { records: 20_000, callers };
      await jsonFilesStorm(context, { ...options, flush: true });
      await jsonFilesStorm(context, { ...options, flush: false });
      await piscinaStorm(context, options);
    }
    await jsonFilesPrune(context);
  },
};

export default topic;
