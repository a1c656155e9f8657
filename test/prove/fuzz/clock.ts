/** How much time a thread has used, on a machine that others use too. */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

const NS_PER_MS = 1e6;
/** Kernels count in ticks of up to 4 ms: for less, the clock on the wall is the better one. */
const WALL_MS_MAX = 20;

/** Runs something; gives the milliseconds that this thread took for it, without those of others. */
export async function timed(run: () => unknown): Promise<number> {
  const cpuBeforeMs = cpuMsOf('self');
  const startedAtMs = performance.now();
  await run();
  const wallMs = performance.now() - startedAtMs;
  if (wallMs <= WALL_MS_MAX || cpuBeforeMs === undefined) return wallMs;
  return Math.min(wallMs, cpuMsOf('self')! - cpuBeforeMs);
}

/** The number that the kernel has for this thread; 0 where it is not Linux. */
export function kernelThreadId(): number {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')));
  } catch {
    return 0;
  }
}

/** Milliseconds for which a thread of this process was on a processor; undefined where none can say. */
export function cpuMsOf(kernelThread: number | 'self'): number | undefined {
  try {
    const thread = kernelThread === 'self' ? 'thread-self' : `self/task/${kernelThread}`;
    // Nanoseconds are the first of three numbers.
    return Number.parseInt(readFileSync(`/proc/${thread}/schedstat`, 'utf8'), 10) / NS_PER_MS;
  } catch {
    return undefined;
  }
}
