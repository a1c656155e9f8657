/** Records and texts to try stores with, and forms in which what they answer is compared. */
import {
  type ImagePullCredentials,
  type ImagePulledRecord,
  type ImagePullSecret,
  PulledRecord,
} from '../records/record.ts';

/** Texts that stores of all kinds have been seen to confuse. */
export const TRICKY_TEXTS: readonly string[] = [
  '',
  ' ',
  'a',
  'A',
  'a ',
  'a\0',
  'a\0b',
  '\0',
  '__proto__',
  'constructor',
  'toString',
  '../../etc/passwd',
  'a/b',
  'docker.io/library/busybox:1.36',
  `registry.example/app@sha256:${'0'.repeat(64)}`,
  'é',
  'e\u0301',
  '\u{1f4e6}',
  '\u{1f4e6}\u{1f4e6}',
  '\ufffd',
  '\uffff',
  '\u{10ffff}',
  'x'.repeat(2000),
  'x'.repeat(10_000),
  `${'x'.repeat(9_999)}y`,
  'ü'.repeat(10_000),
];

/** The time of a sample record. */
export const TIME_MS: number = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** A record in normal form, as the engine writes it. */
export function record(
  imageRef: string,
  credentialMapping: Record<string, ImagePullCredentials> = { name: {} },
  updatedAtMs: number = TIME_MS,
): ImagePulledRecord {
  return { imageRef, lastUpdatedTime: new Date(updatedAtMs), credentialMapping };
}

/** Credentials with that many secrets. */
export function secrets(count: number, credentialHash?: string): ImagePullCredentials {
  const kubernetesSecrets = Array.from({ length: count }, (_, i) => secret(i, credentialHash));
  return { kubernetesSecrets };
}

/** One secret, told apart by its index. */
export function secret(index: number, credentialHash = `hash-${index}`): ImagePullSecret {
  const name = `secret-${String(index).padStart(6, '0')}`;
  return { uid: `uid-${index}`, namespace: 'ns', name, credentialHash };
}

/**
 * A form of a record that can be compared whole: names as they are, in one order, the time in the
 * steps of the store.
 */
export function comparable(of: ImagePulledRecord | undefined, timeResolutionMs = 1): unknown {
  if (of === undefined) return undefined;
  const { imageRef, updatedAtMs, proofs } = PulledRecord.from(of);
  return {
    imageRef,
    updatedAtMs: Math.floor(updatedAtMs / timeResolutionMs) * timeResolutionMs,
    proofs: proofs.map(({ imageName, credentials }) => [imageName, withoutUndefined(credentials)]),
  };
}

/** The same for a list, in one order. */
export function comparableList(
  records: readonly ImagePulledRecord[],
  timeResolutionMs = 1,
): unknown[] {
  return [...records]
    .sort((a, b) => (a.imageRef < b.imageRef ? -1 : a.imageRef > b.imageRef ? 1 : 0))
    .map((one) => comparable(one, timeResolutionMs));
}

/** A copy in plain objects. A field that is undefined is as good as one that is not there. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.map(([name, field]) => [name, withoutUndefined(field)]));
}
