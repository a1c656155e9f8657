/** The file store with a write-through cache in front: lookups read no file twice. */
import { cachedAccessor } from 'pullwarden';
import openFileStore from './file-store.mjs';

/** @type {import('pullwarden').AccessorFactory} */
export default async function openCachedFileStore(options, context) {
  return cachedAccessor(await openFileStore(options, context));
}
