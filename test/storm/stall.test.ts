import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PullManager } from '../../src/pull-manager.ts';
import type { StormRun } from '../../src/storm/course.ts';
import { parseImageList } from '../../src/storm/image-list.ts';
import { runStorm } from '../../src/storm/run.ts';
import { builtInScenario } from '../../src/storm/scenarios.ts';
import { unlessStalled } from '../../src/storm/stall.ts';

const IMAGES = parseImageList('docker.io/library/app\t1 2 3 4 5 6 7 8', 'test');
const never = new Promise<never>(() => {});

// Time stands still for what looks whether anything moves, and for nothing else.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
afterEach(() => void vi.useRealTimers());

describe('waiting for work', () => {
  it('ends with the work', async () => {
    expect(await unlessStalled(Promise.resolve(7), () => 0)).toBe(7);
    await expect(unlessStalled(Promise.reject(new Error('x')), () => 0)).rejects.toThrow('x');
  });

  it('ends where nothing moves for a minute, and not before', async () => {
    let moves: number | undefined = 0;
    const problems: unknown[] = [];
    const waiting = unlessStalled(never, () => moves).catch((error) => problems.push(error));
    await vi.advanceTimersByTimeAsync(59_000);
    moves = 1;
    await vi.advanceTimersByTimeAsync(59_000);
    moves = undefined;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(problems).toEqual([]);
    moves = 1;
    await vi.advanceTimersByTimeAsync(62_000);
    await waiting;
    expect(problems).toMatchObject([{ code: 'ERR_PULLMANAGER_LOCK_TIMEOUT', timeoutMs: 60_000 }]);
  });
});

describe('a storm', () => {
  it.each([
    ['of callers that wait', { rate: undefined, concurrency: 4, operations: 400 }],
    ['of requests that arrive', { rate: 500, duration: 400, concurrency: 4 }],
  ])('%s fails where an answer never comes, with what was measured', async (_, own) => {
    let askedCount = 0;
    const running = runStorm({
      scenario: 'test',
      parameters: {
        ...builtInScenario('smoke').parameters,
        duration: undefined,
        operations: undefined,
        stages: [],
        tenants: 5,
        restarts: 0,
        ...own,
        seed: 1,
      },
      images: IMAGES,
      isDurable: false,
      open: async (_listed, policy) => {
        const store = { kind: 'memory' } as const;
        const manager = await PullManager.open({ store, policy, workerCount: 0 });
        const decide = manager.mustAttemptImagePull.bind(manager);
        manager.mustAttemptImagePull = (...asked) =>
          ++askedCount === 20 ? never : decide(...asked);
        return manager;
      },
    });
    const ended = { run: undefined as StormRun | undefined };
    void running.then((done) => Object.assign(ended, { run: done }));
    while (ended.run === undefined) {
      await vi.advanceTimersByTimeAsync(1_000);
      await sleep(10);
    }
    const { run } = ended;
    run.close();
    expect(run.state.failure).toMatchObject({ code: 'ERR_PULLMANAGER_LOCK_TIMEOUT' });
    expect(run.state.counts.decisions).toBeGreaterThan(0);
    expect(run.timeline.stages).toHaveLength(1);
  });
});
