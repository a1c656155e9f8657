import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../src/accessors/accessor.ts';
import { StoreGauges } from '../../src/engine/store-gauges.ts';
import { StripedLockSet } from '../../src/locks/striped-lock-set.ts';
import { SharedMetrics, WORKER_ROW } from '../../src/metrics/shared-metrics.ts';

interface Counted {
  records: number;
  intents: number;
}

function setUp(count: () => Counted | Promise<Counted>, isOwn: boolean, generation = 2) {
  const metrics = SharedMetrics.create(2);
  const locks = new StripedLockSet(31);
  const gauges = new StoreGauges({
    accessor: { listsOnlyOwnKeys: isOwn, count } as unknown as OwnedAccessor,
    context: { workerIndex: 0, workerCount: 2, stripeCount: 31, generation, mayBlock: true },
    metrics,
    locks: locks.handle,
  });
  const other = metrics.workerRow(1);
  other[WORKER_ROW.RECORDS] = 30;
  other[WORKER_ROW.INTENTS] = 3;
  const sums = (): Counted => ({
    records: metrics.workerSum(WORKER_ROW.RECORDS),
    intents: metrics.workerSum(WORKER_ROW.INTENTS),
  });
  return { gauges, locks, sums };
}

describe('gauges of a store', () => {
  it('are what the owner counts of its own, beside those of the others', async () => {
    const { gauges, sums } = setUp(() => ({ records: 10, intents: 1 }), true);
    await gauges.start();
    expect(sums()).toEqual({ records: 40, intents: 4 });
    gauges.add(2, -1);
    expect(sums()).toEqual({ records: 42, intents: 3 });
  });

  it('are the whole that a replacement counts where each owner sees all', async () => {
    const { gauges, sums } = setUp(() => ({ records: 100, intents: 10 }), false);
    await gauges.start();
    expect(sums()).toEqual({ records: 100, intents: 10 });
    expect(gauges.isRecountDue).toBe(false);
  });

  it('are counted later where somebody holds a stripe, who is not kept waiting', async () => {
    const { gauges, locks, sums } = setUp(() => ({ records: 100, intents: 10 }), false);
    // As a thread with the id 99 holds it: a line of 64 bytes a stripe, its first word.
    const words = new Int32Array(locks.handle.buffer);
    words[5 * 16] = 99 << 1;
    expect(locks.holderOf(5)).toBe(99);
    await gauges.start();
    expect(sums()).toEqual({ records: 30, intents: 3 });
    // All other stripes are free again.
    for (let stripe = 0; stripe < 31; stripe++) {
      if (stripe === 5) continue;
      expect(locks.tryLockStripe(stripe)).toBe(true);
      locks.unlockStripe(stripe);
    }
    locks.releaseHeldBy(99);
    while (!gauges.isRecountDue) await delay(20);
    await gauges.recount();
    expect(sums()).toEqual({ records: 100, intents: 10 });
    expect(gauges.isRecountDue).toBe(false);
  });

  it('are counted later where the store is slow, or fails, and all stripes are free meanwhile', async () => {
    let answer: () => Counted | Promise<Counted> = () => delay(5_000, { records: 7, intents: 7 });
    const { gauges, locks, sums } = setUp(() => answer(), false);
    await gauges.start();
    expect(sums()).toEqual({ records: 30, intents: 3 });
    expect(locks.tryLockStripe(0)).toBe(true);
    locks.unlockStripe(0);
    answer = () => Promise.reject(new Error('disk'));
    await gauges.recount();
    expect(sums()).toEqual({ records: 30, intents: 3 });
    answer = () => ({ records: 100, intents: 10 });
    await gauges.recount();
    expect(sums()).toEqual({ records: 100, intents: 10 });
  });

  it('are given up in the end where the store is always too slow', async () => {
    const { gauges } = setUp(() => Promise.reject(new Error('disk')), false);
    for (let attempt = 0; attempt < 20; attempt++) await gauges.recount();
    expect(gauges.isRecountDue).toBe(false);
  });
});
