/** The credentials of a trace as the ledger and the verifier count them. */
import type { ImagePullCredentials, PodCredentials } from '../../records/record.ts';
import type { TracedCredentials, TracedPlace, TracedSecret } from '../../trace/format.ts';
import type { Credential, SecretNumbers } from '../tenants.ts';

/** Secrets that the verifier tells apart in one decision. */
const SECRETS_MAX = 30;

/** Numbers places and contents as they come. */
export class TraceCredentials {
  /** Places that may hold a content, by its number; grows as credentials are made. */
  readonly placesOfHash: number[][] = [[]];
  readonly #places = new Map<string, number>();
  readonly #labels: string[] = [];
  readonly #hashes = new Map<string, number>();
  readonly #hasServiceAccounts: boolean;

  constructor(hasServiceAccounts: boolean) {
    this.#hasServiceAccounts = hasServiceAccounts;
  }

  /** Secrets and service accounts, wherever they are. */
  get count(): number {
    return this.#labels.length;
  }

  /** Number of a secret's or account's place; undefined where nobody has it. */
  placeOf(kind: 'secret' | 'account', place: TracedPlace): number | undefined {
    return this.#places.get(placeKey(kind, place));
  }

  /** Number of a secret's content; undefined where nobody has it. */
  hashOf(credentialHash: string): number | undefined {
    return this.#hashes.get(credentialHash);
  }

  /** A place in words. */
  labelOf(place: number): string {
    return this.#labels[place] ?? `place ${place}`;
  }

  /**
   * The credential of a line, as a pod presents it and as a pull is recorded with it.
   *
   * @param number Of the line; 0: a pod that presents nothing.
   */
  credential(number: number, traced: TracedCredentials): Credential {
    const { nodePodsAccessible = false, secrets = [], serviceAccounts = [] } = traced;
    const [account] = serviceAccounts;
    const numbers = secrets.map((secret) => this.#secret(secret));
    const counted = this.#hasServiceAccounts ? account : undefined;
    return {
      tenant: number,
      version: 0,
      isAnonymous: secrets.length === 0 && account === undefined,
      pod: podOf(secrets, account),
      secrets: numbers,
      account: counted === undefined ? -1 : this.#place('account', counted),
      proof: proofOf(nodePodsAccessible, secrets, account),
      provenSecrets: numbers.map((_, index) => index),
      isAccountProven: counted !== undefined,
    };
  }

  #secret(secret: TracedSecret): SecretNumbers {
    const place = this.#place('secret', secret);
    const hash = this.#hash(secret.credentialHash);
    const places = this.placesOfHash[hash]!;
    if (!places.includes(place)) places.push(place);
    return { place, hash, places };
  }

  #place(kind: 'secret' | 'account', place: TracedPlace): number {
    const key = placeKey(kind, place);
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    this.#places.set(key, this.#labels.length);
    this.#labels.push(`${kind} ${place.namespace}/${place.name} (${place.uid})`);
    return this.#labels.length - 1;
  }

  #hash(credentialHash: string): number {
    const known = this.#hashes.get(credentialHash);
    if (known !== undefined) return known;
    this.placesOfHash.push([]);
    this.#hashes.set(credentialHash, this.placesOfHash.length - 1);
    return this.placesOfHash.length - 1;
  }
}

/**
 * Whether the verifier can say what is right for who presents these. Of a secret without a hash it
 * cannot: the engine takes it for equal to none, not even to itself.
 */
export function isVerifiable({ secrets = [] }: TracedCredentials): boolean {
  return (
    secrets.length <= SECRETS_MAX && secrets.every(({ credentialHash }) => credentialHash !== '')
  );
}

/** Whether one pull can have been opened by these. */
export function isOneProof({ secrets = [], serviceAccounts = [] }: TracedCredentials): boolean {
  return (
    serviceAccounts.length <= 1 && secrets.every(({ credentialHash }) => credentialHash !== '')
  );
}

function podOf(secrets: readonly TracedSecret[], account: TracedPlace | undefined): PodCredentials {
  return {
    ...(secrets.length > 0 ? { secrets } : {}),
    ...(account === undefined ? {} : { serviceAccount: account }),
  };
}

function proofOf(
  nodePodsAccessible: boolean,
  secrets: readonly TracedSecret[],
  account: TracedPlace | undefined,
): ImagePullCredentials {
  if (nodePodsAccessible) return { nodePodsAccessible };
  return {
    ...(secrets.length > 0 ? { kubernetesSecrets: [...secrets] } : {}),
    ...(account === undefined ? {} : { kubernetesServiceAccounts: [account] }),
  };
}

function placeKey(kind: string, { uid, namespace, name }: TracedPlace): string {
  return JSON.stringify([kind, uid, namespace, name]);
}
