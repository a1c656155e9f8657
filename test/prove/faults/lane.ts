/** A process that runs lives of engines, one after another, as it is told. Started by `lanes.ts`. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { storeOptions } from '../../../src/accessors/store-location.ts';
import { type LifeFault, type LifeReport, live } from './life.ts';
import { switchboard } from './preload.ts';
import { makeSizesSmall } from './small-sizes.ts';

/** Stores whose calls can be made to fail in the process. */
export const STORES = ['journal', 'kubelet'] as const;
export type StoreKind = (typeof STORES)[number];

/** One life to be run. Goes to another process. */
export interface Job {
  readonly store: StoreKind;
  readonly workers: number;
  /** Undefined: nothing fails. */
  readonly fault: LifeFault | undefined;
}

/** How long after a fault an engine of these sizes may answer errors; the guard is generous. */
const PATIENCE_MS = 10_000;
/** A journal is well at once; the kubelet store looks at its directories, and writes files, in turn. */
const SETTLE_MS: Readonly<Record<StoreKind, number>> = { journal: 0, kubelet: 400 };

if (process.send !== undefined) serve(process.env.PULLWARDEN_FAULTS_BASE!);

function serve(base: string): void {
  makeSizesSmall();
  const unhandled: string[] = [];
  process.on('unhandledRejection', (reason) => {
    unhandled.push(`a rejection that nobody handles: ${String(reason)}`);
  });
  let count = 0;
  process.on('message', (job: Job) => {
    const directory = join(base, String(++count));
    runJob(job, directory).then(
      (report) => {
        report.problems.push(...unhandled.splice(0));
        // What went wrong stays to be looked at.
        if (report.problems.length === 0) rmSync(directory, { recursive: true, force: true });
        process.send!(report);
      },
      (error: unknown) => {
        process.send!({ broken: error instanceof Error ? (error.stack ?? error.message) : error });
      },
    );
  });
  process.once('disconnect', () => process.exit());
}

async function runJob({ store, workers, fault }: Job, directory: string): Promise<LifeReport> {
  mkdirSync(directory, { recursive: true });
  return live({
    switchboard,
    store: storeOptions(store, join(directory, 'store')),
    workerCount: workers,
    fault,
    patienceMs: PATIENCE_MS,
    settleMs: SETTLE_MS[store],
  });
}
