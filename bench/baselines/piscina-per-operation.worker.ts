/** The thread of baseline (b): records in its memory, one message per operation. */
import type { ImagePulledRecord } from '../../src/records/record.ts';
import type { PiscinaRequest } from './piscina-per-operation.ts';
import { PlainPullManager, type PlainStore } from './plain-pull-manager.ts';

class MapStore implements PlainStore {
  readonly #intents = new Set<string>();
  readonly #pulled = new Map<string, ImagePulledRecord>();

  intentExists(image: string): boolean {
    return this.#intents.has(image);
  }

  writeIntent(image: string): void {
    this.#intents.add(image);
  }

  deleteIntent(image: string): void {
    this.#intents.delete(image);
  }

  readPulled(imageRef: string): ImagePulledRecord | undefined {
    return this.#pulled.get(imageRef);
  }

  writePulled(record: ImagePulledRecord): void {
    this.#pulled.set(record.imageRef, record);
  }

  deletePulled(imageRef: string): void {
    this.#pulled.delete(imageRef);
  }

  listPulled(): ImagePulledRecord[] {
    return [...this.#pulled.values()];
  }
}

const manager = new PlainPullManager(new MapStore());

/** piscina's entry: performs one operation. */
export default function perform(request: PiscinaRequest): boolean | number | undefined {
  switch (request.op) {
    case 'intent':
      manager.recordPullIntent(request.image);
      return undefined;
    case 'pulled':
      manager.recordImagePulled(request.image, request.imageRef, request.credentials);
      return undefined;
    case 'failed':
      manager.recordImagePullFailed(request.image);
      return undefined;
    case 'decide':
      return manager.mustAttemptImagePull(request.image, request.imageRef, request.credentials);
    case 'prune':
      return manager.pruneUnknownRecords(request.imageRefs, request.until);
  }
}
