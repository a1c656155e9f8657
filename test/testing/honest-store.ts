/** A small store that keeps the contract, for planting faults in. */
import type {
  PullRecordsAccessor,
  RecordListing,
  RecordWrite,
} from '../../src/accessors/accessor.ts';
import { PullManagerError } from '../../src/errors.ts';
import type { ImagePulledRecord, ImagePullIntent } from '../../src/records/record.ts';

/** What survives closing: a text for each key. */
export class Disk {
  readonly intents: Map<string, string> = new Map();
  readonly pulled: Map<string, string> = new Map();
}

export class HonestStore implements PullRecordsAccessor {
  readonly disk: Disk;
  #isClosed = false;

  constructor(disk: Disk) {
    this.disk = disk;
  }

  async listImagePullIntents(): Promise<RecordListing<ImagePullIntent>> {
    return this.list(this.disk.intents, (image, text) => {
      decode(text);
      return { image };
    });
  }

  async imagePullIntentExists(image: string): Promise<boolean> {
    this.assertOpen();
    const text = this.disk.intents.get(image);
    if (text !== undefined) decode(text);
    return text !== undefined;
  }

  writeImagePullIntent(image: string): Promise<void> {
    return this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): Promise<void> {
    return this.commit([{ op: 'deleteIntent', image }]);
  }

  async listImagePulledRecords(): Promise<RecordListing<ImagePulledRecord>> {
    return this.list(this.disk.pulled, toRecord);
  }

  async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
    this.assertOpen();
    const text = this.disk.pulled.get(imageRef);
    return text === undefined ? undefined : toRecord(imageRef, text);
  }

  writeImagePulledRecord(record: ImagePulledRecord): Promise<void> {
    return this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): Promise<void> {
    return this.commit([{ op: 'deletePulled', imageRef }]);
  }

  async commit(batch: readonly RecordWrite[]): Promise<void> {
    this.assertOpen();
    for (const write of batch) this.apply(write);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  assertOpen(): void {
    if (this.#isClosed) throw new PullManagerError('CLOSED', 'the store is closed');
  }

  apply(write: RecordWrite): void {
    const { intents, pulled } = this.disk;
    if (write.op === 'writeIntent') intents.set(write.image, '{}');
    else if (write.op === 'deletePulled') pulled.delete(write.imageRef);
    else if (write.op === 'writePulled') pulled.set(write.record.imageRef, encode(write.record));
    else intents.delete(write.image);
  }

  list<T>(
    texts: ReadonlyMap<string, string>,
    convert: (key: string, text: string) => T,
  ): { records: T[]; errors: PullManagerError[] } {
    this.assertOpen();
    const listing: { records: T[]; errors: PullManagerError[] } = { records: [], errors: [] };
    for (const [key, text] of texts) {
      try {
        listing.records.push(convert(key, text));
      } catch (error) {
        listing.errors.push(error as PullManagerError);
      }
    }
    return listing;
  }
}

export function encode(record: ImagePulledRecord): string {
  return JSON.stringify([record.lastUpdatedTime.getTime(), record.credentialMapping]);
}

export function toRecord(imageRef: string, text: string): ImagePulledRecord {
  const [time, credentialMapping] = decode(text) as [
    number,
    ImagePulledRecord['credentialMapping'],
  ];
  return { imageRef, lastUpdatedTime: new Date(time), credentialMapping };
}

function decode(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PullManagerError('RECORD_CORRUPT', 'it is damaged', { cause });
  }
}
