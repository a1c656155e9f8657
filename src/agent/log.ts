/**
 * The agent's log: JSON, a line an event, on a file descriptor.
 *
 * Nothing waits for who reads it: lines that nobody takes are dropped once there are too many.
 */
import { pino } from 'pino';
import type { Logger } from '../options.ts';
import { within } from '../util/within.ts';

/** Least important level that is logged. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** All levels, from the most to the least talkative. */
export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

/** A logger that can be ended. */
export interface AgentLog extends Logger {
  /** Waits until what was logged is written, for a moment. Never rejects. */
  flush(): Promise<void>;
}

const BUFFERED_BYTES_MAX = 1 << 20;
const FLUSH_LIMIT_MS = 1_000;

/** Opens a log on a file descriptor, which stays open. */
export function openLog(level: LogLevel, fd: number): AgentLog {
  const destination = pino.destination({
    fd,
    // Synchronous writes would stop the agent when a pipe is full.
    sync: false,
    maxLength: BUFFERED_BYTES_MAX,
  });
  // A reader that has gone is no reason to end.
  destination.on('error', () => {});
  const log = pino(
    { level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  );
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
    flush: async () => {
      const flushed = new Promise<void>((resolve) => {
        destination.flush(() => resolve());
      });
      await within(FLUSH_LIMIT_MS, flushed);
    },
  };
}
