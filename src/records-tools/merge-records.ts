/** Two records of one imageRef, from two stores, made one. */
import { packRecord } from '../records/codec.ts';
import { mergePulled } from '../records/merge.ts';
import { compareUtf8, type ImagePullCredentials, PulledRecord } from '../records/record.ts';
import { normalizeCredentials } from '../records/validate.ts';

/** What can happen to a record that the target has already. */
export const CONFLICT_MODES = ['merge', 'keep', 'replace'] as const;

/** One of `CONFLICT_MODES`. */
export type ConflictMode = (typeof CONFLICT_MODES)[number];

/**
 * The proofs of both records; where they disagree about a secret's hash, those of the later one. At
 * equal times `added` counts as the later one.
 *
 * Merging the same record again changes nothing, so an import can be repeated.
 */
export function mergeRecords(existing: PulledRecord, added: PulledRecord): PulledRecord {
  const addedIsLater = added.updatedAtMs >= existing.updatedAtMs;
  const [earlier, later] = addedIsLater ? [existing, added] : [added, existing];
  const merged = new Map(
    earlier.proofs.map(({ imageName, credentials }) => [imageName, credentials]),
  );
  for (const { imageName, credentials } of later.proofs) {
    const before = merged.get(imageName);
    merged.set(imageName, before === undefined ? credentials : mergeProof(before, credentials));
  }
  const proofs = Array.from(merged, ([imageName, credentials]) => ({ imageName, credentials }));
  proofs.sort((a, b) => compareUtf8(a.imageName, b.imageName));
  return new PulledRecord(existing.imageRef, later.updatedAtMs, proofs);
}

function mergeProof(
  earlier: ImagePullCredentials,
  later: ImagePullCredentials,
): ImagePullCredentials {
  // By the engine's own rules, on a record that has just this name.
  const record = new PulledRecord('', 0, [{ imageName: '', credentials: earlier }]);
  const { proofs } = mergePulled(record, '', '', normalizeCredentials(later), 0);
  return proofs[0]!.credentials;
}

/** Whether two records are the same, to the last field and its order. */
export function isSameRecord(a: PulledRecord, b: PulledRecord): boolean {
  if (a === b) return true;
  return JSON.stringify(packRecord(a)) === JSON.stringify(packRecord(b));
}
