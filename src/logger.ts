/** Where is reported what no caller is told. */
import { invalidArgument } from './errors.ts';

/** Where the engine reports what no caller is told. Never given a secret, hash or token. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** The given logger, or one that is silent. Errors: `INVALID_ARGUMENT`. */
export function resolveLogger(logger: Logger | undefined): Logger {
  if (logger === undefined) return SILENT;
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    if (typeof logger?.[level] !== 'function') {
      throw invalidArgument(`logger.${level}`, 'must be a function');
    }
  }
  return logger;
}
