/** Decisions asked for by people: by the real decision code, on a store that stays as it is. */
import type { Decision } from '../engine/decision.ts';
import { errorCode, PULL_MANAGER_ERROR_CODES, toWire } from '../errors.ts';
import type { PullManagerOptions } from '../options.ts';
import { PullManager } from '../pull-manager.ts';
import { type PodCredentials, PulledRecord } from '../records/record.ts';
import { type RecordsReader, withReader } from './open-store.ts';
import type { Damage, Snapshot } from './snapshot-store.ts';
import type { StoreChoice } from './store-choice.ts';

/** One question, and how the engine that answers it is set up. */
export interface Question extends Pick<PullManagerOptions, 'rotatedSecrets' | 'reverifyAfter'> {
  readonly image: string;
  readonly imageRef: string;
  readonly credentials: PodCredentials;
  readonly policy: NonNullable<PullManagerOptions['policy']>;
}

/**
 * What an engine on the store would decide.
 *
 * Reads the one record and the one intent that matter, closes the store, and lets a `PullManager`
 * decide on the copy: a match that an engine would record is not recorded.
 *
 * Errors: as `withReader` and `PullManager.open`.
 */
export async function explainDecision(choice: StoreChoice, question: Question): Promise<Decision> {
  const { image, imageRef, credentials, ...settings } = question;
  const snapshot = await withReader(choice, (reader) => takeSnapshot(reader, image, imageRef));
  const manager = await PullManager.open({
    ...settings,
    store: { module: snapshotModule(), options: snapshot },
    compatibility: choice.compatibility,
    workerCount: 0,
  });
  try {
    return await manager.decide(image, imageRef, credentials);
  } finally {
    await manager.close();
  }
}

/** The same file from a checkout and from the build. */
function snapshotModule(): URL {
  const isBuilt = import.meta.url.endsWith('.js');
  return isBuilt
    ? new URL('./snapshot-store.js', import.meta.url)
    : new URL('./snapshot-store.ts', import.meta.url);
}

async function takeSnapshot(
  reader: RecordsReader,
  image: string,
  imageRef: string,
): Promise<Snapshot> {
  const pulled = await orDamage(async () => {
    const record = await reader.getImagePulledRecord(imageRef);
    return record && PulledRecord.from(record).toPlain();
  });
  const intent = await orDamage(async () => reader.imagePullIntentExists(image));
  return { image, imageRef, intent, pulled };
}

/** Damage to one entry is part of the question; a store that fails is not. */
async function orDamage<T>(read: () => Promise<T>): Promise<T | Damage> {
  try {
    return await read();
  } catch (error) {
    if (errorCode(error) !== PULL_MANAGER_ERROR_CODES.RECORD_CORRUPT) throw error;
    return { error: toWire(error) };
  }
}
