/** Storms against the real engine, from scenario to result. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ParameterName } from '../../src/storm/parameters.ts';
import { medianResult } from '../../src/storm/result.ts';
import type { StormResult } from '../../src/storm/result-schema.ts';
import { builtInScenario, withOwn } from '../../src/storm/scenarios.ts';
import { runScenario } from '../../src/storm/storm.ts';
import { newDirectory } from './trace/kit.ts';

const SMALL = { records: 200, tenants: 60, store: 'journal' };

function run(own: Partial<Record<ParameterName, unknown>>): Promise<StormResult> {
  const { parameters, ...scenario } = builtInScenario('mixed');
  return runScenario({
    scenario: { ...scenario, parameters: withOwn(parameters, { ...SMALL, ...own }) },
    seed: 3,
    command: 'pullwarden storm',
  });
}

describe('workers that are killed', () => {
  it.each(['journal', 'lmdb', 'kubelet'])(
    'lose nothing that was acknowledged: %s',
    async (store) => {
      const result = await run({
        store,
        workers: 2,
        rate: 500,
        duration: 1_500,
        decisionShare: 0.6,
        events: [
          { at: { ms: 300 }, do: 'killWorker' },
          { at: { ms: 700 }, do: 'killWorker' },
        ],
        prunings: 0,
      });
      expect(result).toMatchObject({ wrong: [], problems: [], errors: 0, failure: undefined });
      expect(result.workersKilled).toBeGreaterThan(0);
      expect(result.events.find(({ kind }) => kind === 'killWorker')?.detail).toMatch(/^thread \d/);
      expect(result.passed).toBe(true);
    },
    60_000,
  );

  it('are none where everything runs in the calling thread', async () => {
    const result = await run({ workers: 0, workerKills: 1, operations: 300, concurrency: 8 });
    expect(result.workersKilled).toBe(0);
    expect(result.passed).toBe(true);
  });
});

describe('repeated runs', () => {
  it('give the metrics of each, and the one in the middle', async () => {
    const result = await run({ repeat: 3, operations: 400, concurrency: 8, workers: 0 });
    expect(result.runs).toHaveLength(3);
    const speeds = result.runs.map(({ operationsPerSecond }) => operationsPerSecond!);
    expect(result.operationsPerSecond).toBe(speeds.toSorted((a, b) => a - b)[1]);
    for (const metrics of result.runs) expect(metrics.operations).toBeGreaterThanOrEqual(400);
  });

  it('need a store that is fresh each time', async () => {
    await expect(run({ repeat: 2, store: 'journal:/tmp/x' })).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      argument: '--repeat',
    });
  });

  it('of two show the slower one', async () => {
    const slow = await run({ operations: 200, concurrency: 4, workers: 0 });
    const fast = { ...slow, operationsPerSecond: slow.operationsPerSecond * 2 };
    expect(medianResult([fast, slow])).toMatchObject({
      operationsPerSecond: slow.operationsPerSecond,
    });
    const open = { ...slow, load: { ...slow.load, model: 'open' } } as StormResult;
    const { decide } = open.latencyNs;
    const late = { ...open, latencyNs: { ...open.latencyNs, decide: { ...decide, p99: 9e12 } } };
    expect(medianResult([late, open]).latencyNs.decide.p99).toBe(9e12);
  });

  it('show a run that was wrong before all others', async () => {
    const right = await run({ operations: 200, concurrency: 4, workers: 0 });
    const faster = { ...right, operationsPerSecond: right.operationsPerSecond * 2 };
    const wrong = { ...right, operationsPerSecond: 1, wrongDecisions: 1, passed: false };
    expect(medianResult([right, wrong, faster])).toMatchObject({ ...wrong, runs: { length: 3 } });
    expect(medianResult([right, faster, right]).passed).toBe(true);
  });
});

describe('a result', () => {
  it('has the same hash for storms that do the same, and another for others', async () => {
    const own = { operations: 100, concurrency: 4, workers: 0 };
    const { scenarioHash } = await run(own);
    expect((await run({ ...own, thresholds: ['errors==0'] })).scenarioHash).toBe(scenarioHash);
    expect((await run({ ...own, tenants: 61 })).scenarioHash).not.toBe(scenarioHash);
  });

  it('has another hash for other images, wherever they are', async () => {
    const directory = await newDirectory();
    const listOf = async (name: string, text: string): Promise<string> => {
      await writeFile(join(directory, name), text);
      return join(directory, name);
    };
    const hashes = [];
    for (const [name, text] of [
      ['a', 'docker.io/library/a:1'],
      ['b', 'docker.io/library/a:1'],
      ['c', 'docker.io/library/c:1'],
    ] as const) {
      const images = await listOf(name, text);
      hashes.push((await run({ images, operations: 50, concurrency: 2, workers: 0 })).scenarioHash);
    }
    expect(hashes[1]).toBe(hashes[0]);
    expect(hashes[2]).not.toBe(hashes[0]);
  });

  it('has not passed where nothing was answered', async () => {
    const result = await run({
      store: 'memory',
      rate: 100,
      stages: [{ duration: 100, rate: { from: 0, to: 0 } }],
      restarts: 0,
      prunings: 0,
      workers: 0,
    });
    expect(result).toMatchObject({ operations: 0, errors: 0, interrupted: false, passed: false });
    expect(result.failure).toContain('no operation');
  });

  it('adds up', async () => {
    const result = await run({ rate: 2_000, duration: 800, restarts: 0, prunings: 0 });
    const { arrivals, intervals, operations, perOperation, stages } = result;
    expect(arrivals!.scheduled).toBe(arrivals!.started + arrivals!.unstarted);
    expect(stages[0]!.operations).toBe(operations);
    expect(intervals.reduce((sum, row) => sum + row.operations, 0)).toBe(operations);
    const begun = intervals.map((row) => (row.reachedPerSecond! * row.durationMs) / 1_000);
    expect(begun.reduce((sum, count) => sum + count, 0)).toBeCloseTo(arrivals!.started);
    const counted = Object.values(perOperation).reduce((sum, { count }) => sum + count, 0);
    expect(counted).toBe(operations);
    for (const { responseNs, serviceNs } of Object.values(perOperation)) {
      // A call cannot take longer than what it is a part of.
      expect(serviceNs.p50).toBeLessThanOrEqual(responseNs.p50);
      expect(serviceNs.max).toBeLessThanOrEqual(responseNs.max);
    }
    expect(result.cpu.allMs).toBeGreaterThan(0);
    expect(result.memory.rssMaxBytes).toBeGreaterThan(1e7);
  });
});
