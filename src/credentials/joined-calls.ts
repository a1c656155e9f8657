/** Equal calls that run at the same time are one. */
import { abortedError } from '../errors.ts';
import { untilAborted } from '../util/until-aborted.ts';

interface Running<T> {
  readonly answer: Promise<T>;
  readonly abort: AbortController;
  callers: number;
}

/** Calls by a key; while one runs, others with its key wait for its answer. */
export class JoinedCalls<T> {
  readonly #running = new Map<string, Running<T>>();

  /**
   * Starts a call, or joins the one that runs. A caller that aborts leaves at once; with the last one
   * the call's own signal is aborted.
   *
   * @throws What the call throws; `ABORTED`.
   */
  async run(
    key: string,
    start: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal | undefined,
    what: string,
  ): Promise<T> {
    if (signal?.aborted) throw abortedError(what, signal.reason);
    const running = this.#running.get(key) ?? this.#start(key, start);
    running.callers++;
    try {
      return await unlessAborted(running.answer, signal, what);
    } finally {
      running.callers--;
      if (running.callers === 0) this.#leave(key, running);
    }
  }

  #start(key: string, start: (signal: AbortSignal) => Promise<T>): Running<T> {
    const abort = new AbortController();
    const running: Running<T> = { answer: start(abort.signal), abort, callers: 0 };
    this.#running.set(key, running);
    return running;
  }

  #leave(key: string, running: Running<T>): void {
    // Nobody may join a call that is being aborted.
    if (this.#running.get(key) === running) this.#running.delete(key);
    running.abort.abort();
  }
}

/** Waits for `promise` unless the signal aborts first; then rejects with `ABORTED`. */
export function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  what: string,
): Promise<T> {
  if (signal === undefined) return promise;
  return untilAborted(promise, signal, (reason) => abortedError(what, reason));
}
