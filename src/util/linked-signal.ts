/** One signal for several: `AbortSignal.any` keeps memory for as long as the longest-lived of them. */
import { abortListeners } from './abort-listeners.ts';

/** Aborted with the first of the signals that is; `unlink` ends that, and must be called. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  readonly unlink: () => void;
}

const NO_LINK = (): void => {};

/** Links two signals; `undefined` stands for one that is never aborted. */
export function linkedSignal(own: AbortSignal, given: AbortSignal | undefined): LinkedSignal {
  if (given === undefined) return { signal: own, unlink: NO_LINK };
  const controller = new AbortController();
  const links = [own, given].map((source) => {
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
