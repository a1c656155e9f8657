/** Waits that end in a failure where something hangs. */
import { setTimeout as delay } from 'node:timers/promises';

/** Nothing that works comes near it, however busy the machine is; tests of what hangs set it. */
export const GUARD_MS: number = Number(process.env.PULLWARDEN_PROVE_GUARD_MS ?? 60_000);

/** Something took longer than anything that works: the engine is of no use any more. */
export class HangError extends Error {}

/** What `promise` gives; rejects with a `HangError` that names `what` if that takes too long. */
export async function inTime<T>(
  what: string,
  promise: Promise<T>,
  limitMs: number = GUARD_MS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HangError(`hangs: ${what}`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when the condition holds; rejects with `what` if that takes too long. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + GUARD_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new HangError(`never happened: ${what}`);
    await delay(2);
  }
}
