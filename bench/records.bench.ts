import { callersText, jsonFilesPrune, TENANT_COUNT, workloadOf } from './baselines/measurements.ts';
import { inChild } from './support/child.ts';
import { median } from './support/closed-loop.ts';
import {
  decideAll,
  type EngineOptions,
  loopOf,
  onEngine,
  openEngine,
  type StoreKind,
  subjectOf,
} from './support/engine.ts';
import { collectGarbage, oldBytes, stringBytes } from './support/heap.ts';
import { cycleLoop, intentLoop } from './support/loops.ts';
import { type BenchContext, type BenchRow, type BenchTopic, settleDisk } from './support/topic.ts';
import { Workload } from './support/workload.ts';

const HEAP_RECORDS = 100_000;
const HEAP_BYTES_MAX = 300;
const PRUNE_RECORDS = 20_000;
const CYCLE_RECORDS = 20_000;
/** The prototypes' pace; per record, a large store may cost twice as much as a small one. */
const REOPEN_MS_MAX = { small: 300, large: 4_000 };
const LINEAR_AT_LEAST = 0.5;
const CHECKED_AGAIN = 10_000;
const NS_PER_MS = 1e6;
/** Records are dated when they are written; this is after all of them. */
const AFTER_ALL_MS = 60_000;

export interface StoreOrder extends EngineOptions {
  readonly directory: string;
  readonly records: number;
}

/** In a child, whose memory goes with it: fills a store and closes it. */
export async function fillStore(order: StoreOrder): Promise<void> {
  await using manager = await openEngine(order.directory, order);
  await new Workload(order.records, TENANT_COUNT).load(manager);
}

/** In a child: opens a store as the first thing after its start. Milliseconds. */
export async function reopen(order: StoreOrder & { readonly checked: number }): Promise<number> {
  const startedMs = performance.now();
  await using manager = await openEngine(order.directory, order);
  const elapsedMs = performance.now() - startedMs;
  const { records, intents } = manager.stats();
  if (records !== order.records || intents !== 0) throw new Error(`${records} records are there`);
  await decideAll(manager, new Workload(order.checked, TENANT_COUNT));
  return elapsedMs;
}

/** Bytes of heap per record. */
interface RecordHeap {
  readonly owner: number;
  /** Of these, the record's own strings: its image reference, and the name that is proven. */
  readonly strings: number;
  /** What a thread that has decided on the record keeps of it, beside the caller's own strings. */
  readonly replica: number;
}

/** In a child: opens a store in this thread, so that its heap holds all of it, and nothing else. */
export async function measureHeap(order: StoreOrder): Promise<RecordHeap> {
  const { records } = order;
  const workload = new Workload(records, TENANT_COUNT);
  await collectGarbage();
  const before = oldBytes();
  await using manager = await openEngine(order.directory, { ...order, workerCount: 0 });
  if (manager.stats().records !== records) throw new Error('not all records are there');
  await collectGarbage();
  const opened = oldBytes();
  await decideAll(manager, workload);
  await collectGarbage();
  const decided = oldBytes();
  const strings = workload.images.reduce((sum, { image, imageRef }) => {
    const imageName = image.slice(0, image.lastIndexOf(':'));
    return sum + stringBytes(imageRef) + stringBytes(imageName);
  }, 0);
  return {
    owner: (opened - before) / records,
    strings: strings / records,
    replica: (decided - opened) / records,
  };
}

async function heap(context: BenchContext): Promise<void> {
  const records = context.scaled(HEAP_RECORDS);
  const measured: RecordHeap[] = [];
  await context.inDirectory(async (directory) => {
    const order: StoreOrder = { directory, records, workerCount: 0 };
    await inChild(import.meta.url, fillStore, order);
    for (let i = 0; i < Math.min(3, context.samples); i++) {
      measured.push(await inChild(import.meta.url, measureHeap, order, ['--expose-gc']));
    }
  });
  const add = (what: string, of: (heap: RecordHeap) => number, atMost?: number): void => {
    const samples = measured.map(of);
    context.addValue({
      work: `heap per record, ${records} records: ${what}`,
      subject: `${subjectOf({ workerCount: 0 })}, in a child`,
      unit: 'bytes',
      value: median(samples),
      samples,
      ...(atMost === undefined ? {} : { atMost }),
    });
  };
  add('the owner, in all', ({ owner }) => owner);
  add('the owner, beyond strings', ({ owner, strings }) => owner - strings, HEAP_BYTES_MAX);
  add("a host's replica", ({ replica }) => replica);
}

async function reopening(
  context: BenchContext,
  setup: { readonly store: StoreKind; readonly full: number; readonly atMost?: number },
  small?: BenchRow,
): Promise<BenchRow> {
  const { store, full, atMost } = setup;
  const records = context.scaled(full);
  const samples: number[] = [];
  await context.inDirectory(async (directory) => {
    const order: StoreOrder = { directory, records, store };
    await inChild(import.meta.url, fillStore, order);
    settleDisk();
    for (let i = 0; i < Math.min(3, context.samples); i++) {
      // Every record is looked at once, and some of them each time.
      const checked = i === 0 ? records : Math.min(records, CHECKED_AGAIN);
      samples.push(await inChild(import.meta.url, reopen, { ...order, checked }));
    }
  });
  const work = `PullManager.open, ${records} records`;
  const subject = `${subjectOf({ store })}, in a child`;
  const value = median(samples);
  const measured = { work, subject, value, samples, operations: samples.length };
  context.addValue({ ...measured, unit: 'ms', ...(atMost === undefined ? {} : { atMost }) });
  const perRecord = (ms: number): number => (ms * NS_PER_MS) / records;
  const row = {
    ...measured,
    work: `${work}: per record`,
    unit: 'ns',
    value: perRecord(value),
    samples: samples.map(perRecord),
  } as const;
  return small === undefined
    ? context.addValue(row)
    : context.addValue(row, ['other', small, LINEAR_AT_LEAST]);
}

async function prune(context: BenchContext): Promise<void> {
  const files = await jsonFilesPrune(context, PRUNE_RECORDS);
  const kept = workloadOf(PRUNE_RECORDS).images.filter((_, index) => index % 2 === 0);
  const imageRefs = kept.map(({ imageRef }) => imageRef);
  const samples: number[] = [];
  for (let i = 0; i <= context.samples; i++) {
    const ms = await onEngine(context, { records: PRUNE_RECORDS }, async (manager, workload) => {
      const until = new Date(Date.now() + AFTER_ALL_MS);
      const startedMs = performance.now();
      const result = await manager.pruneUnknownRecords(imageRefs, until);
      const elapsedMs = performance.now() - startedMs;
      if (result.pruned !== PRUNE_RECORDS - kept.length || result.kept !== kept.length) {
        throw new Error(`pruned ${result.pruned}, kept ${result.kept}`);
      }
      const { images } = workload;
      const records = images.map(({ imageRef }) => manager.getImagePulledRecord(imageRef));
      for (const [index, record] of (await Promise.all(records)).entries()) {
        const isRight = (record !== undefined) === (index % 2 === 0);
        if (!isRight) throw new Error(`pruned or kept by mistake: ${images[index]!.imageRef}`);
      }
      return elapsedMs;
    });
    // The first one warms up the code in this thread.
    if (i > 0) samples.push(ms);
  }
  const { work, unit } = files;
  const measured = { value: median(samples), samples, operations: samples.length };
  context.addValue({ work, unit, subject: subjectOf(), ...measured }, ['a', files, 20]);
}

async function writes(context: BenchContext): Promise<void> {
  for (const [callers, work] of [
    [64, { journal: 60_000, lmdb: 10_000, memory: 60_000 }],
    [1024, { journal: 150_000, lmdb: 20_000, memory: 150_000 }],
  ] as const) {
    for (const kind of ['intents', 'cycles'] as const) {
      let lmdb: BenchRow | undefined;
      for (const store of ['lmdb', 'journal', 'memory'] as const) {
        const loop = loopOf(context, callers, work[store]);
        const records = kind === 'intents' ? 0 : CYCLE_RECORDS;
        const result = await onEngine(context, { store, records }, (manager, workload) =>
          kind === 'intents' ? intentLoop(manager, loop) : cycleLoop(manager, workload, loop),
        );
        const what =
          kind === 'intents' ? 'recordPullIntent' : `intent + pulled, ${CYCLE_RECORDS} records`;
        const name = `${what}, ${callersText(callers)}`;
        if (lmdb === undefined) lmdb = context.add(name, subjectOf({ store }), result);
        else context.add(name, subjectOf({ store }), result, ['other', lmdb]);
      }
    }
  }
}

const topic: BenchTopic = {
  title: 'memory, opening, pruning, and the stores side by side; memory keeps nothing',
  async run(context: BenchContext): Promise<void> {
    await heap(context);
    const { small, large } = REOPEN_MS_MAX;
    const first = await reopening(context, { store: 'journal', full: 100_000, atMost: small });
    await reopening(context, { store: 'journal', full: 1_000_000, atMost: large }, first);
    await reopening(context, { store: 'lmdb', full: 100_000 });
    await prune(context);
    await writes(context);
  },
};

export default topic;
