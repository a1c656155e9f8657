/** An agent's life, from its start to the signal that ends it. */
import { once } from 'node:events';
import { Agent } from './agent.ts';
import { type AgentLog, openLog } from './log.ts';
import { describeUnknown } from './log-fields.ts';
import { openServices } from './open-services.ts';
import type { AgentServices } from './services.ts';
import type { AgentSettings } from './settings.ts';
import { notifySystemd } from './systemd.ts';

const FAILURE_EXIT_CODE = 1;
/** Whatever the agent makes is the owner's alone. */
const UMASK = 0o077;

/**
 * Runs an agent until `signal` is aborted, and then to an orderly end. Takes over the process: its
 * umask, its standard error, and what happens after an uncaught error.
 *
 * Errors: as `openServices` and `listenOn`; an abort is none.
 */
export async function runAgent(settings: AgentSettings, signal: AbortSignal): Promise<void> {
  process.umask(UMASK);
  const log = openLog(settings.logLevel, process.stderr);
  endOnUncaught(log);
  try {
    await serve(settings, log, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    log.info('stopped before it was ready');
  } finally {
    await log.flush();
  }
}

async function serve(settings: AgentSettings, log: AgentLog, signal: AbortSignal): Promise<void> {
  const { socket, drainMs, runtime } = settings;
  const services = await openServices(settings, log, signal);
  try {
    const agent = new Agent({ services, logger: log });
    await agent.listen(socket);
    log.info('ready', { socket, runtime: runtime.socket });
    await notifySystemd('READY=1', log);
    void warnOfUnrecorded(settings, services, log);
    if (!signal.aborted) await once(signal, 'abort');
    log.info('stopping');
    await Promise.all([agent.drain(drainMs), notifySystemd('STOPPING=1', log)]);
  } finally {
    await services.close();
    log.info('stopped');
  }
}

/** With an empty store, images that are there count as preloaded, and are everybody's. */
async function warnOfUnrecorded(
  { pullManager: { policy } }: AgentSettings,
  { pullManager, runtime }: AgentServices,
  log: AgentLog,
): Promise<void> {
  const { records, intents } = pullManager.stats();
  const kind = policy === undefined || !('kind' in policy) ? undefined : policy.kind;
  const exemptsPreloaded = policy === undefined || kind === 'NeverVerifyPreloadedImages';
  if (!exemptsPreloaded || records + intents > 0) return;
  const images = await runtime.listImages().catch(() => []);
  if (images.length === 0) return;
  const message =
    'nothing is recorded of the images on this node: they count as preloaded, and every pod may use them';
  log.warn(message, { images: images.length });
}

/** What is unknown must not go on; records survive it. Its text may have secrets in it. */
function endOnUncaught(log: AgentLog): void {
  const end = async (error: unknown): Promise<void> => {
    log.error('uncaught', { error: describeUnknown(error) });
    await log.flush();
    process.exit(FAILURE_EXIT_CODE);
  };
  process.on('uncaughtException', (error) => void end(error));
}
