/**
 * Listings that have only what a lookup finds. A store may list a record that is not under its own
 * key, as the reference does: taken for what it says, damage would become a valid record elsewhere.
 */
import type { RecordListing } from '../accessors/accessor.ts';
import { errorCode, PULL_MANAGER_ERROR_CODES, PullManagerError, quote } from '../errors.ts';
import { compareUtf8, PulledRecord } from '../records/record.ts';
import type { RecordsReader } from './open-store.ts';

/**
 * Images of intents, and what is damaged, each problem once; in UTF-8 order.
 *
 * @throws the store's errors but `RECORD_CORRUPT`.
 */
export async function lookedUpIntents(reader: RecordsReader): Promise<RecordListing<string>> {
  const { records, errors } = await reader.listImagePullIntents();
  const images = records.map(({ image }) => image).sort(compareUtf8);
  return lookUpEach(images, errors, async (image) => {
    if (await reader.imagePullIntentExists(image)) return image;
    throw notFound('intent', image, { image });
  });
}

/** Pulled records, and what is damaged, each problem once; in UTF-8 order. Errors: as for intents. */
export async function lookedUpRecords(reader: RecordsReader): Promise<RecordListing<PulledRecord>> {
  const { records, errors } = await reader.listImagePulledRecords();
  const imageRefs = records.map(({ imageRef }) => imageRef).sort(compareUtf8);
  return lookUpEach(imageRefs, errors, async (imageRef) => {
    const found = await reader.getImagePulledRecord(imageRef);
    if (found !== undefined) return PulledRecord.from(found);
    throw notFound('record', imageRef, { imageRef });
  });
}

async function lookUpEach<T>(
  keys: readonly string[],
  listed: readonly PullManagerError[],
  lookUp: (key: string) => Promise<T>,
): Promise<RecordListing<T>> {
  const records: T[] = [];
  const errors = new Map(listed.map((error) => [error.message, error]));
  for (const key of keys) {
    try {
      records.push(await lookUp(key));
    } catch (cause) {
      if (!isDamage(cause)) throw cause;
      errors.set(cause.message, cause);
    }
  }
  return { records, errors: [...errors.values()] };
}

function notFound(
  what: string,
  key: string,
  about: { readonly image?: string; readonly imageRef?: string },
): PullManagerError {
  const reason = 'it is listed, but not found under its key';
  const message = `the ${what} ${quote(key)} is damaged: ${reason}`;
  return new PullManagerError('RECORD_CORRUPT', message, { ...about, reason });
}

function isDamage(error: unknown): error is PullManagerError {
  return errorCode(error) === PULL_MANAGER_ERROR_CODES.RECORD_CORRUPT;
}
