/**
 * What a host thread remembers of records and intents, each with the version at which it was read.
 *
 * An entry is true at any instant at which its version slot still holds that version: owners raise
 * the slot after the flush and before they acknowledge. Entries are bounded in number.
 */

import { fnv1 } from '../locks/stripe.ts';
import { STATE } from '../protocol/frames.ts';
import type { Listener, StateReply } from '../protocol/host-link.ts';
import type { OutgoingRequest } from '../protocol/request-writer.ts';
import type { SharedState } from '../protocol/shared-state.ts';
import { mergePulled } from '../records/merge.ts';
import { type ImagePullCredentials, PulledRecord } from '../records/record.ts';
import { BoundedCache } from '../util/bounded-cache.ts';

const RECORDS_MAX = 1 << 21;
const INTENTS_MAX = 1 << 17;
/** Entries that are kept however little the store holds: also of images that have no record. */
const ENTRIES_MIN = 1 << 14;
/** Entries for each record that the store holds. Only half of them are sure to stay. */
const ENTRIES_PER_RECORD = 3;
/** Longer texts are asked for each time, so that the number of entries bounds their memory too. */
export const KEY_UNITS_MAX = 4096;

/** A record, or the fact that there is none. */
export interface RecordEntry {
  readonly slot: number;
  readonly version: number;
  readonly record: PulledRecord | undefined;
  /** The image asked about last, and what is proven under its name: spares parsing it again. */
  lastImage: string | undefined;
  lastProof: ImagePullCredentials | undefined;
  /**
   * The pod secret that was found in `lastProof` last, in the caller's own strings: equal strings
   * that are the same object compare without a look at their characters, which are seldom in cache.
   */
  lastUid: string | undefined;
  lastNamespace: string | undefined;
  lastName: string | undefined;
  lastHash: string | undefined;
}

/** Whether an intent exists or a pull is under way. */
export interface IntentEntry {
  readonly slot: number;
  readonly version: number;
  readonly exists: boolean;
}

/** Used by one thread. */
export class Replica implements Listener {
  readonly #versions: Int32Array;
  readonly #slotMask: number;
  readonly #records: BoundedCache<string, RecordEntry>;
  readonly #intents: BoundedCache<string, IntentEntry>;

  /**
   * @param recordCount - what the store holds. Where images come and go for ever, those that have gone must
   * not fill the memory.
   */
  constructor(state: SharedState, recordCount: () => number) {
    this.#versions = state.versions;
    this.#slotMask = state.slotMask;
    const entries = (): number => ENTRIES_MIN + ENTRIES_PER_RECORD * recordCount();
    this.#records = new BoundedCache(() => Math.min(RECORDS_MAX, entries()));
    this.#intents = new BoundedCache(() => Math.min(INTENTS_MAX, entries()));
  }

  get recordCount(): number {
    return this.#records.size;
  }

  get intentCount(): number {
    return this.#intents.size;
  }

  get recordsMax(): number {
    return this.#records.max;
  }

  get intentsMax(): number {
    return this.#intents.max;
  }

  /** The entry of an image reference, if it is known and true at this instant. */
  record(imageRef: string): RecordEntry | undefined {
    const entry = this.#records.get(imageRef);
    if (entry === undefined || !this.isCurrent(entry)) return undefined;
    return entry;
  }

  /** The entry of an image's intent, if it is known and true at this instant. */
  intent(image: string): IntentEntry | undefined {
    const entry = this.#intents.get(image);
    if (entry === undefined || !this.isCurrent(entry)) return undefined;
    return entry;
  }

  isCurrent(entry: RecordEntry | IntentEntry): boolean {
    return Atomics.load(this.#versions, entry.slot) === entry.version;
  }

  /** Whether a decision has used the record of an image reference since it was learned. */
  wasUsed(imageRef: string): boolean {
    return this.#records.get(imageRef)?.lastImage !== undefined;
  }

  /** Whether a record's version is still the given one. */
  isRecordVersion(imageRef: string, version: number): boolean {
    return Atomics.load(this.#versions, fnv1(imageRef) & this.#slotMask) === version;
  }

  /**
   * Merges what an owner has merged: if the entry is of the version before, its record is the one
   * that the owner had. Much cheaper than to be told the record, and keeps its strings.
   */
  merged(
    { imageRef, imageName, credentials }: OutgoingRequest,
    before: number,
    updatedAtMs: number,
  ): void {
    const entry = this.#records.get(imageRef!);
    if (entry?.version !== before) return;
    const { slot, record } = entry;
    const now = mergePulled(record, imageRef!, imageName!, credentials ?? null, updatedAtMs);
    this.#records.set(imageRef!, newEntry(slot, (before + 1) | 0, now));
  }

  /** Keeps what an owner answered, as far as it may be kept. */
  learn({ imageRef, image }: OutgoingRequest, reply: StateReply): void {
    if (isShort(imageRef) && reply.flags & STATE.KEEP_RECORD) {
      const slot = fnv1(imageRef) & this.#slotMask;
      const record = withKey(reply.record, imageRef);
      this.#records.set(imageRef, newEntry(slot, reply.recordVersion, record));
    }
    if (isShort(image) && reply.flags & STATE.KEEP_INTENT) {
      const exists = (reply.flags & STATE.HAS_INTENT) !== 0;
      const slot = fnv1(image) & this.#slotMask;
      this.#intents.set(image, { slot, version: reply.intentVersion, exists });
    }
  }
}

/**
 * A new entry always: whoever is judging by the old one, and calls a policy of the user's that asks
 * in its turn, must not note what it found under the new version.
 */
function newEntry(slot: number, version: number, record: PulledRecord | undefined): RecordEntry {
  return {
    slot,
    version,
    record,
    lastImage: undefined,
    lastProof: undefined,
    lastUid: undefined,
    lastNamespace: undefined,
    lastName: undefined,
    lastHash: undefined,
  };
}

function isShort(text: string | undefined): text is string {
  return text !== undefined && text.length <= KEY_UNITS_MAX;
}

/** The record with the caller's own string for its reference, so that the decoded one can go. */
function withKey(record: PulledRecord | undefined, imageRef: string): PulledRecord | undefined {
  return record && new PulledRecord(imageRef, record.updatedAtMs, record.proofs);
}
