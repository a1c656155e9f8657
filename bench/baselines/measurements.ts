/**
 * The baselines, measured: each function takes its measurement once a run and answers the row, so
 * that a topic can put the engine beside it.
 */
import { join } from 'node:path';
import type { ClosedLoopOptions, LoopResult } from '../support/closed-loop.ts';
import {
  cycleLoop,
  decisionLoop,
  intentLoop,
  repeatedIntentLoop,
  stormLoop,
} from '../support/loops.ts';
import { sequential } from '../support/sequential.ts';
import { type BenchContext, type BenchRow, settleDisk } from '../support/topic.ts';
import { Workload } from '../support/workload.ts';
import { JsonFilesPullManager } from './json-files.ts';
import { PiscinaPullManager } from './piscina-per-operation.ts';
import { RawFile } from './raw-disk.ts';

/** Tenants of every workload here. */
export const TENANT_COUNT = 500;
/** What one intent of a benchmark takes in a compact log: the image text and a few bytes. */
export const INTENT_BYTES = 80;

const RAW_FILE_BYTES = 64 << 20;
const LOAD_TIME = new Date('2026-01-01T00:00:00Z');
const PRUNE_UNTIL = new Date('2026-06-01T00:00:00Z');

const workloads = new Map<number, Workload>();

/** The workload of so many records; built once. */
export function workloadOf(records: number): Workload {
  const known = workloads.get(records) ?? new Workload(records, TENANT_COUNT);
  workloads.set(records, known);
  return known;
}

/** Lets go of a workload, where it is large and no longer needed. */
export function forgetWorkload(records: number): void {
  workloads.delete(records);
}

function loop(context: BenchContext, callers: number, operations: number): ClosedLoopOptions {
  return { callers, operations: context.scaled(operations), samples: context.samples };
}

/** `1 caller`, `64 callers`: how names of work end. */
export function callersText(callers: number): string {
  return callers === 1 ? '1 caller' : `${callers} callers`;
}

function jsonSubject(flush: boolean): string {
  return `(a) json files, ${flush ? 'flushed' : 'not flushed'}`;
}

/** (a) `recordPullIntent`. */
export function jsonFilesIntents(
  context: BenchContext,
  options: { readonly flush: boolean; readonly callers: number; readonly operations?: number },
): Promise<BenchRow> {
  const { flush, callers, operations = flush ? 2_000 : 10_000 } = options;
  return context.once(`a intents ${flush} ${callers} ${operations}`, () =>
    context.inDirectory(async (directory) => {
      await using manager = disposable(new JsonFilesPullManager(directory, flush));
      const result = await intentLoop(manager.subject, loop(context, callers, operations));
      return context.add(`recordPullIntent, ${callersText(callers)}`, jsonSubject(flush), result);
    }),
  );
}

/** (a) `recordPullIntent` of images whose last pull has failed; flushed. */
export function jsonFilesRepeatedIntents(
  context: BenchContext,
  callers: number,
): Promise<BenchRow> {
  return context.once(`a repeated intents ${callers}`, () =>
    context.inDirectory(async (directory) => {
      await using manager = disposable(new JsonFilesPullManager(directory, true));
      const rounds = { callers, images: context.scaled(2_000), rounds: context.samples };
      const result = await repeatedIntentLoop(manager.subject, rounds);
      return context.add(repeatedIntentsText(callers), jsonSubject(true), result);
    }),
  );
}

/** What rows of `recordPullIntent` of images whose last pull has failed are called. */
export function repeatedIntentsText(callers: number): string {
  return `recordPullIntent, ${callersText(callers)}, known images`;
}

/** (a) Whole pulls on 20,000 records. */
export function jsonFilesCycles(
  context: BenchContext,
  options: { readonly flush: boolean; readonly callers: number; readonly records?: number },
): Promise<BenchRow> {
  const { flush, callers, records = 20_000 } = options;
  return context.once(`a cycles ${flush} ${callers} ${records}`, () =>
    onJsonFiles(context, records, flush, async (manager, workload) => {
      const result = await cycleLoop(
        manager,
        workload,
        loop(context, callers, flush ? 600 : 4_000),
      );
      const work = `intent + pulled, ${records} records, ${callersText(callers)}`;
      return context.add(work, jsonSubject(flush), result);
    }),
  );
}

/** (a) Decisions, read from disk. */
export function jsonFilesDecisions(
  context: BenchContext,
  options: { readonly records: number; readonly callers: number },
): Promise<BenchRow> {
  const { records, callers } = options;
  return context.once(`a decisions ${records} ${callers}`, () =>
    onJsonFiles(context, records, false, async (manager, workload) => {
      const result = await decisionLoop(manager, workload, loop(context, callers, 20_000));
      return context.add(
        `mustAttemptImagePull, ${records} records, ${callersText(callers)}`,
        '(a) json files',
        result,
      );
    }),
  );
}

/** (a) The storm. */
export function jsonFilesStorm(
  context: BenchContext,
  options: { readonly flush: boolean; readonly records: number; readonly callers: number },
): Promise<BenchRow> {
  const { flush, records, callers } = options;
  return context.once(`a storm ${flush} ${records} ${callers}`, () =>
    onJsonFiles(context, records, flush, async (manager, workload) => {
      const closed = loop(context, callers, flush ? 4_000 : 20_000);
      const result = await stormLoop(manager, workload, closed);
      return context.add(
        `storm, ${records} records, ${callersText(callers)}`,
        jsonSubject(flush),
        result,
      );
    }),
  );
}

/** (a) Pruning all but every second of `records`; milliseconds. */
export function jsonFilesPrune(context: BenchContext, records = 20_000): Promise<BenchRow> {
  return context.once(`a prune ${records}`, async () => {
    const samples: number[] = [];
    for (let i = 0; i < Math.min(3, context.samples); i++) {
      const ms = await onJsonFiles(context, records, false, async (manager, workload) => {
        const kept = workload.images.filter((_, index) => index % 2 === 0);
        const startedMs = performance.now();
        const refs = kept.map(({ imageRef }) => imageRef);
        const pruned = await manager.pruneUnknownRecords(refs, PRUNE_UNTIL);
        const elapsedMs = performance.now() - startedMs;
        if (pruned !== records - kept.length) throw new Error(`pruned ${pruned} of ${records}`);
        return elapsedMs;
      });
      samples.push(ms);
    }
    samples.sort((x, y) => x - y);
    return context.addValue({
      work: `pruneUnknownRecords, ${records} to ${records / 2} records`,
      subject: jsonSubject(false),
      unit: 'ms',
      value: samples[samples.length >> 1]!,
      samples,
      operations: samples.length,
    });
  });
}

/** (b) `recordPullIntent`, in memory. */
export function piscinaIntents(context: BenchContext, callers: number): Promise<BenchRow> {
  return context.once(`b intents ${callers}`, () =>
    onPiscina(0, async (manager) => {
      const operations = callers === 1 ? 10_000 : 60_000;
      const result = await intentLoop(manager, loop(context, callers, operations));
      return context.add(`recordPullIntent, ${callersText(callers)}`, PISCINA_SUBJECT, result);
    }),
  );
}

/** (b) Decisions, from the thread's memory. */
export function piscinaDecisions(
  context: BenchContext,
  options: { readonly records: number; readonly callers: number },
): Promise<BenchRow> {
  const { records, callers } = options;
  return context.once(`b decisions ${records} ${callers}`, () =>
    onPiscina(records, async (manager, workload) => {
      const closed = loop(context, callers, callers === 1 ? 10_000 : 60_000);
      const result = await decisionLoop(manager, workload, closed);
      return context.add(
        `mustAttemptImagePull, ${records} records, ${callersText(callers)}`,
        PISCINA_SUBJECT,
        result,
      );
    }),
  );
}

/** (b) The storm, not durable. */
export function piscinaStorm(
  context: BenchContext,
  options: { readonly records: number; readonly callers: number },
): Promise<BenchRow> {
  const { records, callers } = options;
  return context.once(`b storm ${records} ${callers}`, () =>
    onPiscina(records, async (manager, workload) => {
      const result = await stormLoop(manager, workload, loop(context, callers, 60_000));
      return context.add(
        `storm, ${records} records, ${callersText(callers)}`,
        PISCINA_SUBJECT,
        result,
      );
    }),
  );
}

/** (c) Write and flush of a batch; a row of operations per second, not of batches. */
export function rawDisk(
  context: BenchContext,
  options: { readonly batch: number; readonly bytesPerOperation?: number },
): Promise<BenchRow> {
  const { batch, bytesPerOperation = INTENT_BYTES } = options;
  return context.once(`c ${batch} ${bytesPerOperation}`, () =>
    context.inDirectory((directory) => {
      const file = new RawFile(join(directory, 'raw'), RAW_FILE_BYTES);
      try {
        const bytes = Buffer.alloc(batch * bytesPerOperation);
        let count = 0;
        const work = `write + fdatasync, ${batch} × ${bytesPerOperation} bytes`;
        const result = sequential(
          work,
          () => {
            bytes.writeUInt32LE(count++);
            file.append(bytes);
          },
          { operationsPerCall: batch, samples: context.samples, timeMs: context.scaled(1_000) },
        );
        file.verifyLast(bytes);
        // Every operation of a batch waits for the whole of it.
        const perCall = scaleLatency(result, batch);
        return context.add(work, '(c) raw disk', perCall);
      } finally {
        file.close();
      }
    }),
  );
}

const PISCINA_SUBJECT = '(b) piscina.run per operation, not durable';

function scaleLatency(result: LoopResult, factor: number): LoopResult {
  const { p50, p99, p999, max } = result.latencyNs;
  const latencyNs = {
    p50: p50 * factor,
    p99: p99 * factor,
    p999: p999 * factor,
    max: max * factor,
  };
  return { ...result, latencyNs };
}

/** A fresh directory with the records of a workload, opened again with `flush` after loading. */
function onJsonFiles<T>(
  context: BenchContext,
  records: number,
  flush: boolean,
  use: (manager: JsonFilesPullManager, workload: Workload) => Promise<T>,
): Promise<T> {
  return context.inDirectory(async (directory) => {
    const workload = workloadOf(records);
    const loader = new JsonFilesPullManager(directory, false, () => LOAD_TIME);
    await workload.load(loader, 1);
    await loader.close();
    settleDisk();
    await using manager = disposable(new JsonFilesPullManager(directory, flush));
    return await use(manager.subject, workload);
  });
}

async function onPiscina<T>(
  records: number,
  use: (manager: PiscinaPullManager, workload: Workload) => Promise<T>,
): Promise<T> {
  await using manager = disposable(new PiscinaPullManager());
  const workload = workloadOf(records);
  await workload.load(manager.subject);
  return await use(manager.subject, workload);
}

/** Closes a subject when its block ends, however it ends. */
export function disposable<T extends { close(): Promise<void> }>(
  subject: T,
): { readonly subject: T } & AsyncDisposable {
  return { subject, [Symbol.asyncDispose]: () => subject.close() };
}
