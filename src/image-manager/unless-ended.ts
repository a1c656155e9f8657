/** The waits of a request: its caller, and the closing of the image manager, end them at once. */
import { abortedError, PULL_MANAGER_ERROR_CODES, PullManagerError } from '../errors.ts';
import { untilAborted } from '../util/until-aborted.ts';

/** What `call` gives, or `ABORTED` or `CLOSED` as soon as the signal is aborted. */
export async function unlessEnded<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw endReason(signal.reason);
  return untilAborted(call(), signal, endReason);
}

/** The error for a signal's reason: `CLOSED` where the image manager was closed, else `ABORTED`. */
export function endReason(reason: unknown): PullManagerError {
  const isClosed =
    reason instanceof PullManagerError && reason.code === PULL_MANAGER_ERROR_CODES.CLOSED;
  return isClosed ? reason : abortedError('the request for an image', reason);
}
