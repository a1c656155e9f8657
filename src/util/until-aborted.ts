/** Ends the wait for a promise, not what it stands for. */
import { abortListeners } from './abort-listeners.ts';

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
    const onAbort = (): void => {
      abortListeners.remove(signal, onAbort);
      reject(reasonOf(signal.reason));
    };
    abortListeners.add(signal, onAbort);
    if (signal.aborted) onAbort();
    promise.then(
      (value) => {
        abortListeners.remove(signal, onAbort);
        resolve(value);
      },
      (error: unknown) => {
        abortListeners.remove(signal, onAbort);
        reject(error);
      },
    );
  });
}
