/** Opens what an agent is made of, in order, and closes it in the other. */

// The runtime loads them with its first call. Where that finds no file descriptor left, Node remembers
// the failure for ever.
import '@grpc/grpc-js';
import '@grpc/proto-loader';
import { access } from 'node:fs/promises';
import { CredentialLookup } from '../credentials/credential-lookup.ts';
import { invalidArgument, quote } from '../errors.ts';
import { ImageManager } from '../image-manager/image-manager.ts';
import type { ImageService } from '../images/image-service.ts';
import type { Logger } from '../logger.ts';
import { PullManager } from '../pull-manager.ts';
import { criRuntime } from '../runtime/cri/cri-runtime.ts';
import { recordTrace, type TraceRecording } from '../trace/record-trace.ts';
import { linkedSignal } from '../util/linked-signal.ts';
import { within } from '../util/within.ts';
import { logImageManager, pullManagerLog } from './event-log.ts';
import { describeUnknown } from './log-fields.ts';
import type { AgentServices } from './services.ts';
import type { AgentSettings } from './settings.ts';

/** Services that are to be closed. */
export interface OpenServices extends AgentServices {
  /** Never rejects, and ends. */
  close(): Promise<void>;
}

/** A runtime that hangs must not keep the agent from its start: left-over intents then stay. */
const RECONCILE_LIMIT_MS = 10_000;
/** More than the pull manager allows itself. */
const CLOSE_LIMIT_MS = 25_000;

/**
 * Opens runtime, records, image manager and look-up of credentials.
 *
 * Errors: as `criRuntime`, `CredentialLookup.open`, `PullManager.open` and `new ImageManager`; nothing
 * is left open then.
 */
export async function openServices(
  settings: AgentSettings,
  logger: Logger,
  signal: AbortSignal,
): Promise<OpenServices> {
  const closers: [name: string, close: () => Promise<void>][] = [];
  const close = async (): Promise<void> => {
    for (const [name, end] of closers.splice(0).toReversed()) await closeOne(name, end, logger);
  };
  try {
    const runtime = criRuntime(settings.runtime);
    closers.push(['runtime', () => runtime.close()]);
    await refuseMissing(settings.credentials.nodeConfigFiles ?? []);
    const lookup = await CredentialLookup.open({ ...settings.credentials, logger }, signal);
    closers.push(['credentials', () => lookup.close()]);
    const opened = await openPullManager(settings, runtime, logger, signal);
    closers.push(['records', () => opened.close()]);
    const recording = await beginRecording(opened, settings.record, logger);
    if (recording !== undefined) closers.push(['trace', () => recording.close()]);
    const pullManager = recording?.manager ?? opened;
    const imageManager = new ImageManager({
      ...settings.imageManager,
      pullManager,
      runtime,
      logger,
    });
    closers.push(['image manager', () => imageManager.close()]);
    logImageManager(imageManager, logger);
    return { runtime, lookup, pullManager, imageManager, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openPullManager(
  { pullManager }: AgentSettings,
  runtime: ImageService,
  logger: Logger,
  signal: AbortSignal,
): Promise<PullManager> {
  // Not the signal itself: an open manager would close on it, and requests are to be finished first.
  const opening = new AbortController();
  const onAbort = (): void => opening.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  const imageService: ImageService = {
    async listImages(given) {
      const limited = linkedSignal(AbortSignal.timeout(RECONCILE_LIMIT_MS), given);
      try {
        return await runtime.listImages(limited.signal);
      } finally {
        limited.unlink();
      }
    },
  };
  try {
    return await PullManager.open({
      ...pullManager,
      imageService,
      listeners: pullManagerLog(logger),
      logger,
      signal: opening.signal,
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** A node without its agent is worse than one without a trace: what fails here is only logged. */
async function beginRecording(
  pullManager: PullManager,
  path: string | undefined,
  logger: Logger,
): Promise<TraceRecording<PullManager> | undefined> {
  if (path === undefined) return undefined;
  try {
    const recording = await recordTrace(pullManager, { path, logger });
    logger.info('a trace is being recorded', { path });
    return recording;
  } catch (error) {
    logger.error('no trace is recorded', { path, error: describeUnknown(error) });
    return undefined;
  }
}

async function closeOne(name: string, close: () => Promise<void>, logger: Logger): Promise<void> {
  try {
    if (await within(CLOSE_LIMIT_MS, close())) return;
    logger.error('something did not close in time', { name });
  } catch (error) {
    logger.error('something could not be closed', { name, error: describeUnknown(error) });
  }
}

/** A file that is named on purpose has to be there: without it, pulls would be anonymous. */
async function refuseMissing(nodeConfigFiles: readonly string[]): Promise<void> {
  for (const file of nodeConfigFiles) {
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (!isThere) throw invalidArgument('nodeConfigFiles', `cannot be read: ${quote(file)}`);
  }
}
