import { describe, expect, it } from 'vitest';
import { readTrace } from '../../../src/trace/read-trace.ts';
import type { Bug } from '../concurrent-model.ts';
import { play, recordStorm } from './kit.ts';

describe('a replay of a recorded storm', () => {
  it.each([1, 2, 3, 4])('passes against an engine that is right: seed %i', async (seed) => {
    const trace = await readTrace(await recordStorm(seed));
    const { state, replayed } = await play(trace, { seed });
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    expect(state.counts).toMatchObject({ wrongDecisions: 0, wrongRecords: 0, errors: 0 });
    expect(replayed.started).toBe(trace.operations.length);
    expect(replayed.unplayable).toBe(0);
    const { decisions, exact, unverifiable, prunings } = state.counts;
    expect(prunings).toBe(4);
    expect(exact / decisions).toBeGreaterThan(0.75);
    expect(unverifiable).toBe(0);
  });

  const BUGS: Bug[] = [
    'stale',
    'intentFirst',
    'lostPull',
    'noCounter',
    'noLearning',
    'noCutOff',
    'pruneListed',
    'wrongTenant',
    'dropAccounts',
    'flicker',
  ];
  it.each(BUGS)('finds an engine that is wrong: %s', async (bug) => {
    const found: number[] = [];
    for (let seed = 1; seed <= 12 && found.length === 0; seed++) {
      const path = await recordStorm(seed, { storm: { operations: 6_000 } });
      const { state } = await play(path, { seed, bug });
      const { wrongDecisions, wrongRecords } = state.counts;
      if (wrongDecisions + wrongRecords > 0) found.push(seed);
    }
    expect(found.length).toBe(1);
  });
});
