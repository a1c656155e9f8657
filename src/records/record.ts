/**
 * The shapes of records, in upstream's field names, and `PulledRecord`, the compact immutable form
 * in which the engine keeps them.
 *
 * Source: kubernetes/kubelet config/v1beta1 types.
 */

/** A Kubernetes secret that opened an image. The hash is of the credentials, never the secret itself. */
export interface ImagePullSecret {
  uid: string;
  namespace: string;
  name: string;
  /** SHA-256 (hex) of the pull credentials; empty where it could not be computed. */
  credentialHash: string;
  /**
   * When a registry last accepted this proof, in milliseconds since 1970. Kept only by engines
   * opened with `reverifyAfter`; absent means "unknown", which such an engine takes as too old.
   */
  provenAtMs?: number;
}

/** A Kubernetes service account whose token opened an image. */
export interface ImagePullServiceAccount {
  uid: string;
  namespace: string;
  name: string;
  /** See `ImagePullSecret.provenAtMs`. */
  provenAtMs?: number;
}

/** Who may use an image under one name. Node-wide access and the lists exclude each other. */
export interface ImagePullCredentials {
  /** Any pod of the node may use the image. @default false */
  nodePodsAccessible?: boolean;
  kubernetesSecrets?: ImagePullSecret[];
  kubernetesServiceAccounts?: ImagePullServiceAccount[];
  /** See `ImagePullSecret.provenAtMs`; for node-wide access. */
  provenAtMs?: number;
}

/** Durable note that a pull of `image` was begun. */
export interface ImagePullIntent {
  image: string;
}

/** "The node pulled `imageRef`; these credentials opened it." */
export interface ImagePulledRecord {
  imageRef: string;
  lastUpdatedTime: Date;
  /** Key: image name without tag and digest. */
  credentialMapping: Record<string, ImagePullCredentials>;
}

/** What a pod presents. */
export interface PodCredentials {
  secrets?: readonly ImagePullSecret[];
  serviceAccount?: ImagePullServiceAccount;
}

/** What a pod presents, or a function that is asked at most once and only when it matters. */
export type PodCredentialsSource =
  | PodCredentials
  | (() => PodCredentials | Promise<PodCredentials>);

/** What a pod presents that has nothing to present. */
export const NO_CREDENTIALS: PodCredentials = Object.freeze({});

/** Partial success as a value: what could be read, and what could not. */
export interface Listing<T, E = Error> {
  records: T[];
  errors: E[];
}

/** How a written record came out of the stored one; a store may log this instead of the whole. */
export interface RecordChange {
  readonly imageName: string;
  /** Normalised; merged into what is stored under `imageName`. */
  readonly credentials: ImagePullCredentials;
}

/** The time of a record that has none: Go's zero time, older than any cut-off in use. */
export const ZERO_TIME_MS = -62_135_596_800_000;

/** One name of a pulled record and the credentials proven for it. */
export interface NameProof {
  readonly imageName: string;
  readonly credentials: ImagePullCredentials;
}

/**
 * The compact, immutable form of `ImagePulledRecord`: what owners, replicas and stores hold.
 *
 * Readable as an `ImagePulledRecord`; its getters build new plain values at each call, so nobody
 * can change what other readers see. `proofs` is sorted by name in UTF-8 byte order.
 */
export class PulledRecord implements ImagePulledRecord {
  readonly imageRef: string;
  readonly updatedAtMs: number;
  readonly proofs: readonly NameProof[];

  constructor(imageRef: string, updatedAtMs: number, proofs: readonly NameProof[]) {
    this.imageRef = imageRef;
    this.updatedAtMs = updatedAtMs;
    this.proofs = proofs;
  }

  /** The compact form of any record; the same object where it is compact already. */
  static from(record: ImagePulledRecord): PulledRecord {
    if (record instanceof PulledRecord) return record;
    const time = record.lastUpdatedTime?.getTime();
    const proofs = Object.entries(record.credentialMapping ?? {})
      .map(([imageName, credentials]) => ({ imageName, credentials }))
      .sort((a, b) => compareUtf8(a.imageName, b.imageName));
    return new PulledRecord(record.imageRef, Number.isFinite(time) ? time : ZERO_TIME_MS, proofs);
  }

  credentialsFor(imageName: string): ImagePullCredentials | undefined {
    for (const proof of this.proofs) if (proof.imageName === imageName) return proof.credentials;
    return undefined;
  }

  get lastUpdatedTime(): Date {
    return new Date(this.updatedAtMs);
  }

  get credentialMapping(): Record<string, ImagePullCredentials> {
    // Defines rather than assigns, so that a key `__proto__` is a key like any other.
    return Object.fromEntries(
      this.proofs.map(({ imageName, credentials }) => [imageName, copyCredentials(credentials)]),
    );
  }

  toPlain(): ImagePulledRecord {
    return {
      imageRef: this.imageRef,
      lastUpdatedTime: this.lastUpdatedTime,
      credentialMapping: this.credentialMapping,
    };
  }
}

function copyCredentials(credentials: ImagePullCredentials): ImagePullCredentials {
  const copy: ImagePullCredentials = { ...credentials };
  if (credentials.kubernetesSecrets) {
    copy.kubernetesSecrets = credentials.kubernetesSecrets.map((secret) => ({ ...secret }));
  }
  if (credentials.kubernetesServiceAccounts) {
    copy.kubernetesServiceAccounts = credentials.kubernetesServiceAccounts.map((account) => ({
      ...account,
    }));
  }
  return copy;
}

/**
 * Orders texts by their UTF-8 bytes, as the reference does. UTF-16 order differs only where
 * surrogates meet characters from U+E000 on: there the surrogate pair is the larger.
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && x <= 0xdfff) x += 0x10000;
    if (y >= 0xd800 && y <= 0xdfff) y += 0x10000;
    return x - y;
  }
  return a.length - b.length;
}
