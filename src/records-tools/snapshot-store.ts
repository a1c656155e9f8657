/**
 * A store module (see `AccessorFactory`) that holds what was read from another store, so that the
 * real engine can decide on it: what it writes, for example of a match, is dropped with it.
 */
import type { PullRecordsAccessor, RecordWrite } from '../accessors/accessor.ts';
import type { ImagePulledRecord } from '../records/record.ts';

/** What was read. Structured-cloneable. */
export interface Snapshot {
  readonly image: string;
  readonly imageRef: string;
  /** Whether there is an intent for `image`; the code of the error where that cannot be told. */
  readonly intent: boolean | { readonly code: string };
  /** The record of `imageRef`, if any; the code of the error where it cannot be read. */
  readonly pulled: ImagePulledRecord | { readonly code: string } | undefined;
}

/** The accessor of a snapshot. Called by the engine, with the snapshot as its options. */
export default function openSnapshot(options: unknown): PullRecordsAccessor {
  const { image, imageRef, intent, pulled } = options as Snapshot;
  const exists = (): boolean => {
    if (typeof intent === 'boolean') return intent;
    throw storeFailure(intent.code);
  };
  const find = (wanted: string): ImagePulledRecord | undefined => {
    if (wanted !== imageRef || pulled === undefined) return undefined;
    if ('code' in pulled) throw storeFailure(pulled.code);
    return pulled;
  };
  return {
    // Listings are asked for at the opening, and decide nothing.
    listImagePullIntents: () => ({ records: [], errors: [] }),
    listImagePulledRecords: () => ({ records: [], errors: [] }),
    imagePullIntentExists: (wanted) => wanted === image && exists(),
    getImagePulledRecord: find,
    writeImagePullIntent() {},
    deleteImagePullIntent() {},
    writeImagePulledRecord() {},
    deleteImagePulledRecord() {},
    commit(_batch: readonly RecordWrite[]) {},
    close() {},
  };
}

function storeFailure(code: string): Error {
  return Object.assign(new Error('the store could not be read'), { code });
}
