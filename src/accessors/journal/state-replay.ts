/** Replays logged writes into a partition's state. */
import { applyChange } from '../../records/merge.ts';
import type { PulledRecord, RecordChange } from '../../records/record.ts';
import { isLarge, RecordBuilder } from '../../records/record-builder.ts';
import type { ReplayTarget } from './batch.ts';
import type { JournalState } from './state.ts';

/**
 * Logged writes on their way into a state. Records of the usual size are in it at once, large ones
 * that are changed only after `end`: however often one is changed, it is copied once.
 */
export class StateReplay implements ReplayTarget {
  readonly #state: JournalState;
  /** Of the large records that were changed. */
  readonly #builders = new Map<string, RecordBuilder>();

  constructor(state: JournalState) {
    this.#state = state;
  }

  writeIntent(image: string): void {
    this.#state.writeIntent(image);
  }

  deleteIntent(image: string): void {
    this.#state.deleteIntent(image);
  }

  writePulled(record: PulledRecord): void {
    this.#builders.delete(record.imageRef);
    this.#state.writePulled(record);
  }

  changePulled(imageRef: string, change: RecordChange, updatedAtMs: number): void {
    const builder = this.#builderOf(imageRef);
    if (builder !== undefined) {
      builder.change(change, updatedAtMs);
      return;
    }
    const before = this.#state.records.get(imageRef);
    // The key that is there already, so that no second copy of it is kept.
    const key = before?.imageRef ?? imageRef;
    this.#state.writePulled(applyChange(before, key, change, updatedAtMs));
  }

  deletePulled(imageRef: string): void {
    this.#builders.delete(imageRef);
    this.#state.deletePulled(imageRef);
  }

  /** Makes the state hold what was replayed. */
  end(): void {
    for (const builder of this.#builders.values()) this.#state.writePulled(builder.build());
    this.#builders.clear();
  }

  /** Undefined for a record that is not large. */
  #builderOf(imageRef: string): RecordBuilder | undefined {
    const known = this.#builders.get(imageRef);
    if (known !== undefined) return known;
    const record = this.#state.records.get(imageRef);
    if (record === undefined || !isLarge(record)) return undefined;
    const builder = new RecordBuilder(record);
    this.#builders.set(record.imageRef, builder);
    return builder;
  }
}
