/**
 * The agent's log: JSON, a line an event.
 *
 * Nothing waits for who reads it: lines that nobody takes are dropped once there are too many.
 */
import type { Writable } from 'node:stream';
import { pino } from 'pino';
import type { Logger } from '../logger.ts';
import { within } from '../util/within.ts';

/** Least important level that is logged. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** A logger that can be ended. */
export interface AgentLog extends Logger {
  /** Waits until what was logged is written, for a moment. Never rejects. */
  flush(): Promise<void>;
}

const BUFFERED_BYTES_MAX = 1 << 20;
const FLUSH_LIMIT_MS = 1_000;

/**
 * Opens a log on a stream, which stays open.
 *
 * @param stream - Has to write without blocking, as the standard error does on pipes and sockets.
 */
export function openLog(level: LogLevel, stream: Writable): AgentLog {
  let dropped = 0;
  // A reader that has gone is no reason to end.
  stream.on('error', () => {});
  const write = (line: string): void => {
    if (stream.destroyed) return;
    if (stream.writableLength > BUFFERED_BYTES_MAX) dropped++;
    else stream.write(line);
  };
  const log = pino(
    { level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    { write },
  );
  stream.on('drain', () => {
    if (dropped === 0) return;
    log.warn({ count: dropped }, 'log lines were dropped: they were not read in time');
    dropped = 0;
  });
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
    flush: async () => {
      if (stream.destroyed) return;
      const written = new Promise<void>((resolve) => {
        stream.write('', () => resolve());
      });
      await within(FLUSH_LIMIT_MS, written);
    },
  };
}
