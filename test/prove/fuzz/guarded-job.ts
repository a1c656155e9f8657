/**
 * Does a job in a thread of its own, so that an input that hangs, or that takes all memory, ends the
 * thread and not the proof, and is known.
 */
import { Worker } from 'node:worker_threads';
import { Beat } from './beat.ts';
import { cpuMsOf } from './clock.ts';
import type { Found, Job, JobResult } from './job.ts';

export interface GuardOptions {
  /** The module that the thread runs. */
  readonly entry: URL;
  /**
   * How long one input may keep a processor busy; of waiting it may do several times as much.
   * Generous: nothing takes a tenth of it.
   */
  readonly hangMs: number;
  /** Of the thread's heap, in MiB: what is above it ends the thread. */
  readonly heapMiB: number;
}

const LOOKS_PER_HANG = 20;
const WAITS_PER_HANG = 4;

/** Never rejects: a thread that ends before it is done is something found. */
export function guardedJob(job: Job, { entry, hangMs, heapMiB }: GuardOptions): Promise<JobResult> {
  const beat = new Beat();
  return new Promise((resolve) => {
    const worker = new Worker(entry, {
      workerData: { ...job, beat: beat.memory },
      resourceLimits: { maxOldGenerationSizeMb: heapMiB },
      // What commands print is not the proof's.
      stdout: true,
      stderr: true,
    });
    let seen: number | undefined;
    let seenAtMs = performance.now();
    let seenCpuMs = 0;
    const timer = setInterval(() => {
      const { current } = beat;
      if (current === undefined || current !== seen) {
        seen = current;
        seenAtMs = performance.now();
        seenCpuMs = cpuMsOf(beat.kernelThread) ?? 0;
        return;
      }
      const waitedMs = performance.now() - seenAtMs;
      // On a machine that others use, time passes in which nothing is done.
      const busyMs = (cpuMsOf(beat.kernelThread) ?? waitedMs + seenCpuMs) - seenCpuMs;
      if (busyMs > hangMs || waitedMs > WAITS_PER_HANG * hangMs) {
        end(lost(job, `an input takes more than ${hangMs / 1_000} s`, '', beat));
      }
    }, hangMs / LOOKS_PER_HANG);
    const end = (result: JobResult): void => {
      clearInterval(timer);
      resolve(result);
      void worker.terminate();
    };
    worker.on('message', (result: JobResult) => end(result));
    worker.on('error', (error: Error & { code?: string }) => {
      const isMemory = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
      const what = isMemory
        ? `an input takes more than ${heapMiB} MiB`
        : `the thread died: ${error.message}`;
      end(lost(job, what, error.stack ?? '', beat));
    });
    worker.on('exit', (code) => end(lost(job, `the thread ended with ${code}`, '', beat)));
  });
}

function lost({ target }: Job, what: string, detail: string, beat: Beat): JobResult {
  const found: Found = { what, detail, input: beat.input };
  return {
    target,
    fedCount: 1,
    acceptedCount: 0,
    blockCount: 0,
    keptCount: 0,
    memoryBytesMax: 0,
    growth: [],
    found: [found],
  };
}
