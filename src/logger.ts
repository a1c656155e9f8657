/** Where is reported what no caller is told. */
import { invalidArgument } from './errors.ts';

/** Where the engine reports what no caller is told. Never given a secret, hash or token. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** The given logger, whose own failures go no further, or a silent one. Errors: `INVALID_ARGUMENT`. */
export function resolveLogger(logger: Logger | undefined): Logger {
  if (logger === undefined) return SILENT;
  for (const level of LEVELS) {
    if (typeof logger?.[level] !== 'function') {
      throw invalidArgument(`logger.${level}`, 'must be a function');
    }
  }
  return {
    debug: guarded(logger, 'debug'),
    info: guarded(logger, 'info'),
    warn: guarded(logger, 'warn'),
    error: guarded(logger, 'error'),
  };
}

/** Who reports a failure must not fail of that. */
function guarded(logger: Logger, level: keyof Logger): Logger[typeof level] {
  return (...line) => {
    try {
      const answer: unknown = logger[level](...line);
      Promise.resolve(answer).catch(() => {});
    } catch {
      // There is nobody else to tell.
    }
  };
}
