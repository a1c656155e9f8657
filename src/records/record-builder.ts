/**
 * Many logged changes of one record, each in the time that it takes for itself: `applyChange` gives
 * an immutable record after each, and so copies whatever the record holds.
 */
import { mergeCredentials, provesNothing, replaces } from './merge.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
  type NameProof,
  PulledRecord,
  type RecordChange,
} from './record.ts';
import { type Coordinates, compareCoordinates, listedCredentials } from './validate.ts';

/** So many names and proofs are copied sooner than looked up. */
const COPIED_COUNT_MAX = 32;

/** Whether a record holds so much that further changes are better collected in a builder. */
export function isLarge(record: PulledRecord): boolean {
  let count = record.proofs.length;
  if (count > COPIED_COUNT_MAX) return true;
  for (const { credentials } of record.proofs) count += proofCount(credentials);
  return count > COPIED_COUNT_MAX;
}

/** A record while changes of it are replayed. */
export class RecordBuilder {
  readonly #start: PulledRecord;
  readonly #entries = new Map<string, ImagePullCredentials | LongLists>();
  #updatedAtMs: number;
  #isChanged = false;

  /** @param start - the record before all changes. */
  constructor(start: PulledRecord) {
    this.#start = start;
    this.#updatedAtMs = start.updatedAtMs;
    for (const { imageName, credentials } of start.proofs) {
      this.#entries.set(imageName, credentials);
    }
  }

  /** Does what `applyChange` does. */
  change({ imageName, credentials: added }: RecordChange, updatedAtMs: number): void {
    this.#updatedAtMs = updatedAtMs;
    if (provesNothing(added)) return;
    const entry = this.#entryOf(imageName);
    if (entry instanceof LongLists && added.nodePodsAccessible !== true) {
      if (entry.add(added, updatedAtMs)) this.#isChanged = true;
      return;
    }
    const isReplaced = entry === undefined || entry instanceof LongLists;
    const merged = isReplaced ? added : mergeCredentials(entry, added, updatedAtMs);
    if (merged === entry) return;
    this.#isChanged = true;
    this.#entries.set(imageName, merged);
  }

  /** The record after all changes; the one before them where they changed nothing. */
  build(): PulledRecord {
    const { imageRef, updatedAtMs, proofs } = this.#start;
    if (this.#isChanged) return new PulledRecord(imageRef, this.#updatedAtMs, this.#proofs());
    if (this.#updatedAtMs === updatedAtMs) return this.#start;
    return new PulledRecord(imageRef, this.#updatedAtMs, proofs);
  }

  #entryOf(imageName: string): ImagePullCredentials | LongLists | undefined {
    const entry = this.#entries.get(imageName);
    if (entry === undefined || entry instanceof LongLists) return entry;
    const isLong = entry.nodePodsAccessible !== true && proofCount(entry) > COPIED_COUNT_MAX;
    if (!isLong) return entry;
    const lists = new LongLists(entry);
    this.#entries.set(imageName, lists);
    return lists;
  }

  #proofs(): readonly NameProof[] {
    const proofs = Array.from(this.#entries, ([imageName, entry]) => {
      return { imageName, credentials: entry instanceof LongLists ? entry.build() : entry };
    });
    return proofs.sort((a, b) => compareUtf8(a.imageName, b.imageName));
  }
}

/** The lists of credentials that are not node-wide. */
class LongLists {
  readonly #start: ImagePullCredentials;
  readonly #secrets: Map<string, ImagePullSecret>;
  readonly #accounts: Map<string, ImagePullServiceAccount>;
  #isChanged = false;

  constructor(start: ImagePullCredentials) {
    this.#start = start;
    // Of equal coordinates the last one, as in normal form.
    this.#secrets = new Map(start.kubernetesSecrets?.map((proof) => [idOf(proof), proof]));
    this.#accounts = new Map(start.kubernetesServiceAccounts?.map((proof) => [idOf(proof), proof]));
  }

  /** Whether that changes anything. */
  add(
    { kubernetesSecrets, kubernetesServiceAccounts }: ImagePullCredentials,
    nowMs: number,
  ): boolean {
    const addsSecrets = addAll(this.#secrets, kubernetesSecrets, nowMs);
    const addsAccounts = addAll(this.#accounts, kubernetesServiceAccounts, nowMs);
    if (!addsSecrets && !addsAccounts) return false;
    this.#isChanged = true;
    return true;
  }

  build(): ImagePullCredentials {
    if (!this.#isChanged) return this.#start;
    return listedCredentials(sorted(this.#secrets), sorted(this.#accounts));
  }
}

function addAll<T extends ImagePullSecret | ImagePullServiceAccount>(
  proofs: Map<string, T>,
  added: readonly T[] | undefined,
  nowMs: number,
): boolean {
  let isChanged = false;
  for (const proof of added ?? []) {
    const id = idOf(proof);
    const old = proofs.get(id);
    if (old !== undefined && !replaces(proof, old, nowMs)) continue;
    proofs.set(id, proof);
    isChanged = true;
  }
  return isChanged;
}

/** The same text for the same coordinates only: they may hold any character. */
function idOf({ uid, namespace, name }: Coordinates): string {
  return `${namespace.length} ${name.length} ${namespace}${name}${uid}`;
}

function sorted<T extends Coordinates>(proofs: ReadonlyMap<string, T>): readonly T[] {
  return Object.freeze([...proofs.values()].sort(compareCoordinates));
}

function proofCount(credentials: ImagePullCredentials): number {
  const { kubernetesSecrets, kubernetesServiceAccounts } = credentials;
  return (kubernetesSecrets?.length ?? 0) + (kubernetesServiceAccounts?.length ?? 0);
}
