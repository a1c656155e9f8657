import { describe, expect, it } from 'vitest';
import type { PolicyName } from '../../src/policies/enforcer.ts';
import { SCENARIO_NAMES } from '../../src/storm/built-in.ts';
import type { StormRun } from '../../src/storm/course.ts';
import { parseImageList } from '../../src/storm/image-list.ts';
import type { StormParameters } from '../../src/storm/parameters.ts';
import { runStorm } from '../../src/storm/run.ts';
import { builtInScenario } from '../../src/storm/scenarios.ts';
import { type Bug, ConcurrentModel, type ConcurrentModelOptions } from './concurrent-model.ts';

const IMAGES = parseImageList(
  Array.from({ length: 12 }, (_, i) => `docker.io/library/app-${i}\t1 1.0 2 2.0 latest`).join('\n'),
  'test',
);

const SEEDS_MAX = 12;

async function storm(
  scenario: string,
  options: {
    seed: number;
    bug?: Bug;
    isDurable?: boolean;
    signal?: AbortSignal;
    /** Told of every image that is asked about in the plainest way, in order. */
    onAsk?: (image: string) => void;
    writesMax?: number;
    /** Told of each opening of an engine, from 1; it may throw. */
    onOpen?: (opening: number) => void;
  } & Partial<StormParameters>,
): Promise<StormRun> {
  const { seed, bug, isDurable = true, signal, onAsk, onOpen, writesMax, ...own } = options;
  const parameters = {
    ...builtInScenario(scenario).parameters,
    rate: undefined,
    concurrency: 64,
    stages: [],
    duration: undefined,
    operations: 6_000,
    tenants: 40,
    records: undefined,
    rotateEvery: 30 * 64,
    rolloutEvery: 40 * 64,
    ...own,
    seed,
  };
  let disk: ConcurrentModelOptions['disk'] = { model: undefined };
  const engines: ConcurrentModel[] = [];
  const run = await runStorm({
    scenario,
    parameters,
    images: IMAGES,
    isDurable,
    signal,
    open: async (images, policy) => {
      if (!isDurable) disk = { model: undefined };
      onOpen?.(engines.length + 1);
      engines.push(new ConcurrentModel({ seed, policy, bug, disk, images, onAsk, writesMax }));
      return engines.at(-1)!;
    },
    killWorker: () => engines.at(-1)!.kill(),
  });
  run.close();
  expect(engines.every(({ isClosed }) => isClosed)).toBe(true);
  return run;
}

describe('an engine that is right passes', () => {
  it.each(SCENARIO_NAMES.flatMap((name) => [1, 2, 3].map((seed) => ({ name, seed }))))(
    '$name with seed $seed',
    async ({ name, seed }) => {
      const { prunings, restarts } = builtInScenario(name).parameters;
      const { state } = await storm(name, {
        seed,
        prunings: Math.min(8, prunings),
        restarts: Math.min(3, restarts),
        prunedShare: 0.3,
      });
      expect(state.wrong).toEqual([]);
      expect(state.problems).toEqual([]);
      expect(state.counts).toMatchObject({ wrongDecisions: 0, wrongRecords: 0, errors: 0 });
      const { decisions, exact, unverifiable, restarts: done } = state.counts;
      expect(done).toBe(Math.min(3, restarts));
      // Calls of this engine take very long, so more of them overlap than of any other.
      expect(exact / decisions).toBeGreaterThan(0.75);
      expect(unverifiable / decisions).toBeLessThan(0.05);
    },
  );

  it.each<PolicyName>(['AlwaysVerify', 'NeverVerify', 'NeverVerifyAllowlistedImages'])(
    'under %s',
    async (policy) => {
      const { state } = await storm('mixed', { seed: 4, policy });
      expect(state.wrong).toEqual([]);
      expect(state.counts.wrongRecords).toBe(0);
    },
  );

  it.each([1, 2, 3])('with workers that are killed, seed %i', async (seed) => {
    const { state } = await storm('mixed', {
      seed,
      decisionShare: 0.6,
      workerKills: 4,
      restarts: 0,
      prunings: 0,
    });
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    const { counts } = state;
    expect(counts.errors).toBe(0);
    expect(counts.workersKilled).toBeGreaterThan(1);
    expect(counts.expectedErrors).toBeGreaterThan(0);
    // Many decisions meet a worker that is missing; those that were answered can be judged.
    const { exact, either, unverifiable } = counts;
    expect(exact / (exact + either + unverifiable)).toBeGreaterThan(0.6);
    expect(unverifiable).toBe(0);
    const kills = state.events.filter(({ kind }) => kind === 'killWorker');
    expect(kills).toHaveLength(counts.workersKilled);
    for (const { detail } of kills) expect(detail).toBe('thread 1');
  });

  it.each([1, 2, 3])('when requests arrive at a rate, in stages, seed %i', async (seed) => {
    const { state, timeline, stages } = await storm('mixed', {
      seed,
      rate: 4_000,
      concurrency: 128,
      arrivals: seed === 3 ? 'poisson' : 'even',
      operations: undefined,
      stages: [
        { name: 'a', duration: 200, rate: { from: 0, to: 4_000 } },
        { name: 'b', duration: 300, mix: { decideBatch: 1, withPull: 2, pull: 2 } },
        { name: 'c', duration: 200, rolloutShare: 0.9, decisionShare: 0.5 },
      ],
      events: [{ at: { share: 0.9 }, do: 'killWorker' }],
      prunings: 4,
      restarts: 1,
    });
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    const { counts, load } = state;
    expect(counts.errors).toBe(0);
    // How much of it there is time for depends on the machine.
    expect(counts.restarts + counts.prunings + counts.workersKilled).toBeGreaterThan(0);
    expect(stages.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(timeline.stages).toHaveLength(3);
    const scheduled = timeline.stages.reduce((sum, stage) => sum + stage.scheduled, 0);
    const started = timeline.stages.reduce((sum, stage) => sum + stage.started, 0);
    expect(started).toBe(load?.startedCount);
    expect(scheduled - started).toBe(timeline.stages[2]!.unstarted);
    const inRows = timeline.intervals.reduce((sum, row) => sum + row.operations, 0);
    expect(inRows).toBe(counts.operations);
  });

  // So slow a load leaves nobody at work when the node goes down, so that nobody notices.
  it.each([1, 2, 3, 4, 5, 6])('when the node restarts under a slow load, seed %i', async (seed) => {
    const { state } = await storm('node-restart', {
      seed,
      rate: 150,
      concurrency: 32,
      operations: undefined,
      duration: 1_500,
      restarts: 3,
      decisionShare: 0.2,
    });
    expect(state.problems).toEqual([]);
    expect(state.wrong).toEqual([]);
    expect(state.counts).toMatchObject({ restarts: 3, errors: 0 });
  });

  it('when callers become more and fewer', async () => {
    const { state, timeline } = await storm('mixed', {
      seed: 1,
      operations: undefined,
      concurrency: 8,
      stages: [
        { duration: 150, concurrency: { from: 1, to: 32 } },
        { duration: 150, concurrency: { from: 32, to: 2 } },
        { duration: 100 },
      ],
    });
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    expect(state.activeCallers).toBe(8);
    expect(state.counts).toMatchObject({ errors: 0, restarts: 1 });
    for (const { operations } of timeline.stages) expect(operations).toBeGreaterThan(0);
  });

  it('with records that many tenants have opened', async () => {
    const { state } = await storm('mixed', { seed: 8, tenantsPerRecord: 30 });
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    const sizes = state.ledger.records.flatMap(({ names }) =>
      names.map(({ secrets }) => secrets.size),
    );
    expect(Math.max(...sizes)).toBeGreaterThan(20);
  });

  it('with images that are made up because the list is too short', async () => {
    const { state } = await storm('mixed', {
      seed: 7,
      records: 300,
      policy: 'NeverVerifyAllowlistedImages',
    });
    expect(state.universe.images.length).toBeGreaterThan(300);
    expect(state.wrong).toEqual([]);
    expect(state.counts.wrongRecords).toBe(0);
  });

  it('with a store that forgets at each restart', async () => {
    const { state } = await storm('node-restart', { seed: 5, restarts: 3, isDurable: false });
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    expect(state.counts.restarts).toBe(3);
  });

  it('and with one caller nearly every decision has one right answer', async () => {
    const { state } = await storm('credential-rotation', {
      seed: 6,
      concurrency: 1,
      rotateEvery: 30,
    });
    const { decisions, either, unverifiable, wrongDecisions } = state.counts;
    expect({ unverifiable, wrongDecisions }).toEqual({ unverifiable: 0, wrongDecisions: 0 });
    // Only the decisions of one batch overlap.
    expect(either / decisions).toBeLessThan(0.005);
  });
});

/** The same operations, but arriving at a rate. */
const OPEN = { rate: 100_000, concurrency: 64 };

describe('an engine that is wrong is found out', () => {
  const cases: [bug: Bug, scenario: string, own?: Partial<StormParameters>][] = [
    ['stale', 'mixed'],
    ['intentFirst', 'gc', { prunings: 40, prunedShare: 0.6, decisionShare: 0.6, records: 0 }],
    ['lostPull', 'mixed'],
    ['noCounter', 'rollout', { decisionShare: 0.7, rolloutShare: 0.8, records: 0 }],
    ['noLearning', 'credential-rotation'],
    ['noCutOff', 'gc'],
    ['pruneListed', 'gc'],
    ['wrongTenant', 'mixed'],
    ['dropAccounts', 'mixed', { tenants: 400, decisionShare: 0.3 }],
    ['lostIntents', 'node-restart'],
    ['keptCounters', 'node-restart'],
    ['forgetfulKill', 'mixed', { workerKills: 3, restarts: 0, prunings: 0 }],
    ['openKill', 'mixed', { workerKills: 8, restarts: 0, prunings: 0 }],
    ['stale', 'mixed', { ...OPEN }],
    ['lostPull', 'mixed', { ...OPEN }],
    ['lostIntents', 'node-restart', { ...OPEN }],
  ];
  it.each(cases)('%s', async (bug, scenario, own) => {
    const { prunings, restarts } = builtInScenario(scenario).parameters;
    // Some faults need a rare interleaving.
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      const { state } = await storm(scenario, {
        bug,
        operations: 12_000,
        prunings: Math.min(8, prunings),
        restarts: Math.min(3, restarts),
        prunedShare: 0.3,
        ...own,
        seed,
      });
      const { wrongDecisions, wrongRecords } = state.counts;
      expect(state.wrong.length + state.problems.length > 0).toBe(
        wrongDecisions + wrongRecords > 0,
      );
      if (wrongDecisions + wrongRecords > 0) return;
    }
    expect.fail('never found');
  });
});

it('the same seed gives each caller the same operations', async () => {
  const asked = async (): Promise<string[]> => {
    const run = await storm('mixed', {
      seed: 9,
      concurrency: 1,
      operations: 500,
      restarts: 0,
      prunings: 0,
    });
    const { records, intents } = run.state.engine.stats();
    return [`${run.state.counts.decisions} ${run.state.counts.exact} ${records} ${intents}`];
  };
  expect(await asked()).toEqual(await asked());
});

it('the same seed gives an open load the same requests, whoever makes them', async () => {
  const asked = async (concurrency: number): Promise<string[]> => {
    const images: string[] = [];
    const onAsk = (image: string): void => {
      images.push(image);
    };
    const rate = 20_000;
    await storm('mixed', { seed: 9, rate, concurrency, operations: 2_000, restarts: 0, onAsk });
    return images.slice(0, 500);
  };
  const first = await asked(16);
  expect(first).toHaveLength(500);
  expect(await asked(200)).toEqual(first);
});

it('measures without checking where that is wanted', async () => {
  const { state } = await storm('mixed', {
    seed: 1,
    verify: false,
    bug: 'lostPull',
    workerKills: 1,
  });
  const { decisions, exact, either, unverifiable, wrongDecisions, wrongRecords } = state.counts;
  expect(decisions).toBeGreaterThan(3_000);
  expect({ exact, either, unverifiable, wrongDecisions, wrongRecords }).toEqual({
    exact: 0,
    either: 0,
    unverifiable: 0,
    wrongDecisions: 0,
    wrongRecords: 0,
  });
});

describe('a storm that is interrupted', () => {
  it('ends, and is checked all the same', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const run = await storm('mixed', { seed: 1, operations: 1e9, signal: controller.signal });
    expect(run.wasInterrupted).toBe(true);
    expect(run.state.counts).toMatchObject({ wrongDecisions: 0, wrongRecords: 0 });
  });

  it.each([
    { name: 'before it begins', opening: 0 },
    { name: 'while it fills the store', opening: 1 },
    { name: 'when it opens the store again', opening: 2 },
    { name: 'while it restarts', opening: 3 },
    { name: 'while it checks', opening: 4 },
  ])('$name gives a result', async ({ opening }) => {
    for (const rate of [undefined, 5_000]) {
      const controller = new AbortController();
      if (opening === 0) controller.abort();
      const run = await storm('mixed', {
        seed: 1,
        rate,
        restarts: 1,
        operations: opening === 3 ? 4_000 : 400,
        signal: controller.signal,
        onOpen: (number) => {
          if (number === opening) controller.abort();
        },
      });
      expect(run.wasInterrupted).toBe(true);
      expect(run.state.failure).toBeUndefined();
      expect(run.state.counts).toMatchObject({ errors: 0, wrongDecisions: 0, wrongRecords: 0 });
    }
  });
});

describe('a store that fails', () => {
  it('counts as failed operations, and lets nobody in', async () => {
    for (const rate of [undefined, 50_000]) {
      const { state } = await storm('mixed', { seed: 3, rate, writesMax: 300, restarts: 0 });
      expect(state.wrong).toEqual([]);
      expect(state.problems).toEqual([]);
      expect(state.counts.errors).toBeGreaterThan(100);
      expect([...state.errorCodes.keys()]).toEqual(['ERR_PULLMANAGER_STORE_UNAVAILABLE']);
      expect(state.counts.operations).toBeGreaterThan(2_000);
    }
  });

  it.each([3, 4])('to open for the %ith time gives a result that says so', async (opening) => {
    const run = await storm('mixed', {
      seed: 3,
      restarts: 1,
      onOpen: (number) => {
        if (number === opening) throw new Error('no such store');
      },
    });
    expect(run.state.failure).toMatchObject({ message: 'no such store' });
    expect(run.state.counts.operations).toBeGreaterThan(1_000);
    expect(run.engines.length).toBe(opening - 2);
  });

  it('to open at all is no storm', async () => {
    const onOpen = (): void => {
      throw new Error('no such store');
    };
    await expect(storm('mixed', { seed: 3, onOpen })).rejects.toThrow('no such store');
  });
});

it('a rate that is too high is not reached, and does not hang', async () => {
  const { state, timeline } = await storm('mixed', {
    seed: 1,
    rate: 10_000_000,
    concurrency: 4,
    operations: undefined,
    duration: 300,
    restarts: 0,
  });
  const [stage] = timeline.stages;
  expect(stage!.started).toBeLessThan(stage!.scheduled / 10);
  expect(stage!.unstarted).toBe(stage!.scheduled - stage!.started);
  expect(timeline.intervals.at(-1)!.lagP99Ns).toBeGreaterThan(1e8);
  expect(state.counts).toMatchObject({ errors: 0, wrongDecisions: 0, wrongRecords: 0 });
});

it('refuses a store that holds something already', async () => {
  const disk: ConcurrentModelOptions['disk'] = { model: undefined };
  const policy = { kind: 'NeverVerify' } as const;
  const open = async (): Promise<ConcurrentModel> =>
    new ConcurrentModel({ seed: 1, policy, disk, images: [] });
  await (await open()).recordPullIntent('x');
  const parameters = { ...builtInScenario('smoke').parameters, seed: 1 };
  await expect(
    runStorm({ scenario: 'smoke', parameters, images: IMAGES, isDurable: true, open }),
  ).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT', argument: '--store' });
});
