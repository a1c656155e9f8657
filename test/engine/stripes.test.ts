import { describe, expect, it } from 'vitest';
import { stripeOf } from '../../src/locks/stripe.ts';
import { StripedLockSet } from '../../src/locks/striped-lock-set.ts';
import { secret } from '../support/credentials.ts';
import { intentsOf, openEngine, settles, WORKER_SHAPES } from '../support/engines.ts';

const A = secret('a');

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(WORKER_SHAPES)('the stripes of an engine with $name', (shape) => {
  it('held by somebody else, delay writes until they are free, and no decision that is known', async () => {
    const manager = await openEngine(shape);
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
    const locks = StripedLockSet.attach(manager.handle.locks);
    expect(locks.stripeCount).toBe(manager.stats().stripeCount);
    const stripe = stripeOf('app', locks.stripeCount);
    locks.lockStripe(stripe);
    let isDone = false;
    const writing = manager.recordPullIntent('app').then(() => {
      isDone = true;
    });
    await turns(50);
    expect(isDone).toBe(false);
    expect(manager.decideSync('app', 'ref', { secrets: [A] })).toMatchObject({ mustPull: false });
    locks.unlockStripe(stripe);
    await settles('a write whose stripe is free', writing);
    expect(await intentsOf(manager)).toEqual(['app']);
  });

  it('are all free when nothing is under way, also after the engine is closed', async () => {
    const manager = await openEngine(shape);
    const images = Array.from({ length: 200 }, (_, i) => `app${i}`);
    await Promise.all(
      images.map(async (image) => {
        await manager.recordPullIntent(image);
        await manager.recordImagePulled(image, image, { kubernetesSecrets: [A] });
      }),
    );
    await manager.pruneUnknownRecords([], new Date(8.64e15));
    const locks = StripedLockSet.attach(manager.handle.locks);
    await settles(
      'the global lock',
      locks.globalLockAsync().then((unlock) => unlock()),
    );
    await manager.close();
    for (let i = 0; i < locks.stripeCount; i++) expect(locks.holderOf(i)).toBe(0);
  });

  it('taken all together and often, delay but stop nothing', async () => {
    const manager = await openEngine(shape);
    const locks = StripedLockSet.attach(manager.handle.locks);
    const state = { isOver: false };
    const work = (async () => {
      for (let i = 0; i < 200; i++) {
        await manager.recordPullIntent(`app${i % 7}`);
        await manager.recordImagePulled(`app${i % 7}`, `ref${i}`, null);
      }
      state.isOver = true;
    })();
    while (!state.isOver) {
      const unlock = await locks.globalLockAsync();
      unlock();
      await turns(1);
    }
    await settles('the work', work);
    expect(manager.stats()).toMatchObject({ intents: 0, records: 200 });
  });
});
