/** Ctrl-C: ends what is under way in an orderly manner, and the second time at once. */
import { EXIT, type ExitCode } from './exit-codes.ts';

/** Gives a signal that Ctrl-C aborts. The second Ctrl-C ends the process at once. */
export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(EXIT.INTERRUPTED);
    controller.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    return await work(controller.signal);
  } finally {
    process.removeListener('SIGINT', interrupt);
    process.removeListener('SIGTERM', interrupt);
  }
}

/** The exit code of `work`; 130 where it was interrupted, whatever came of it. */
export function interruptible(work: (signal: AbortSignal) => Promise<ExitCode>): Promise<ExitCode> {
  return withInterrupt(async (signal) => {
    try {
      const code = await work(signal);
      return signal.aborted ? EXIT.INTERRUPTED : code;
    } catch (error) {
      if (!signal.aborted) throw error;
      process.stderr.write('pullwarden: interrupted\n');
      return EXIT.INTERRUPTED;
    }
  });
}
