/** What a partition holds, in memory, and the pool that lets equal credentials be one object. */
import { unpackCredentials } from '../../records/codec.ts';
import type { ImagePullCredentials, PulledRecord } from '../../records/record.ts';

/** Says whether a partition holds a key. */
export type KeyFilter = (key: string) => boolean;

/** The intents and pulled records of one partition. */
export class JournalState {
  readonly intents: Set<string>;
  readonly records: Map<string, PulledRecord>;
  readonly #isOwn: KeyFilter | undefined;

  /**
   * @param shared - a state of which this is another view. @default a new, empty one
   * @param isOwn - keys for which it says no are not written through this view. @default none
   */
  constructor(shared?: JournalState, isOwn?: KeyFilter) {
    this.intents = shared?.intents ?? new Set();
    this.records = shared?.records ?? new Map();
    this.#isOwn = isOwn;
  }

  writeIntent(image: string): void {
    if (this.#isOwn === undefined || this.#isOwn(image)) this.intents.add(image);
  }

  deleteIntent(image: string): void {
    this.intents.delete(image);
  }

  writePulled(record: PulledRecord): void {
    if (this.#isOwn === undefined || this.#isOwn(record.imageRef)) {
      this.records.set(record.imageRef, record);
    }
  }

  deletePulled(imageRef: string): void {
    this.records.delete(imageRef);
  }
}

/** Entries after which a pool starts anew: it saves memory, it must not become what needs it. */
const POOL_SIZE_MAX = 100_000;

/** Gives one object for equal credentials, and one string for equal names. */
export class RecordPool {
  readonly #credentials = new Map<string, ImagePullCredentials>();
  readonly #names = new Map<string, string>();

  /** The frozen credentials of a packed form; throws `RECORD_CORRUPT`. */
  credentials(packed: unknown): ImagePullCredentials {
    // What is no credentials may have the JSON of some (NaN is null), or none at all.
    if (!isExactInJson(packed)) return unpackCredentials(packed);
    const key = JSON.stringify(packed);
    const pooled = this.#credentials.get(key);
    if (pooled !== undefined) return pooled;
    const fresh = unpackCredentials(packed);
    if (this.#credentials.size >= POOL_SIZE_MAX) this.#credentials.clear();
    this.#credentials.set(key, fresh);
    return fresh;
  }

  /** A string equal to `text`. */
  name(text: string): string {
    const pooled = this.#names.get(text);
    if (pooled !== undefined) return pooled;
    if (this.#names.size >= POOL_SIZE_MAX) this.#names.clear();
    this.#names.set(text, text);
    return text;
  }
}

/** Whether no other value has the same JSON. With loops: it is asked of all that is replayed. */
function isExactInJson(packed: unknown): boolean {
  if (!Array.isArray(packed)) return false;
  for (const field of packed) {
    if (!Array.isArray(field)) {
      if (!isExactScalar(field)) return false;
      continue;
    }
    for (const inner of field) if (!isExactScalar(inner)) return false;
  }
  return true;
}

function isExactScalar(value: unknown): boolean {
  return typeof value === 'string' || value === null || Number.isFinite(value);
}
