/**
 * Records as people see them: what proves access is counted or named, and hashes are not shown, in
 * no form.
 */
import { normalizedImageName, trimImageTagDigest } from '../images/image-name.ts';
import {
  type ImagePullCredentials,
  type ImagePulledRecord,
  PulledRecord,
  ZERO_TIME_MS,
} from '../records/record.ts';

/** A pulled record in figures. */
export interface RecordSummary {
  readonly imageRef: string;
  /** ISO 8601; null for a record without a time. */
  readonly lastUpdatedTime: string | null;
  readonly names: readonly NameSummary[];
}

/** One name of a record in figures. */
export interface NameSummary {
  readonly name: string;
  readonly nodePodsAccessible: boolean;
  readonly secrets: number;
  readonly serviceAccounts: number;
}

/** The figures of a record. */
export function summaryOf(given: ImagePulledRecord): RecordSummary {
  const record = PulledRecord.from(given);
  return {
    imageRef: record.imageRef,
    lastUpdatedTime: timeOf(record),
    names: record.proofs.map(({ imageName, credentials }) => ({
      name: imageName,
      nodePodsAccessible: credentials.nodePodsAccessible === true,
      secrets: credentials.kubernetesSecrets?.length ?? 0,
      serviceAccounts: credentials.kubernetesServiceAccounts?.length ?? 0,
    })),
  };
}

/** A pulled record in full, but for its hashes. */
export interface RecordDetail {
  readonly imageRef: string;
  readonly lastUpdatedTime: string | null;
  readonly names: readonly NameDetail[];
}

/** One name of a record, with the coordinates of what has opened it. */
export interface NameDetail {
  readonly name: string;
  readonly nodePodsAccessible: boolean;
  readonly secrets: readonly SecretDetail[];
  readonly serviceAccounts: readonly ProofDetail[];
  readonly provenAt?: string;
}

/** Coordinates of a proof. */
export interface ProofDetail {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly provenAt?: string;
}

export interface SecretDetail extends ProofDetail {
  readonly hashRecorded: boolean;
}

/** A record in full, but for its hashes. */
export function detailOf(given: ImagePulledRecord): RecordDetail {
  const record = PulledRecord.from(given);
  return {
    imageRef: record.imageRef,
    lastUpdatedTime: timeOf(record),
    names: record.proofs.map(({ imageName, credentials }) => nameDetail(imageName, credentials)),
  };
}

function nameDetail(name: string, credentials: ImagePullCredentials): NameDetail {
  const { kubernetesSecrets = [], kubernetesServiceAccounts = [], provenAtMs } = credentials;
  return {
    name,
    nodePodsAccessible: credentials.nodePodsAccessible === true,
    secrets: kubernetesSecrets.map((secret) => ({
      ...proofDetail(secret),
      hashRecorded: secret.credentialHash !== '',
    })),
    serviceAccounts: kubernetesServiceAccounts.map(proofDetail),
    ...provenAt(provenAtMs),
  };
}

function proofDetail(proof: {
  namespace: string;
  name: string;
  uid: string;
  provenAtMs?: number;
}): ProofDetail {
  const { namespace, name, uid, provenAtMs } = proof;
  return { namespace, name, uid, ...provenAt(provenAtMs) };
}

function provenAt(ms: number | undefined): { provenAt?: string } {
  return ms === undefined ? {} : { provenAt: new Date(ms).toISOString() };
}

function timeOf({ updatedAtMs }: PulledRecord): string | null {
  return updatedAtMs === ZERO_TIME_MS ? null : new Date(updatedAtMs).toISOString();
}

/** Which records are wanted. */
export interface RecordFilter {
  /** As typed; also with tag or digest, which are left out of account. */
  readonly image?: string | undefined;
  /** Of a secret or service account. */
  readonly namespace?: string | undefined;
}

/** Says whether a record is wanted. */
export function recordFilter({
  image,
  namespace,
}: RecordFilter): (r: ImagePulledRecord) => boolean {
  const names = image === undefined ? undefined : recordKeysOf(image);
  return (given) =>
    PulledRecord.from(given).proofs.some(
      ({ imageName, credentials }) =>
        (names === undefined || names.has(imageName)) &&
        (namespace === undefined || isOfNamespace(credentials, namespace)),
    ) ||
    (names === undefined && namespace === undefined);
}

/** Says whether the intent of an image is wanted; intents have no namespace. */
export function intentFilter({ image, namespace }: RecordFilter): (image: string) => boolean {
  if (namespace !== undefined) return () => false;
  if (image === undefined) return () => true;
  const names = recordKeysOf(image);
  return (given) => given === image || [...recordKeysOf(given)].some((name) => names.has(name));
}

/** What records may have an image filed under: its full name, or the name as it was typed. */
export function recordKeysOf(image: string): ReadonlySet<string> {
  const typed = new Set([image]);
  try {
    typed.add(normalizedImageName(image));
    typed.add(trimImageTagDigest(image));
  } catch {
    // No image name: only what is filed under the very text can be meant.
  }
  return typed;
}

function isOfNamespace(credentials: ImagePullCredentials, namespace: string): boolean {
  const { kubernetesSecrets = [], kubernetesServiceAccounts = [] } = credentials;
  const isOf = (proof: { namespace: string }): boolean => proof.namespace === namespace;
  return kubernetesSecrets.some(isOf) || kubernetesServiceAccounts.some(isOf);
}
