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

/** State of a service, in systemd's words; `STATUS` is what `systemctl status` shows. */
export type ServiceState = 'READY=1' | 'STOPPING=1' | `STATUS=${string}`;

/** Does nothing where nobody asked to be told. Never rejects. */
export async function notifySystemd(
  states: readonly ServiceState[],
  logger: Logger,
): Promise<void> {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const error = await new Promise<Error | null>((resolve) => {
    execFile(PROGRAM, states, { timeout: LIMIT_MS, killSignal: 'SIGKILL' }, resolve);
  });
  if (error === null) return;
  logger.warn('systemd could not be told', { states, code: errorCode(error) });
}
