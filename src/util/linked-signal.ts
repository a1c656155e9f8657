/** One signal for several: `AbortSignal.any` keeps memory for as long as the longest-lived of them. */
import { abortListeners } from './abort-listeners.ts';

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
  const links = sources.map((source) => {
    const action = (): void => controller.abort(source.reason);
    if (source.aborted) action();
    else abortListeners.add(source, action);
    return { source, action };
  });
  return {
    signal: controller.signal,
    unlink() {
      for (const { source, action } of links) abortListeners.remove(source, action);
    },
  };
}
