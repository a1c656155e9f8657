/** The user's own store looked through: it shows nothing but its listings. */
import type { Finding } from '../accessors/inspection.ts';
import type { PullManagerError } from '../errors.ts';
import type { RecordsReader } from './open-store.ts';

/**
 * What is listed, each record also looked up by its key.
 *
 * @param location - of everything: where a module keeps what is its own matter.
 */
export async function* inspectListings(
  reader: RecordsReader,
  location: string,
): AsyncGenerator<Finding> {
  const intents = await reader.listImagePullIntents();
  for (const { image } of intents.records) {
    yield { kind: 'intent', verdict: 'valid', location, key: image };
  }
  for (const error of intents.errors) yield unreadable('intent', error, location);
  const pulled = await reader.listImagePulledRecords();
  for (const { imageRef } of pulled.records) {
    yield { kind: 'pulled', location, key: imageRef, ...(await lookUp(reader, imageRef)) };
  }
  for (const error of pulled.errors) yield unreadable('pulled', error, location);
}

/** What comes of asking for a listed record by its key. */
async function lookUp(
  reader: RecordsReader,
  imageRef: string,
): Promise<Pick<Finding, 'verdict' | 'reason'>> {
  try {
    const record = await reader.getImagePulledRecord(imageRef);
    if (record !== undefined) return { verdict: 'valid' };
    return { verdict: 'misfiled', reason: 'it is listed, but not found under its imageRef' };
  } catch (error) {
    const { reason, message } = error as PullManagerError;
    return { verdict: 'undecodable', reason: reason ?? message };
  }
}

function unreadable(
  kind: 'intent' | 'pulled',
  { image, imageRef, reason, message }: PullManagerError,
  location: string,
): Finding {
  const key = kind === 'intent' ? image : imageRef;
  const named = key === undefined ? {} : { key };
  return { kind, verdict: 'undecodable', location, ...named, reason: reason ?? message };
}
