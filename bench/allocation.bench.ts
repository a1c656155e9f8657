import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { PullManager } from '../src/pull-manager.ts';
import { TENANT_COUNT } from './baselines/measurements.ts';
import { inChild } from './support/child.ts';
import { decideAll } from './support/engine.ts';
import { collectGarbage, oldBytes } from './support/heap.ts';
import type { BenchContext, BenchTopic } from './support/topic.ts';
import { isStranger, Workload } from './support/workload.ts';

const RECORDS = 20_000;
const SUBJECT = 'memory, calling thread, in a child';
/** So large a young generation is not collected in between: what is allocated can be read off. */
const FLAGS = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];
/** A few tables of the runtime grow or shrink; one byte per decision would be 10,000,000. */
const SURVIVING_BYTES_MAX = 65_536;
const ALLOCATED_BYTES_MAX = 0.1;

/** As many decisions as are measured, in turns of the event loop. */
const WARMUP_ROUNDS = 5;

/** What a number of decisions left behind. */
interface Allocation {
  /** Bytes of heap per decision; only exact where `collections` is 0. */
  readonly bytesPerCall: number;
  readonly collections: number;
  /** Growth of what a full collection leaves, over all decisions, in the old generation. */
  readonly survivingBytes: number;
}

export interface AllocationOrder {
  readonly calls: number;
  readonly isAwaited: boolean;
}

/** In a child: decides so many times, and says what that allocated. */
export async function measureAllocation(order: AllocationOrder): Promise<Allocation> {
  const { calls, isAwaited } = order;
  const workload = new Workload(RECORDS, TENANT_COUNT);
  await using manager = await PullManager.open({ store: { kind: 'memory' }, workerCount: 0 });
  await workload.load(manager);
  for (let round = 0; round < 2; round++) await decideAll(manager, workload);

  const decideSync = (count: number): void => {
    for (let index = 0; index < count; index++) {
      const image = workload.pick(index);
      const mustPull = isStranger(index);
      const pod = workload.podOf(image, mustPull);
      const decision = manager.decideSync(image.image, image.imageRef, pod);
      if (decision?.mustPull !== mustPull) throw new Error(`wrong answer for ${image.image}`);
    }
  };
  const decideAwaited = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index++) {
      const image = workload.pick(index);
      const mustPull = isStranger(index);
      const pod = workload.podOf(image, mustPull);
      const answer = await manager.mustAttemptImagePull(image.image, image.imageRef, pod);
      if (answer !== mustPull) throw new Error(`wrong answer for ${image.image}`);
    }
  };
  // Until the optimizing compiler is through with it, which takes heap of its own.
  const warmup = Math.ceil(calls / WARMUP_ROUNDS);
  for (let round = 0; round < WARMUP_ROUNDS; round++) {
    if (isAwaited) await decideAwaited(warmup);
    else decideSync(warmup);
    await setImmediate();
  }

  const observer = new PerformanceObserver(() => {});
  let collections = 0;
  const count = (): void => {
    collections += observer.takeRecords().length;
  };
  await collectGarbage();
  const oldBefore = oldBytes();
  observer.observe({ entryTypes: ['gc'] });
  await setImmediate();
  count();
  collections = 0;
  const before = getHeapStatistics().used_heap_size;
  if (isAwaited) await decideAwaited(calls);
  else decideSync(calls);
  const after = getHeapStatistics().used_heap_size;
  await setImmediate();
  count();
  observer.disconnect();
  await collectGarbage();
  const survivingBytes = oldBytes() - oldBefore;
  return { bytesPerCall: (after - before) / calls, collections, survivingBytes };
}

async function show(context: BenchContext, order: AllocationOrder): Promise<void> {
  const { isAwaited } = order;
  const calls = context.scaled(order.calls);
  const name = isAwaited ? 'mustAttemptImagePull, awaited' : 'decideSync';
  const work = `${calls} × ${name}, ${RECORDS} records`;
  const result = await inChild(import.meta.url, measureAllocation, { isAwaited, calls }, FLAGS);
  const { bytesPerCall, collections, survivingBytes } = result;
  const row = { subject: SUBJECT, samples: [] };
  context.addValue({
    ...row,
    work: `${work}: heap that survives, in all`,
    unit: 'bytes',
    value: survivingBytes,
    atMost: SURVIVING_BYTES_MAX,
  });
  if (isAwaited) return;
  context.addValue({
    ...row,
    work: `${work}: heap taken by a call`,
    unit: 'bytes',
    value: bytesPerCall,
    atMost: ALLOCATED_BYTES_MAX,
  });
  const counted = { work: `${work}: garbage`, unit: 'collections', value: collections } as const;
  context.addValue({ ...row, ...counted, atMost: 0 });
}

const topic: BenchTopic = {
  title: 'what decisions on the hot path leave to the garbage collector',
  async run(context: BenchContext): Promise<void> {
    await show(context, { calls: 10_000_000, isAwaited: false });
    await show(context, { calls: 10_000_000, isAwaited: true });
  },
};

export default topic;
