/** An agent's life, from its start to the signal that ends it. */
import { once } from 'node:events';
import { Agent } from './agent.ts';
import { type AgentLog, openLog } from './log.ts';
import { describeUnknown } from './log-fields.ts';
import { openServices } from './open-services.ts';
import type { RuntimeWatch } from './runtime-watch.ts';
import type { AgentServices } from './services.ts';
import type { AgentSettings } from './settings.ts';
import { notifySystemd } from './systemd.ts';
import { socketPathOf } from './unix-socket.ts';

const FAILURE_EXIT_CODE = 1;
/** Whatever the agent makes is the owner's alone. */
const UMASK = 0o077;

/**
 * Runs an agent until `signal` is aborted, and then to an orderly end. Takes over the process: its
 * umask, its standard error, and what happens after an uncaught error.
 *
 * Errors: as `openServices` and `listenOn`; an abort is none. That the runtime cannot be reached is none
 * either: it is logged, and watched for.
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
  // Before anything is opened or made.
  socketPathOf(socket);
  const services = await openServices(settings, log, signal);
  const ended = signal.aborted ? Promise.resolve() : once(signal, 'abort');
  try {
    let isUnrecorded = beginsUnrecorded(settings, services);
    let isAnnounced = false;
    const onRuntimeChange = ({ state, description }: RuntimeWatch): void => {
      if (isAnnounced) void notifySystemd([`STATUS=${description}`], log);
      if (state !== 'reachable' || !isUnrecorded) return;
      isUnrecorded = false;
      void warnOfUnrecorded(services, log);
    };
    const agent = new Agent({ services, logger: log, onRuntimeChange });
    await agent.listen(socket);
    await Promise.race([agent.runtime.start(), ended]);
    const isReady = agent.runtime.state === 'reachable';
    log.info(isReady ? 'ready' : 'serving, but not ready', { socket, runtime: runtime.socket });
    // Whether or not the runtime is there: it may be started after the agent, and even wait for it.
    isAnnounced = true;
    await notifySystemd(['READY=1', `STATUS=${agent.runtime.description}`], log);
    await ended;
    log.info('stopping');
    await Promise.all([agent.drain(drainMs), notifySystemd(['STOPPING=1'], log)]);
  } finally {
    await services.close();
    log.info('stopped');
  }
}

/** With an empty store, images that are there count as preloaded, and are everybody's. */
function beginsUnrecorded(
  { pullManager: { policy } }: AgentSettings,
  { pullManager }: AgentServices,
): boolean {
  const { records, intents } = pullManager.stats();
  const kind = policy === undefined || !('kind' in policy) ? undefined : policy.kind;
  const exemptsPreloaded = policy === undefined || kind === 'NeverVerifyPreloadedImages';
  return exemptsPreloaded && records + intents === 0;
}

async function warnOfUnrecorded({ runtime }: AgentServices, log: AgentLog): Promise<void> {
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
