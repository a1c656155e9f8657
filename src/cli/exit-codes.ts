/** Exit codes of every command. */
export const EXIT = {
  /** Ran, and everything held. */
  PASSED: 0,
  /** Could not run, or not to the end. */
  FAILED: 1,
  /** Called in a wrong way. */
  USAGE: 2,
  /** The answer is "must pull", where an exit code was asked for. */
  MUST_PULL: 3,
  /** A threshold was crossed, or a wrong answer seen. */
  CROSSED: 99,
  /** Ended by Ctrl-C. */
  INTERRUPTED: 130,
} as const;

/** One of `EXIT`. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
