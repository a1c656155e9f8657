/** Ctrl-C: ends what is under way in an orderly manner, and the second time at once. */
import { EXIT, type ExitCode } from './exit-codes.ts';

/** Also of a terminal that closes: what there is until then must not be lost, nor half of it left. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * The exit code of `work`, whose signal Ctrl-C aborts; 130 where it was interrupted, unless it failed
 * for another reason. The second Ctrl-C ends the process at once.
 *
 * @param isService - Whether the signal is the usual end of the work: its exit code then counts.
 */
export async function interruptible(
  work: (signal: AbortSignal) => Promise<ExitCode>,
  isService = false,
): Promise<ExitCode> {
  const controller = new AbortController();
  const { signal } = controller;
  const interrupt = (): void => {
    if (signal.aborted) process.exit(EXIT.INTERRUPTED);
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, interrupt);
  try {
    const code = await work(signal);
    return signal.aborted && !isService ? EXIT.INTERRUPTED : code;
  } catch (error) {
    if (!signal.aborted || !isAbortion(error)) throw error;
    process.stderr.write('pullwarden: interrupted\n');
    return EXIT.INTERRUPTED;
  } finally {
    for (const name of SIGNALS) process.removeListener(name, interrupt);
  }
}

/** Whether an error, or what it was caused by, says no more than that the signal aborted. */
function isAbortion(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.name === 'AbortError') return true;
  }
  return false;
}
