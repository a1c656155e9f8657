/** Waits that end in a failure where something hangs. */
import { setTimeout as delay } from 'node:timers/promises';

/** Nothing that works comes near it, however busy the machine is; tests of what hangs set it. */
export const GUARD_MS: number = Number(process.env.PULLWARDEN_PROVE_GUARD_MS ?? 60_000);

/** What `promise` gives; rejects with `what` if that takes too long. */
export async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  const guard = new AbortController();
  const late = delay(GUARD_MS, undefined, { signal: guard.signal }).then(() => {
    throw new Error(`hangs: ${what}`);
  });
  // Ended by the abort below.
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    guard.abort();
  }
}

/** Resolves when the condition holds; rejects with `what` if that takes too long. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + GUARD_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await delay(2);
  }
}
