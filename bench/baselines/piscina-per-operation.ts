/**
 * Baseline (b), the obvious way to give the work to a thread: one `piscina.run` per operation. The
 * records are in the thread's memory; nothing is durable, which favours this baseline for writes.
 *
 * One thread, because every record has to be in one place.
 */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { ImagePullCredentials, PodCredentials } from '../../src/records/record.ts';
import type { BenchSubject } from '../support/workload.ts';

/** One operation, as it goes to the thread. */
export type PiscinaRequest =
  | { op: 'intent' | 'failed'; image: string }
  | { op: 'pulled'; image: string; imageRef: string; credentials: ImagePullCredentials | null }
  | { op: 'decide'; image: string; imageRef: string; credentials: PodCredentials | undefined }
  | { op: 'prune'; imageRefs: string[]; until: Date };

export interface PiscinaSettings {
  readonly atomics: 'sync' | 'async' | 'disabled';
  readonly concurrentTasksPerWorker: number;
}

/**
 * The best of nine that were tried. Decisions/s with 1, 64 and 1,024 in flight, on 2 cores:
 *
 * | | 1 task at a time | 64 | 4,096 |
 * | --- | --- | --- | --- |
 * | sync (piscina's default) | 14k / 15k / 15k | 13k / 123k / 110k | 14k / 104k / 127k |
 * | async | 13k / 14k / 14k | 14k / 129k / 74k | 14k / 132k / 133k |
 * | disabled | 14k / 14k / 15k | 36k / 96k / 87k | 14k / 117k / 102k |
 */
const SETTINGS_DEFAULT: PiscinaSettings = { atomics: 'async', concurrentTasksPerWorker: 4096 };
const QUEUE_MAX = 1 << 20;

/** The five operations, each a task of a pool with one thread. */
export class PiscinaPullManager implements BenchSubject {
  readonly #pool: Piscina<PiscinaRequest, unknown>;

  constructor(settings: PiscinaSettings = SETTINGS_DEFAULT) {
    const worker = new URL('./piscina-per-operation.worker.js', import.meta.url);
    this.#pool = new Piscina({
      filename: fileURLToPath(worker),
      minThreads: 1,
      maxThreads: 1,
      maxQueue: QUEUE_MAX,
      idleTimeout: Number.POSITIVE_INFINITY,
      ...settings,
    });
  }

  async recordPullIntent(image: string): Promise<void> {
    await this.#pool.run({ op: 'intent', image });
  }

  async recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    await this.#pool.run({ op: 'pulled', image, imageRef, credentials });
  }

  async recordImagePullFailed(image: string): Promise<void> {
    await this.#pool.run({ op: 'failed', image });
  }

  mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials?: PodCredentials,
  ): Promise<boolean> {
    return this.#pool.run({ op: 'decide', image, imageRef, credentials }) as Promise<boolean>;
  }

  pruneUnknownRecords(imageRefs: Iterable<string>, until: Date): Promise<number> {
    const request: PiscinaRequest = { op: 'prune', imageRefs: [...imageRefs], until };
    return this.#pool.run(request) as Promise<number>;
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
