/** A storm against the real engine finds out a store that lies to it. */
import { describe, expect, it } from 'vitest';
import { PullManager } from '../../src/pull-manager.ts';
import { parseImageList } from '../../src/storm/image-list.ts';
import { runStorm } from '../../src/storm/run.ts';
import { builtInScenario } from '../../src/storm/scenarios.ts';

const IMAGES = parseImageList(
  Array.from({ length: 30 }, (_, i) => `docker.io/library/app-${i}\t1 2 3`).join('\n'),
  'test',
);
const MODULE = new URL('../fixtures/stores/lying-store.mjs', import.meta.url);

/** Decisions and records that were found wrong. */
async function wrongOf(lie: string, every: number): Promise<number> {
  const { parameters } = builtInScenario('mixed');
  const own = { rate: undefined, duration: undefined, concurrency: 16, operations: 4_000 };
  const engine = { tenants: 30, restarts: 2, prunings: 4, prunedShare: 0.3, seed: 5 };
  const run = await runStorm({
    scenario: 'mixed',
    parameters: { ...parameters, ...own, ...engine, stages: [] },
    images: IMAGES,
    isDurable: true,
    open: (listed, policy) =>
      PullManager.open({
        store: { module: MODULE, options: { name: lie, lie, every } },
        policy,
        workerCount: 0,
        imageService: { listImages: async () => listed },
      }),
  });
  run.close();
  const { errors, exact, wrongDecisions, wrongRecords } = run.state.counts;
  expect(errors).toBe(0);
  expect(run.state.failure).toBeUndefined();
  expect(exact).toBeGreaterThan(2_000);
  return wrongDecisions + wrongRecords;
}

describe('a store', () => {
  it('that tells the truth is found right', async () => {
    expect(await wrongOf('says nothing wrong', 1)).toBe(0);
  });

  it.each([
    // So often that no run of twenty found fewer than ten, whatever the order of its calls: a lie is seen
    // only where somebody asks for the image before the truth is told again.
    ['loses records', 10],
    ['opens records', 10],
    ['keeps records', 3],
    ['denies records', 40],
    ['shows records to all', 40],
    ['loses intents', 1],
    ['keeps intents', 3],
    // Found by its pruning, once.
    ['lists too little', 1],
  ])('that %s is found out', async (lie, every) => {
    expect(await wrongOf(lie, every)).toBeGreaterThan(0);
  });
});
