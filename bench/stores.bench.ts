import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { recordFileName } from '../src/accessors/kubelet/record-format.ts';
import type { PullManager } from '../src/pull-manager.ts';
import {
  callersText,
  jsonFilesCycles,
  jsonFilesIntents,
  TENANT_COUNT,
  workloadOf,
} from './baselines/measurements.ts';
import { inChild } from './support/child.ts';
import { closedLoop, median, totalOperations } from './support/closed-loop.ts';
import { decideAll, loopOf, onEngine, openEngine, subjectOf } from './support/engine.ts';
import { collectGarbage, oldBytes } from './support/heap.ts';
import { cycleLoop, intentLoop } from './support/loops.ts';
import { type BenchContext, type BenchRow, type BenchTopic, settleDisk } from './support/topic.ts';
import { imageText, Workload } from './support/workload.ts';

const STORE = { store: 'kubelet' } as const;
/**
 * Of one caller, 64 and 1,024, the same on both sides, since a directory gets slower with its files.
 * With warm-up and samples the last two are twice what may lag behind.
 */
const INTENTS = { 1: 2_000, 64: 6_000, 1024: 6_000 } as const;
const CYCLES = { 1: 600, 64: 6_000, 1024: 6_000 } as const;
/** Enough for what may lag behind to be full. */
const FLATNESS_INTENTS = 20_000;
const AT_LEAST = { 1: 1, 64: 5, 1024: 5 } as const;
const CYCLE_RECORDS = 20_000;
const MANY_RECORDS = 100_000;
const FEW_RECORDS = 1_000;
/** A write to a large store may cost this much more than one to a small store, as noise. */
const FLAT_AT_LEAST = 0.7;
const MS_PER_SECOND = 1000;

type Callers = keyof typeof INTENTS;

/**
 * Acknowledged, which is durable; and, for who wants to know what the files behind it cost, until
 * the last record is in the kubelet's own file and the store is closed: no floor is set for that.
 */
async function intents(context: BenchContext, callers: Callers): Promise<void> {
  const baseline = await jsonFilesIntents(context, {
    flush: true,
    callers,
    operations: INTENTS[callers],
  });
  const loop = loopOf(context, callers, INTENTS[callers]);
  const work = `recordPullIntent, ${callersText(callers)}`;
  const acknowledged = await onEngine(context, STORE, (manager) => intentLoop(manager, loop));
  context.add(work, subjectOf(STORE), acknowledged, ['a', baseline, AT_LEAST[callers]]);
  const samples: number[] = [];
  let operations = 0;
  for (let i = 0; i < Math.min(3, context.samples); i++) {
    operations = loop.operations;
    samples.push(
      await context.inDirectory(async (directory) => {
        const manager = await openEngine(directory, STORE);
        settleDisk();
        const startedMs = performance.now();
        await closedLoop({ ...loop, samples: 1, warmup: 0 }, (index) =>
          manager.recordPullIntent(imageText(index, 0)),
        );
        await manager.close();
        const elapsedMs = performance.now() - startedMs;
        const files = new Set(readdirSync(join(directory, 'kubelet', 'pulling')));
        for (let index = 0; index < operations; index++) {
          const name = recordFileName(imageText(index, 0));
          if (!files.has(name)) throw new Error(`intent ${index} has no file`);
        }
        return (operations / elapsedMs) * MS_PER_SECOND;
      }),
    );
  }
  const measured = { unit: 'ops/s', value: median(samples), samples, operations } as const;
  context.addValue(
    { work: `${work}, until all files are there`, subject: subjectOf(STORE), ...measured },
    ['a', baseline],
  );
}

async function cycles(context: BenchContext, callers: Callers): Promise<void> {
  const baseline = await jsonFilesCycles(context, { flush: true, callers });
  const loop = loopOf(context, callers, CYCLES[callers]);
  const result = await onRecords(context, CYCLE_RECORDS, (manager, workload) =>
    cycleLoop(manager, workload, loop),
  );
  const work = `intent + pulled, ${CYCLE_RECORDS} records, ${callersText(callers)}`;
  context.add(work, subjectOf(STORE), result, ['a', baseline, AT_LEAST[callers]]);
}

/** Where a directory is, and how many records it has. */
interface DirectoryOrder {
  readonly directory: string;
  readonly records: number;
}

/** In a child: fills a directory as an engine does, and closes it. */
export async function fillDirectory({ directory, records }: DirectoryOrder): Promise<void> {
  await using manager = await openEngine(directory, STORE);
  await new Workload(records, TENANT_COUNT).load(manager);
}

/** Milliseconds, and bytes of heap. */
interface Opening {
  readonly openMs: number;
  readonly listMs: number;
  readonly heapBytes: number;
}

/** In a child: opens a directory in this thread and lists it; checks every record. */
export async function openDirectory({ directory, records }: DirectoryOrder): Promise<Opening> {
  const workload = new Workload(records, TENANT_COUNT);
  await collectGarbage();
  const before = oldBytes();
  const startedMs = performance.now();
  await using manager = await openEngine(directory, { ...STORE, workerCount: 0 });
  const openedMs = performance.now();
  await collectGarbage();
  const heapBytes = oldBytes() - before;
  const listingMs = performance.now();
  const listing = await manager.listImagePulledRecords();
  const listedMs = performance.now();
  const { length } = listing.records;
  if (length !== records || listing.errors.length > 0) throw new Error(`${length} were listed`);
  await decideAll(manager, workload);
  return { openMs: openedMs - startedMs, listMs: listedMs - listingMs, heapBytes };
}

async function opening(context: BenchContext): Promise<void> {
  const records = context.scaled(MANY_RECORDS);
  const openings: Opening[] = [];
  await context.inDirectory(async (directory) => {
    const order: DirectoryOrder = { directory, records };
    await inChild(import.meta.url, fillDirectory, order);
    settleDisk();
    for (let i = 0; i < Math.min(3, context.samples); i++) {
      openings.push(await inChild(import.meta.url, openDirectory, order, ['--expose-gc']));
    }
  });
  const subject = `${subjectOf({ ...STORE, workerCount: 0 })}, in a child`;
  const add = (work: string, unit: 'ms' | 'bytes', of: (opening: Opening) => number): void => {
    const samples = openings.map(of);
    const name = `${work}, ${records} records`;
    context.addValue({ work: name, subject, unit, value: median(samples), samples });
  };
  add('PullManager.open', 'ms', ({ openMs }) => openMs);
  add('listImagePulledRecords', 'ms', ({ listMs }) => listMs);
  add('heap after opening', 'bytes', ({ heapBytes }) => heapBytes);
}

/** A write costs the same however many records there are. */
async function flatness(context: BenchContext): Promise<void> {
  const callers = 64;
  let few: BenchRow | undefined;
  for (const records of [FEW_RECORDS, context.scaled(MANY_RECORDS)]) {
    const loop = loopOf(context, callers, FLATNESS_INTENTS);
    const result = await onRecords(context, records, async (manager) => {
      const measured = await closedLoop(loop, (index) =>
        manager.recordPullIntent(imageText(index, 0)),
      );
      const found = manager.stats().intents;
      if (found !== totalOperations(loop)) throw new Error(`${found} intents are there`);
      return measured;
    });
    const work = `recordPullIntent, ${records} records, ${callersText(callers)}`;
    if (few === undefined) few = context.add(work, subjectOf(STORE), result);
    else context.add(work, subjectOf(STORE), result, ['other', few, FLAT_AT_LEAST]);
  }
}

/** Runs `use` on an engine that has opened so many records, all of them in files. */
function onRecords<T>(
  context: BenchContext,
  records: number,
  use: (manager: PullManager, workload: Workload) => Promise<T>,
): Promise<T> {
  return context.inDirectory(async (directory) => {
    const workload = workloadOf(records);
    const loading = await openEngine(directory, STORE);
    await workload.load(loading);
    await loading.close();
    await using manager = await openEngine(directory, STORE);
    settleDisk();
    return await use(manager, workload);
  });
}

const topic: BenchTopic = {
  title:
    'the kubelet store against its files written the plain way: one write, rename and flush each',
  async run(context: BenchContext): Promise<void> {
    for (const callers of [1, 64, 1024] as const) await intents(context, callers);
    for (const callers of [1, 64, 1024] as const) await cycles(context, callers);
    await opening(context);
    await flatness(context);
  },
};

export default topic;
