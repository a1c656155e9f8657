/** One signal for several: `AbortSignal.any` keeps memory for as long as the longest-lived of them. */

/** Aborted with the first of the signals that is; `unlink` ends that, and must be called. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  readonly unlink: () => void;
}

/** Links signals; `undefined` stands for one that is never aborted. */
export function linkedSignal(...signals: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const sources = signals.filter((signal) => signal !== undefined);
  if (sources.length === 1) return { signal: sources[0]!, unlink() {} };
  const controller = new AbortController();
  const onAbort = (event: Event): void => controller.abort((event.target as AbortSignal).reason);
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason);
    source.addEventListener('abort', onAbort, { once: true });
  }
  return {
    signal: controller.signal,
    unlink() {
      for (const source of sources) source.removeEventListener('abort', onAbort);
    },
  };
}
