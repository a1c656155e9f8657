import { describe, expect, it } from 'vitest';
import { ArrivalTimes } from '../../src/storm/arrivals.ts';
import { OpenLoad } from '../../src/storm/open-load.ts';
import { Plan, PlanShape, SHARED_PLAN } from '../../src/storm/plan.ts';
import { builtInScenario } from '../../src/storm/scenarios.ts';
import { stagesOf } from '../../src/storm/stages.ts';
import { Universe } from '../../src/storm/universe.ts';

const { parameters } = builtInScenario('mixed');
const universe = new Universe([{ image: 'registry.io/a:1', name: 'registry.io/a' }], {
  ...parameters,
  tenants: 4,
  seed: 1,
});
const shape = new PlanShape(universe, stagesOf(parameters, 'mixed')[0]!.requests);

function loadOf(rate: number, durationMs: number, callers: number): OpenLoad {
  const stages = [{ durationMs, ratePerSecond: { from: rate, to: rate } }];
  const arrivals = new ArrivalTimes(stages, { spacing: 'even', seed: 1 });
  return new OpenLoad(arrivals, new Plan(shape, SHARED_PLAN, 1), callers);
}

/** Takes what arrives until the load ends; answers the times at which requests were to begin. */
async function takeAll(load: OpenLoad, startedMs: number): Promise<number[]> {
  const taken: number[] = [];
  for (;;) {
    let intendedMs = load.take(performance.now());
    if (Number.isNaN(intendedMs)) intendedMs = await load.wait();
    if (Number.isNaN(intendedMs)) return taken;
    expect(performance.now()).toBeGreaterThanOrEqual(intendedMs);
    taken.push(Math.round((intendedMs - startedMs) * 1e6) / 1e6);
  }
}

describe('an open load', () => {
  it.each([1, 3])('hands every arrival to one of %i callers, none before it is due', async (n) => {
    const load = loadOf(2_000, 50, n);
    const startedMs = performance.now();
    load.begin(startedMs);
    const callers = Array.from({ length: n }, () => takeAll(load, startedMs));
    setTimeout(() => load.end(), 100);
    const taken = (await Promise.all(callers)).flat().sort((a, b) => a - b);
    expect(taken).toEqual(Array.from({ length: 100 }, (_, index) => index * 0.5));
    expect(load.scheduledUntil(performance.now())).toBe(100);
  });

  it('leaves out what falls into a time without an engine, and counts what waited before', () => {
    const load = loadOf(1_000, 10_000, 1);
    load.begin(0);
    expect(load.take(0)).toBe(0);
    expect(load.take(5)).toBe(1);
    // 2, 3, 4 and 5 waited for a caller.
    load.pause(5);
    expect(load.givenUpCount).toBe(4);
    expect(load.scheduledUntil(99)).toBe(6);
    load.resume(100);
    expect(load.take(100)).toBe(100);
    expect(load.scheduledUntil(102)).toBe(9);
    expect(load.pausedMs).toBe(95);
  });

  it('lets those go that wait, at the end and afterwards', async () => {
    const load = loadOf(0.001, 10_000, 2);
    load.begin(performance.now());
    expect(load.take(performance.now())).not.toBeNaN();
    const waiting = load.wait();
    load.end();
    expect(await waiting).toBeNaN();
    expect(await load.wait()).toBeNaN();
  });
});
