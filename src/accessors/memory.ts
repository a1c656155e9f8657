/**
 * The store that keeps nothing: records live and die with the thread that holds them.
 *
 * A worker that replaces a dead one cannot know what was recorded before it. It therefore fails
 * closed: a key that nobody wrote since is neither present nor absent but `RECORD_CORRUPT`.
 */
import { closedError, PullManagerError } from '../errors.ts';
import { type ImagePulledRecord, type ImagePullIntent, PulledRecord } from '../records/record.ts';
import type { AccessorContext, OwnedAccessor, RecordListing, RecordWrite } from './accessor.ts';

/**
 * Keys that a replacement remembers as deleted. The oldest is forgotten when there are more, and
 * is unknown again, which is the safe side.
 */
const TOMBSTONES_MAX = 65_536;

/**
 * Opens an empty store in the memory of the calling thread. Every operation answers at once.
 *
 * With `context.generation` above 1 every key is unknown until it is written or deleted: asking for
 * it throws `RECORD_CORRUPT`, and listings carry one such error.
 */
export function openMemory(context: AccessorContext): OwnedAccessor {
  return new MemoryAccessor(context);
}

class MemoryAccessor implements OwnedAccessor {
  readonly writtenBytes = 0;
  readonly listsOnlyOwnKeys = true;
  readonly maintenance = undefined;
  readonly #workerIndex: number;
  readonly #lost: boolean;
  readonly #intents: KeySpace<true>;
  readonly #pulled: KeySpace<PulledRecord>;
  #closed = false;

  constructor(context: AccessorContext) {
    this.#workerIndex = context.workerIndex;
    this.#lost = context.generation > 1;
    this.#intents = new KeySpace(this.#lost);
    this.#pulled = new KeySpace(this.#lost);
  }

  count(): { intents: number; records: number } {
    this.#assertOpen('count');
    return { intents: this.#intents.present.size, records: this.#pulled.present.size };
  }

  listImagePullIntents(): RecordListing<ImagePullIntent> {
    this.#assertOpen('listImagePullIntents');
    const records = Array.from(this.#intents.present.keys(), (image) => ({ image }));
    return { records, errors: this.#lost ? [this.#lostError({})] : [] };
  }

  imagePullIntentExists(image: string): boolean {
    this.#assertOpen('imagePullIntentExists');
    if (this.#intents.present.has(image)) return true;
    if (!this.#intents.knowsAbsent(image)) throw this.#lostError({ image });
    return false;
  }

  writeImagePullIntent(image: string): void {
    this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): void {
    this.commit([{ op: 'deleteIntent', image }]);
  }

  listImagePulledRecords(): RecordListing<ImagePulledRecord> {
    this.#assertOpen('listImagePulledRecords');
    const records = Array.from(this.#pulled.present.values());
    return { records, errors: this.#lost ? [this.#lostError({})] : [] };
  }

  getImagePulledRecord(imageRef: string): ImagePulledRecord | undefined {
    this.#assertOpen('getImagePulledRecord');
    const record = this.#pulled.present.get(imageRef);
    if (record === undefined && !this.#pulled.knowsAbsent(imageRef)) {
      throw this.#lostError({ imageRef });
    }
    return record;
  }

  writeImagePulledRecord(record: ImagePulledRecord): void {
    this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): void {
    this.commit([{ op: 'deletePulled', imageRef }]);
  }

  commit(batch: readonly RecordWrite[]): void {
    this.#assertOpen('commit');
    for (const write of batch) {
      switch (write.op) {
        case 'writeIntent':
          this.#intents.write(write.image, true);
          break;
        case 'deleteIntent':
          this.#intents.delete(write.image);
          break;
        case 'writePulled':
          this.#pulled.write(write.record.imageRef, ownCopy(write.record));
          break;
        case 'deletePulled':
          this.#pulled.delete(write.imageRef);
          break;
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#intents.clear();
    this.#pulled.clear();
  }

  #assertOpen(what: string): void {
    if (this.#closed) throw closedError(what);
  }

  #lostError(fields: { image?: string; imageRef?: string }): PullManagerError {
    const message = `records were lost with worker ${this.#workerIndex}, and a memory store has no copy`;
    // As for a damaged record: it must count as present, and a new pull may replace it.
    return new PullManagerError('RECORD_CORRUPT', message, {
      ...fields,
      workerIndex: this.#workerIndex,
    });
  }
}

/** Values by key; where keys may have been lost, also which keys are known to be absent. */
class KeySpace<T> {
  readonly present = new Map<string, T>();
  readonly #absent: Set<string> | undefined;

  constructor(lost: boolean) {
    this.#absent = lost ? new Set() : undefined;
  }

  /** Whether the absence of a key that is not present is a fact. */
  knowsAbsent(key: string): boolean {
    return this.#absent === undefined || this.#absent.has(key);
  }

  write(key: string, value: T): void {
    this.present.set(key, value);
    this.#absent?.delete(key);
  }

  delete(key: string): void {
    this.present.delete(key);
    if (this.#absent === undefined) return;
    this.#absent.delete(key);
    this.#absent.add(key);
    if (this.#absent.size <= TOMBSTONES_MAX) return;
    for (const oldest of this.#absent) {
      this.#absent.delete(oldest);
      break;
    }
  }

  clear(): void {
    this.present.clear();
    this.#absent?.clear();
  }
}

/** A form of the record that its writer cannot change afterwards. */
function ownCopy(record: ImagePulledRecord): PulledRecord {
  if (record instanceof PulledRecord) return record;
  return PulledRecord.from(PulledRecord.from(record).toPlain());
}
