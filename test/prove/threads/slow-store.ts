/**
 * A store whose commits take as long as they are told to; a module for `store: { module }`. It keeps
 * everything in the memory of its thread, under a name: who opens the name again finds it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PullRecordsAccessor, RecordWrite } from '../../../src/accessors/accessor.ts';
import type { ImagePulledRecord } from '../../../src/records/record.ts';

export interface SlowStoreOptions {
  readonly name: string;
  /** Milliseconds. */
  readonly commitMs: number;
  /** What is wrong with it; by the tests of this proof. */
  readonly fault?: 'forgets what it was told last';
}

interface Content {
  readonly intents: Set<string>;
  readonly records: Map<string, ImagePulledRecord>;
}

const contents = new Map<string, Content>();

/** How many of the last commits the faulty one forgets when it is closed. */
const FORGOTTEN = 3;

export default function open(options: SlowStoreOptions): PullRecordsAccessor {
  const content = contents.get(options.name) ?? { intents: new Set(), records: new Map() };
  contents.set(options.name, content);
  return new SlowStore(content, options);
}

class SlowStore implements PullRecordsAccessor {
  readonly #content: Content;
  readonly #options: SlowStoreOptions;
  readonly #last: RecordWrite[] = [];

  constructor(content: Content, options: SlowStoreOptions) {
    this.#content = content;
    this.#options = options;
  }

  listImagePullIntents() {
    return { records: Array.from(this.#content.intents, (image) => ({ image })), errors: [] };
  }

  imagePullIntentExists(image: string): boolean {
    return this.#content.intents.has(image);
  }

  writeImagePullIntent(image: string): Promise<void> {
    return this.commit([{ op: 'writeIntent', image }]);
  }

  deleteImagePullIntent(image: string): Promise<void> {
    return this.commit([{ op: 'deleteIntent', image }]);
  }

  listImagePulledRecords() {
    return { records: Array.from(this.#content.records.values()), errors: [] };
  }

  getImagePulledRecord(imageRef: string): ImagePulledRecord | undefined {
    return this.#content.records.get(imageRef);
  }

  writeImagePulledRecord(record: ImagePulledRecord): Promise<void> {
    return this.commit([{ op: 'writePulled', record }]);
  }

  deleteImagePulledRecord(imageRef: string): Promise<void> {
    return this.commit([{ op: 'deletePulled', imageRef }]);
  }

  async commit(batch: readonly RecordWrite[]): Promise<void> {
    await delay(this.#options.commitMs);
    for (const write of batch) this.#apply(write);
    this.#last.push(...batch);
    this.#last.splice(0, this.#last.length - FORGOTTEN);
  }

  close(): void {
    if (this.#options.fault !== 'forgets what it was told last') return;
    for (const write of this.#last) {
      if (write.op === 'writeIntent') this.#content.intents.delete(write.image);
      if (write.op === 'writePulled') this.#content.records.delete(write.record.imageRef);
    }
  }

  #apply(write: RecordWrite): void {
    const { intents, records } = this.#content;
    if (write.op === 'writeIntent') intents.add(write.image);
    if (write.op === 'deleteIntent') intents.delete(write.image);
    if (write.op === 'writePulled') records.set(write.record.imageRef, write.record);
    if (write.op === 'deletePulled') records.delete(write.imageRef);
  }
}

export function slowStore(options: SlowStoreOptions): { module: URL; options: SlowStoreOptions } {
  return { module: new URL(import.meta.url), options };
}
