/** Ends the wait for a promise, not what it stands for. */

/**
 * What `promise` gives, or a rejection with what `reasonOf` makes of the signal's reason as soon as
 * the signal is aborted. The promise is then left to itself, and its rejection is no unhandled one.
 */
export function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  reasonOf: (reason: unknown) => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(reasonOf(signal.reason));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
