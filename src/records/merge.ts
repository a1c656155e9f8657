/**
 * Merging proven credentials into a record: pure functions over immutable values.
 *
 * Differs from the reference towards fewer lost proofs: secrets and service accounts given together
 * are both merged [W3], and what is written is always in normal form [W4].
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go
 * (writePulledRecordIfChanged, pulledRecordMergeNewCreds).
 */
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
  type NameProof,
  PulledRecord,
  type RecordChange,
} from './record.ts';
import { compareCoordinates, listedCredentials, normalList } from './validate.ts';

type Proof = ImagePullSecret | ImagePullServiceAccount;

/**
 * A proof of a time that is further ahead was stamped by a clock that was wrong: it counts as too old,
 * and any later proof replaces it. Clocks that are put right in small steps may be so far behind.
 */
export const AHEAD_MS_MAX = 60_000;

/**
 * The record after a pull of `imageRef` as `imageName` succeeded with `credentials`; the same
 * object where nothing changes. The time is that of the change.
 *
 * `credentials` are in normal form (`normalizeCredentials`) and may be shared with the result;
 * `null` stands for a pull under unknown circumstances. Node-wide access is never narrowed. A new
 * hash replaces that of the same secret, a later `provenAtMs` that of an equal proof, an earlier one
 * only that of a clock that was ahead. The reference also calls a hash that is replaced and put back by one list a change; a list
 * in normal form names no secret twice, so that cannot happen here.
 */
export function mergePulled(
  record: PulledRecord | undefined,
  imageRef: string,
  imageName: string,
  credentials: ImagePullCredentials | null,
  nowMs: number,
): PulledRecord {
  if (record === undefined) {
    const proofs = credentials === null ? [] : [{ imageName, credentials }];
    return new PulledRecord(imageRef, nowMs, proofs);
  }
  if (credentials === null || provesNothing(credentials)) return record;
  const { proofs } = record;
  const index = indexOfName(proofs, imageName);
  const entry = index < 0 ? undefined : proofs[index]!.credentials;
  const merged = entry === undefined ? credentials : mergeCredentials(entry, credentials, nowMs);
  if (merged === entry) return record;
  const proof = { imageName, credentials: merged };
  return new PulledRecord(imageRef, nowMs, withProof(proofs, index, proof));
}

/**
 * Replays a logged change: merges it, and sets the time to the one logged, changed or not.
 *
 * Replaying a whole log over a state that holds part of it already, or all, ends in the same state.
 */
export function applyChange(
  record: PulledRecord | undefined,
  imageRef: string,
  change: RecordChange,
  updatedAtMs: number,
): PulledRecord {
  const merged = mergePulled(record, imageRef, change.imageName, change.credentials, updatedAtMs);
  if (merged.updatedAtMs === updatedAtMs) return merged;
  return new PulledRecord(imageRef, updatedAtMs, merged.proofs);
}

/** Whether credentials say nothing that a record could not say without them. */
export function provesNothing(credentials: ImagePullCredentials): boolean {
  if (credentials.nodePodsAccessible === true) return false;
  const { kubernetesSecrets, kubernetesServiceAccounts } = credentials;
  return !kubernetesSecrets?.length && !kubernetesServiceAccounts?.length;
}

/** The index of a name; where it is absent, the complement of the index at which it belongs. */
function indexOfName(proofs: readonly NameProof[], imageName: string): number {
  let low = 0;
  let high = proofs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const name = proofs[middle]!.imageName;
    if (name === imageName) return middle;
    if (compareUtf8(name, imageName) < 0) low = middle + 1;
    else high = middle;
  }
  return ~low;
}

function withProof(
  proofs: readonly NameProof[],
  index: number,
  proof: NameProof,
): readonly NameProof[] {
  if (index >= 0) return proofs.length === 1 ? [proof] : proofs.with(index, proof);
  return proofs.toSpliced(~index, 0, proof);
}

/** One name's credentials after a change; the entry itself where the change adds nothing to it. */
export function mergeCredentials(
  entry: ImagePullCredentials,
  added: ImagePullCredentials,
  nowMs: number,
): ImagePullCredentials {
  if (entry.nodePodsAccessible === true) {
    return added.nodePodsAccessible === true && isLater(added, entry, nowMs) ? added : entry;
  }
  if (added.nodePodsAccessible === true) return added;
  // A stored entry may be in any order: the reference writes first entries as they come.
  const oldSecrets = normalList(entry.kubernetesSecrets ?? NO_SECRETS);
  const oldAccounts = normalList(entry.kubernetesServiceAccounts ?? NO_ACCOUNTS);
  const addedSecrets = added.kubernetesSecrets ?? NO_SECRETS;
  const addedAccounts = added.kubernetesServiceAccounts ?? NO_ACCOUNTS;
  const secrets = mergeLists(oldSecrets, addedSecrets, nowMs);
  const accounts = mergeLists(oldAccounts, addedAccounts, nowMs);
  if (secrets === oldSecrets && accounts === oldAccounts) return entry;
  if (secrets === addedSecrets && accounts === addedAccounts) return added;
  return listedCredentials(secrets, accounts);
}

const NO_SECRETS: readonly ImagePullSecret[] = Object.freeze([]);
const NO_ACCOUNTS: readonly ImagePullServiceAccount[] = Object.freeze([]);

/**
 * Merges two lists in normal form. Returns the old one where nothing is added, the added one where
 * nothing is left of the old one, else a new one, frozen.
 */
function mergeLists<T extends Proof>(
  old: readonly T[],
  added: readonly T[],
  nowMs: number,
): readonly T[] {
  if (added.length === 0) return old;
  if (old.length === 0) return added;
  const merged: T[] = [];
  let oldIsAll = true;
  let addedIsAll = true;
  let i = 0;
  let j = 0;
  while (i < old.length || j < added.length) {
    const order = orderAt(old, i, added, j);
    if (order < 0) {
      addedIsAll = false;
      merged.push(old[i]!);
    } else if (order > 0) {
      oldIsAll = false;
      merged.push(added[j]!);
    } else if (replaces(added[j]!, old[i]!, nowMs)) {
      oldIsAll = false;
      merged.push(added[j]!);
    } else {
      if (!isSameProof(added[j]!, old[i]!)) addedIsAll = false;
      merged.push(old[i]!);
    }
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
  if (oldIsAll) return old;
  return addedIsAll ? added : Object.freeze(merged);
}

/** Which of two lists has the next item: below 0 the first, above 0 the second, 0 both. */
function orderAt(a: readonly Proof[], i: number, b: readonly Proof[], j: number): number {
  if (i === a.length) return 1;
  return j === b.length ? -1 : compareCoordinates(a[i]!, b[j]!);
}

/** Whether a proof of the same coordinates is to be replaced by the new one. */
export function replaces(added: Proof, old: Proof, nowMs: number): boolean {
  return hashOf(added) !== hashOf(old) || isLater(added, old, nowMs);
}

function isSameProof(a: Proof, b: Proof): boolean {
  return hashOf(a) === hashOf(b) && a.provenAtMs === b.provenAtMs;
}

function hashOf(proof: Proof): string | undefined {
  return 'credentialHash' in proof ? proof.credentialHash : undefined;
}

interface Timed {
  readonly provenAtMs?: number;
}

/**
 * Whether the first was proven later than the second; "unknown" is before all times, and what is ahead
 * of the clock before all that is not.
 */
function isLater(a: Timed, b: Timed, nowMs: number): boolean {
  if (a.provenAtMs === undefined) return false;
  if (b.provenAtMs === undefined) return true;
  const untilMs = nowMs + AHEAD_MS_MAX;
  const isAhead = a.provenAtMs > untilMs;
  return isAhead === b.provenAtMs > untilMs ? a.provenAtMs > b.provenAtMs : !isAhead;
}
