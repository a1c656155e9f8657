/** What a partition holds, in memory, and the pool that lets equal credentials be one object. */
import { unpackCredentials, unpackText } from '../../records/codec.ts';
import { applyChange } from '../../records/merge.ts';
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

  changePulled(
    imageRef: string,
    imageName: string,
    credentials: ImagePullCredentials,
    updatedAtMs: number,
  ): void {
    if (this.#isOwn !== undefined && !this.#isOwn(imageRef)) return;
    const before = this.records.get(imageRef);
    const change = { imageName, credentials };
    // The key that is there already, so that no second copy of it is kept.
    const key = before?.imageRef ?? imageRef;
    this.records.set(key, applyChange(before, key, change, updatedAtMs));
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
    // First: as JSON, what is no credentials may look like some (NaN is null), or be nothing at all.
    void unpackCredentials(packed, uncopiedText);
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

/** The text of a packed form, which may share memory with what it was cut from. */
function uncopiedText(value: unknown): string {
  return typeof value === 'string' ? value : unpackText(value);
}
