/** Two states of one record, of which neither is derived from the other, as one. */
import { mergePulled } from '../../records/merge.ts';
import { type ImagePullCredentials, PulledRecord } from '../../records/record.ts';
import { listedCredentials, normalList } from '../../records/validate.ts';

const MS_PER_SECOND = 1000;

/**
 * The record with the proofs of both; of two hashes of one secret, `theirs`. The same object as
 * `theirs` where `ours` adds nothing to it.
 */
export function joinRecords(ours: PulledRecord, theirs: PulledRecord): PulledRecord {
  const updatedAtMs = Math.max(ours.updatedAtMs, theirs.updatedAtMs);
  const joined = withProofs(ours, theirs, updatedAtMs);
  // The other way round it shows whether anything of ours was new.
  if (withProofs(theirs, joined, updatedAtMs) === theirs) return theirs;
  return new PulledRecord(joined.imageRef, updatedAtMs, joined.proofs);
}

function withProofs(record: PulledRecord, from: PulledRecord, nowMs: number): PulledRecord {
  let merged = record;
  for (const { imageName, credentials } of from.proofs) {
    const added = inNormalForm(credentials);
    merged = mergePulled(merged, record.imageRef, imageName, added, nowMs);
  }
  return merged;
}

/** A kubelet writes the first credentials of a name as they come. */
function inNormalForm(credentials: ImagePullCredentials): ImagePullCredentials {
  const { nodePodsAccessible, kubernetesSecrets, kubernetesServiceAccounts } = credentials;
  if (nodePodsAccessible === true) return credentials;
  return listedCredentials(
    normalList(kubernetesSecrets ?? []),
    normalList(kubernetesServiceAccounts ?? []),
  );
}

/** The record as a file can have it: its time in whole seconds, rounded down as Go does. */
export function filedRecord(record: PulledRecord): PulledRecord {
  const updatedAtMs = Math.floor(record.updatedAtMs / MS_PER_SECOND) * MS_PER_SECOND;
  if (updatedAtMs === record.updatedAtMs) return record;
  return new PulledRecord(record.imageRef, updatedAtMs, record.proofs);
}
