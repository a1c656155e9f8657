/** What the store holds, asked of its owners: listings, single records, pruning. */
import { fromWire, type PullManagerError, type WireError } from '../errors.ts';
import type { Emitter } from '../events/emitter.ts';
import type { PruneMessage } from '../events/messages.ts';
import type { PruneResult } from '../image-pull-manager.ts';
import { HOST_ROW } from '../metrics/shared-metrics.ts';
import { unpackRecord } from '../records/codec.ts';
import type { ImagePulledRecord, ImagePullIntent, Listing } from '../records/record.ts';
import type { EngineClient } from './engine-client.ts';
import type { Host } from './host.ts';

/** Used by one thread. */
export class Inventory {
  readonly #client: EngineClient;
  readonly #row: Float64Array;
  readonly #listsOnlyOwnKeys: boolean;
  readonly #pruned: Emitter<PruneMessage>;

  constructor({ client, handle, row, events }: Host) {
    this.#client = client;
    this.#row = row;
    this.#pruned = events.prune;
    this.#listsOnlyOwnKeys = handle.listsOnlyOwnKeys;
  }

  intents(): Promise<Listing<ImagePullIntent, PullManagerError>> {
    return this.#list('listIntents', (image) => ({ image: image as string }));
  }

  pulledRecords(): Promise<Listing<ImagePulledRecord, PullManagerError>> {
    return this.#list('listPulled', (packed) => unpackRecord(packed).toPlain());
  }

  async pulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
    const owner = this.#client.ownerOf(imageRef);
    const reply = await this.#client.read(owner, imageRef, undefined);
    return reply.record?.toPlain();
  }

  /** Deletes the records that are not in `listed` and were last updated before `untilMs`. */
  prune(listed: readonly string[], untilMs: number): Promise<PruneResult> {
    const ended = this.#prune(listed, untilMs);
    if (this.#pruned.isWatched) {
      const told = { listedCount: listed.length, until: new Date(untilMs) };
      this.#pruned.emitAfter(ended, told, (result) => ({ result }));
    }
    return ended;
  }

  async #prune(listed: readonly string[], untilMs: number): Promise<PruneResult> {
    const answers = await this.#client.callAll('prune', [listed, untilMs]);
    let pruned = 0;
    let kept = 0;
    const errors: PullManagerError[] = [];
    for (const [answer] of answers as [number, number, WireError[]][][]) {
      pruned += answer![0];
      kept += answer![1];
      for (const wire of answer![2]) errors.push(fromWire(wire) as PullManagerError);
    }
    this.#row[HOST_ROW.PRUNE_FAILURES]! += errors.length;
    return { pruned, kept, errors };
  }

  async #list<T>(
    method: 'listIntents' | 'listPulled',
    read: (item: unknown) => T,
  ): Promise<Listing<T, PullManagerError>> {
    const answers = this.#listsOnlyOwnKeys
      ? await this.#client.callAll(method, [])
      : [await this.#client.call(0, method, [])];
    const records: T[] = [];
    const errors: PullManagerError[] = [];
    for (const pages of answers as [WireError[], ...unknown[]][][]) {
      for (const [wires, ...items] of pages) {
        for (const item of items) records.push(read(item));
        for (const wire of wires) errors.push(fromWire(wire) as PullManagerError);
      }
    }
    return { records, errors };
  }
}
