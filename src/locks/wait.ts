/**
 * Waiting on a word of shared memory: the only place of `locks/` that sleeps.
 *
 * Both forms read the word again after every wake-up and sleep in slices of at most
 * `WAIT_SLICE_MS`, so a lost notify costs that much time and never liveness. Whoever changes the
 * word should call `Atomics.notify`; a change without it is seen at the end of the slice.
 */

/** Longest uninterrupted sleep, in milliseconds. */
export const WAIT_SLICE_MS = 50;

/** How a blocking wait ended: `changed` means that the word was read and differs. */
export type WaitOutcome = 'changed' | 'timed-out';

/** How an asynchronous wait ended. */
export type AsyncWaitOutcome = WaitOutcome | 'aborted';

/**
 * Blocks the thread while `words[index]` is `value`, for at most `timeoutMs`.
 *
 * Returns at once if the word differs already or `timeoutMs` is 0 or less. May be called on the
 * main thread too, which then runs no callbacks meanwhile. A word that changes and changes back
 * between two looks counts as unchanged.
 *
 * @param words on a SharedArrayBuffer
 * @param timeoutMs milliseconds, `Infinity` allowed
 */
export function waitWhileEqual(
  words: Int32Array,
  index: number,
  value: number,
  timeoutMs: number,
): WaitOutcome {
  if (Atomics.load(words, index) !== value) return 'changed';
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const remainingMs = deadline - performance.now();
    if (!(remainingMs > 0)) return 'timed-out';
    Atomics.wait(words, index, value, Math.min(WAIT_SLICE_MS, remainingMs));
    if (Atomics.load(words, index) !== value) return 'changed';
  }
}

/**
 * Waits while `words[index]` is `value`, for at most `timeoutMs`, without blocking the event loop.
 *
 * Keeps the process alive until it settles, never rejects, and never ends before its time. A signal
 * that is or becomes aborted ends it with `aborted`. A wake-up that reaches the wait after its
 * abort is passed on to the next sleeper of the word.
 *
 * @param words on a SharedArrayBuffer
 * @param timeoutMs milliseconds, `Infinity` allowed
 */
export function waitWhileEqualAsync(
  words: Int32Array,
  index: number,
  value: number,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<AsyncWaitOutcome> {
  if (signal?.aborted === true) return Promise.resolve('aborted');
  if (Atomics.load(words, index) !== value) return Promise.resolve('changed');
  const deadline = performance.now() + timeoutMs;
  return new Promise((resolve) => {
    let settled = false;
    const settle = (outcome: AsyncWaitOutcome): void => {
      if (settled) return;
      settled = true;
      signal?.removeEventListener('abort', onAbort);
      releaseEventLoop();
      resolve(outcome);
    };
    const onAbort = (): void => settle('aborted');
    const onWake = (result: 'ok' | 'timed-out'): void => {
      // A waitAsync cannot be cancelled: after an abort its entry stays in the queue to the end of
      // the slice, and a notify that picks it would otherwise be lost for those behind it.
      if (!settled) sleep();
      else if (result === 'ok') Atomics.notify(words, index, 1);
    };
    const sleep = (): void => {
      // The deadline is our own: waitAsync may report its timeout a millisecond or two early.
      while (Atomics.load(words, index) === value) {
        const remainingMs = deadline - performance.now();
        if (!(remainingMs > 0)) {
          settle('timed-out');
          return;
        }
        const sliceMs = Math.min(WAIT_SLICE_MS, Math.ceil(remainingMs));
        const wait = Atomics.waitAsync(words, index, value, sliceMs);
        if (wait.async) {
          void wait.value.then(onWake);
          return;
        }
      }
      settle('changed');
    };
    holdEventLoop();
    signal?.addEventListener('abort', onAbort, { once: true });
    sleep();
  });
}

// A pending waitAsync does not keep the event loop alive. One timer per thread does it for all.
const KEEP_ALIVE_PERIOD_MS = 2 ** 30;
let keepAlive: NodeJS.Timeout | undefined;
let waitsPending = 0;

function holdEventLoop(): void {
  waitsPending++;
  if (waitsPending > 1) return;
  if (keepAlive === undefined) keepAlive = setInterval(() => {}, KEEP_ALIVE_PERIOD_MS);
  else keepAlive.ref();
}

function releaseEventLoop(): void {
  waitsPending--;
  if (waitsPending === 0) keepAlive?.unref();
}
