/** Writes down what happens: chosen fields of events, so that nothing else can get into the log. */
import type { EventListeners } from '../events/emitter.ts';
import type { PullManagerEvents } from '../events/messages.ts';
import type { ImageManager } from '../image-manager/image-manager.ts';
import type { Logger } from '../logger.ts';
import { toldOf } from './error-answer.ts';

type Fields = Record<string, unknown>;

/** Listeners for `PullManager.open`. */
export function pullManagerLog(logger: Logger): EventListeners<PullManagerEvents> {
  return {
    decision: ({ image, imageRef, decision: { mustPull, reason } }) =>
      logger.debug('decision', { image, imageRef, mustPull, reason }),
    prune: ({ result, durationMs, error }) =>
      logger.debug('pruned', { ...counts(result), ...ending(durationMs, error) }),
    reconcile: ({ foundCount, adopted, failureCount, durationMs }) =>
      logger[foundCount === 0 && failureCount === 0 ? 'debug' : 'info']('reconciled', {
        foundCount,
        adoptedCount: adopted.length,
        failureCount,
        ...ending(durationMs),
      }),
  };
}

/** Logs what an image manager does. */
export function logImageManager(imageManager: Pick<ImageManager, 'on'>, logger: Logger): void {
  imageManager.on('ensure', (message) => {
    const { image, podUid, pullPolicy, imageRef, pulled, durationMs, error } = message;
    const fields: Fields = { image, podUid, pullPolicy, imageRef, pulled };
    logger.info('ensure', { ...fields, ...ending(durationMs, error) });
  });
  imageManager.on('pullStarted', ({ image, podUid, credentialCount }) =>
    logger.info('pull started', { image, podUid, credentialCount }),
  );
  imageManager.on('pullFinished', (message) => {
    const { image, podUid, imageRef, credentialKind, callerCount, durationMs } = message;
    const fields: Fields = { image, podUid, imageRef, credentialKind, callerCount };
    logger.info('pull finished', { ...fields, ...ending(durationMs) });
  });
  imageManager.on('pullFailed', (message) => {
    const { image, podUid, answered, callerCount, durationMs, error } = message;
    const fields: Fields = { image, podUid, answered, callerCount };
    logger.warn('pull failed', { ...fields, ...ending(durationMs, error) });
  });
  imageManager.on('unansweredPullSettled', ({ image, became, durationMs }) =>
    logger.info('unanswered pull settled', { image, became, ...ending(durationMs) }),
  );
  imageManager.on('collect', ({ periodic, imageCount, result, durationMs, error }) => {
    const fields: Fields = { periodic, imageCount, ...counts(result) };
    logger.info('collected', { ...fields, ...ending(durationMs, error) });
  });
}

function counts(result: { pruned: number; kept: number; errors: unknown[] } | undefined): Fields {
  if (result === undefined) return {};
  return { pruned: result.pruned, kept: result.kept, failureCount: result.errors.length };
}

function ending(durationMs: number, error?: Error): Fields {
  const took = { durationMs: Math.round(durationMs) };
  return error === undefined ? took : { ...took, error: toldOf(error) };
}
