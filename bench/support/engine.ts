/** The engine, opened and loaded for a measurement. */
import { join } from 'node:path';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import type { DecisionRequest } from '../../src/engine/decider.ts';
import { defaultWorkerCount } from '../../src/options.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { workloadOf } from '../baselines/measurements.ts';
import type { ClosedLoopOptions } from './closed-loop.ts';
import { type BenchContext, settleDisk } from './topic.ts';
import type { Workload } from './workload.ts';

export type StoreKind = 'journal' | 'lmdb' | 'memory' | 'kubelet';

/** Which engine to measure. */
export interface EngineOptions {
  /** @default 'journal' */
  readonly store?: StoreKind;
  /** @default what `PullManager.open` takes when nothing is said */
  readonly workerCount?: number;
}

const REQUESTS_PER_BATCH = 4096;

/** What the column "subject" says. */
export function subjectOf(options: EngineOptions = {}): string {
  const { store = 'journal', workerCount = defaultWorkerCount() } = options;
  if (workerCount === 0) return `${store}, calling thread`;
  return `${store}, ${workerCount} ${workerCount === 1 ? 'worker' : 'workers'}`;
}

/** Where a store of that kind is below `directory`. */
function storeOptions(directory: string, kind: StoreKind): StoreOptions {
  if (kind === 'memory') return { kind };
  const path = join(directory, kind);
  return kind === 'kubelet' ? { kind, dir: path } : { kind, path };
}

/** Opens an engine on what is in `directory`; stores of different kinds do not meet there. */
export function openEngine(directory: string, options: EngineOptions = {}): Promise<PullManager> {
  const { store: kind = 'journal', workerCount } = options;
  return PullManager.open({
    store: storeOptions(directory, kind),
    ...(workerCount === undefined ? {} : { workerCount }),
  });
}

/** Runs `use` on a new engine that holds the workload of so many records. */
export function onEngine<T>(
  context: BenchContext,
  options: EngineOptions & { readonly records?: number },
  use: (manager: PullManager, workload: Workload) => Promise<T>,
): Promise<T> {
  return context.inDirectory(async (directory) => {
    const workload = workloadOf(options.records ?? 0);
    await using manager = await openEngine(directory, options);
    await workload.load(manager);
    settleDisk();
    return await use(manager, workload);
  });
}

/** Decides on every image once, so that the replica knows it; checks every answer. */
export async function decideAll(manager: PullManager, workload: Workload): Promise<void> {
  const { images } = workload;
  for (let first = 0; first < images.length; first += REQUESTS_PER_BATCH) {
    const requests: DecisionRequest[] = [];
    for (const image of images.slice(first, first + REQUESTS_PER_BATCH)) {
      const credentials = workload.podOf(image, false);
      requests.push({ image: image.image, imageRef: image.imageRef, credentials });
    }
    const decisions = await manager.decideBatch(requests);
    for (const [i, { mustPull, detail }] of decisions.entries()) {
      if (mustPull) throw new Error(`wrong answer for ${requests[i]!.image}: ${detail}`);
    }
  }
}

/** Options of a closed loop in this run. */
export function loopOf(
  context: BenchContext,
  callers: number,
  operations: number,
): ClosedLoopOptions {
  return { callers, operations: context.scaled(operations), samples: context.samples };
}
