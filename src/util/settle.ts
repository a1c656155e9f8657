/** Answers that come at once or as a promise, handled by one piece of code. */

/**
 * Runs `run` and hands its answer to `onAnswer`; what either throws or rejects with goes to
 * `onError`. An answer that comes at once is handled at once.
 */
export function settle<T, R>(
  run: () => T | Promise<T>,
  onAnswer: (answer: T) => R,
  onError: (cause: unknown) => never,
): R | Promise<R> {
  try {
    const answer = run();
    if (!isThenable(answer)) return onAnswer(answer);
    return Promise.resolve(answer).then(onAnswer).catch(onError);
  } catch (cause) {
    return onError(cause);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  const isObject = typeof value === 'object' && value !== null;
  return isObject && typeof (value as { then?: unknown }).then === 'function';
}
