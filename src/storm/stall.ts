/** An operation that is never answered ends a storm, and does not keep it for ever. */
import { PullManagerError } from '../errors.ts';

/** An engine that answers nothing for so long, with operations under way, counts as hung. */
const STALL_LOOKS = 60;
/** Looks are counted, and not time: a machine that slept has not stalled. */
const LOOK_INTERVAL_MS = 1_000;

/**
 * Waits for `work`. Rejects with `LOCK_TIMEOUT` where nothing moves for a minute.
 *
 * @param moved What changes with everything that is answered; undefined while nothing is under way.
 */
export async function unlessStalled<T>(
  work: Promise<T>,
  moved: () => number | undefined,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_, reject) => {
    let last: number | undefined;
    let looks = 0;
    timer = setInterval(() => {
      const now = moved();
      looks = now === undefined || now !== last ? 0 : looks + 1;
      last = now;
      if (looks >= STALL_LOOKS) reject(new StallError());
    }, LOOK_INTERVAL_MS);
  });
  try {
    return await Promise.race([work, stalled]);
  } finally {
    clearInterval(timer);
  }
}

/** Operations are under way, and none of them is answered. */
export class StallError extends PullManagerError {
  constructor() {
    const timeoutMs = STALL_LOOKS * LOOK_INTERVAL_MS;
    const problem = `the engine hangs: nothing was answered for ${timeoutMs / 1_000} s`;
    super('LOCK_TIMEOUT', problem, { timeoutMs });
  }
}
