/**
 * A store module (see `AccessorFactory`) that holds what was read from another store, so that the
 * real engine can decide on it: what it writes, for example of a match, is dropped with it.
 */
import type { PullRecordsAccessor, RecordWrite } from '../accessors/accessor.ts';
import { fromWire, type WireError } from '../errors.ts';
import type { ImagePulledRecord } from '../records/record.ts';

/** Why something could not be read: the store's own error. */
export interface Damage {
  readonly error: WireError;
}

/** What was read. Structured-cloneable. */
export interface Snapshot {
  readonly image: string;
  readonly imageRef: string;
  /** Whether there is an intent for `image`; what is damaged where that cannot be told. */
  readonly intent: boolean | Damage;
  /** The record of `imageRef`, if any; what is damaged where it cannot be read. */
  readonly pulled: ImagePulledRecord | Damage | undefined;
}

/** The accessor of a snapshot. Called by the engine, with the snapshot as its options. */
export default function openSnapshot(options: unknown): PullRecordsAccessor {
  const { image, imageRef, intent, pulled } = options as Snapshot;
  const exists = (): boolean => {
    if (typeof intent === 'boolean') return intent;
    throw fromWire(intent.error);
  };
  const find = (wanted: string): ImagePulledRecord | undefined => {
    if (wanted !== imageRef || pulled === undefined) return undefined;
    if ('error' in pulled) throw fromWire(pulled.error);
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
