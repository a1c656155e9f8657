import { describe, expect, it } from 'vitest';
import { RestartBackoff } from '../../src/engine/restart-backoff.ts';

describe('RestartBackoff', () => {
  it('waits longer each time for a worker that never runs, up to a limit', () => {
    const backoff = new RestartBackoff();
    const pauses = Array.from({ length: 16 }, () => backoff.died(100, 0));
    expect(pauses.slice(0, 5)).toEqual([0, 10, 20, 40, 80]);
    expect(pauses.slice(-3)).toEqual([30_000, 30_000, 30_000]);
  });

  it('never waits for one that had run for a while, however often it dies', () => {
    const backoff = new RestartBackoff();
    for (let i = 0; i < 5; i++) backoff.died(100, 0);
    const pauses = Array.from({ length: 20 }, () => backoff.died(100, 5_000));
    expect(new Set(pauses)).toEqual(new Set([0]));
    expect(backoff.died(100, 0)).toBe(10);
  });

  it('waits for one that takes longer to start than it runs', () => {
    const backoff = new RestartBackoff();
    backoff.died(4_000, 2_000);
    expect(backoff.died(4_000, 2_000)).toBe(10);
    expect(backoff.died(4_000, 5_000)).toBe(0);
  });
});
