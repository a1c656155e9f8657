/**
 * Tells systemd what the agent is up to, where it asked to be told (`Type=notify`).
 *
 * Node has no datagram sockets of the unix kind, so it is the `systemd-notify` program that says it.
 */
import { execFile } from 'node:child_process';
import { errorCode } from '../errors.ts';
import type { Logger } from '../logger.ts';

const PROGRAM = 'systemd-notify';
const LIMIT_MS = 5_000;

/** State of a service, in systemd's words. */
export type ServiceState = 'READY=1' | 'STOPPING=1';

/** Does nothing where nobody asked to be told. Never rejects. */
export async function notifySystemd(state: ServiceState, logger: Logger): Promise<void> {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const error = await new Promise<Error | null>((resolve) => {
    execFile(PROGRAM, [state], { timeout: LIMIT_MS, killSignal: 'SIGKILL' }, resolve);
  });
  if (error === null) return;
  logger.warn('systemd could not be told', { state, code: errorCode(error) });
}
