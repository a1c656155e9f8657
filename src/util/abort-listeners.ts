/**
 * What many calls do when their signals are aborted, with one listener a signal.
 *
 * Callers share signals between calls, and Node warns of a leak at the eleventh listener on one.
 */
class AbortListeners {
  /** A signal that nobody has any more takes its actions with it. */
  readonly #actionsOf = new WeakMap<AbortSignal, Set<() => void>>();

  /** Runs `action` when the signal is aborted, unless it is removed before. */
  add(signal: AbortSignal, action: () => void): void {
    const actions = this.#actionsOf.get(signal);
    if (actions !== undefined) {
      actions.add(action);
      return;
    }
    this.#actionsOf.set(signal, new Set([action]));
    signal.addEventListener('abort', this.#onAbort);
  }

  remove(signal: AbortSignal, action: () => void): void {
    const actions = this.#actionsOf.get(signal);
    if (actions?.delete(action) !== true || actions.size > 0) return;
    this.#actionsOf.delete(signal);
    signal.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => {
    for (const action of this.#actionsOf.get(event.target as AbortSignal) ?? []) action();
  };
}

/** Those of this thread. */
export const abortListeners: AbortListeners = new AbortListeners();
