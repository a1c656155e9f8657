/** Tenants of a storm and what their pods present. */
import { createHash } from 'node:crypto';
import type {
  ImagePullCredentials,
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
} from '../records/record.ts';
import { hashNumbers, shareOf } from '../util/random.ts';

/** Shares that shape the tenants. */
export interface TenantOptions {
  readonly seed: number;
  readonly tenants: number;
  readonly sharedSecretShare: number;
  readonly serviceAccountShare: number;
  readonly rotatedShare: number;
}

/** A secret as numbers: where it is, and which content it has. */
export interface SecretNumbers {
  readonly place: number;
  /** From 1; 0 stands for "absent". */
  readonly hash: number;
  /** All places that may hold this content; grows as credentials are built. */
  readonly places: readonly number[];
}

/** What the pods of one tenant present at one time, as values and as numbers. */
export interface Credential {
  /** -1: a pod without credentials. */
  readonly tenant: number;
  readonly version: number;
  readonly isAnonymous: boolean;
  /** What pods present. The same object each time. */
  readonly pod: PodCredentials;
  readonly secrets: readonly SecretNumbers[];
  /** Place of the service account; -1: none. */
  readonly account: number;
  /** What a pull that this opened is recorded with. */
  readonly proof: ImagePullCredentials;
  /** Indexes into `secrets` of those in `proof`. */
  readonly provenSecrets: readonly number[];
  readonly isAccountProven: boolean;
}

const TEAM_SIZE = 12;
/** Tenants that use the same login, each in a secret of its own. */
const SHARING_SIZE = 4;
/** Contents of a rotated secret come round again after this many. */
const VERSIONS = 16;
/** Share of tenants whose pods present a useless secret first. */
const DECOY_SHARE = 0.2;
/** Share of tenants that are proven by a secret and a service account together. */
const BOTH_SHARE = 0.03;

const SALT = { SHARED: 11, ACCOUNT: 12, ROTATED: 13, DECOY: 14, BOTH: 15, PHASE: 16 } as const;

/** All tenants; credentials are built when they are first asked for. */
export class Tenants {
  readonly count: number;
  readonly teamCount: number;
  /** Places that may hold a content, by its number. */
  readonly placesOfHash: number[][] = [[]];
  readonly anonymous: Credential;
  readonly #options: TenantOptions;
  readonly #isRotated: Uint8Array;
  readonly #phases: Uint32Array;
  readonly #first: (Credential | undefined)[];
  readonly #later: (Credential | undefined)[][] = [];
  readonly #places = new Map<string, number>();
  readonly #labels: string[] = [];
  readonly #hashes = new Map<string, number>();

  constructor(options: TenantOptions) {
    this.#options = options;
    this.count = options.tenants;
    this.#first = new Array<Credential | undefined>(options.tenants).fill(undefined);
    this.teamCount = Math.max(1, Math.ceil(options.tenants / TEAM_SIZE));
    const { seed, rotatedShare } = options;
    this.#isRotated = new Uint8Array(this.count);
    this.#phases = new Uint32Array(this.count);
    for (let tenant = 0; tenant < this.count; tenant++) {
      const group = this.#group(tenant);
      this.#isRotated[tenant] = Number(shareOf(seed, SALT.ROTATED, group) < rotatedShare);
      this.#phases[tenant] = hashNumbers(seed, SALT.PHASE, group);
    }
    this.anonymous = {
      tenant: -1,
      version: 0,
      isAnonymous: true,
      pod: {},
      secrets: [],
      account: -1,
      proof: { nodePodsAccessible: true },
      provenSecrets: [],
      isAccountProven: false,
    };
  }

  teamOf(tenant: number): number {
    return tenant % this.teamCount;
  }

  /** A tenant of a team; `choice` is any whole number. */
  memberOf(team: number, choice: number): number {
    const members = Math.floor((this.count - 1 - team) / this.teamCount) + 1;
    return team + (choice % Math.max(1, members)) * this.teamCount;
  }

  /** Whether a tenant's secret changes from time to time. */
  isRotated(tenant: number): boolean {
    return this.#isRotated[tenant] === 1;
  }

  /** Any whole number, the same for tenants that use the same login. */
  phaseOf(tenant: number): number {
    return this.#phases[tenant]!;
  }

  /** What the pods of a tenant present after `version` rotations. */
  credential(tenant: number, version: number): Credential {
    const round = version % VERSIONS;
    if (round === 0) {
      this.#first[tenant] ??= this.#build(tenant, 0);
      return this.#first[tenant];
    }
    this.#later[tenant] ??= [];
    this.#later[tenant][round] ??= this.#build(tenant, round);
    return this.#later[tenant][round];
  }

  /** Number of a secret's or account's place; undefined where no tenant has it. */
  placeOf(kind: 'secret' | 'account', place: ImagePullServiceAccount): number | undefined {
    return this.#places.get(placeKey(kind, place));
  }

  /** Number of a secret's content; undefined where no tenant has it. */
  hashOf(credentialHash: string): number | undefined {
    return this.#hashes.get(credentialHash);
  }

  /** A place in words, without anything secret. */
  labelOf(place: number): string {
    return this.#labels[place] ?? `place ${place}`;
  }

  /** Tenants with the same login have the same group. */
  #group(tenant: number): number {
    const { seed, sharedSecretShare } = this.#options;
    const group = Math.floor(tenant / SHARING_SIZE);
    return shareOf(seed, SALT.SHARED, group) < sharedSecretShare ? -1 - group : tenant;
  }

  #build(tenant: number, version: number): Credential {
    const { seed, serviceAccountShare } = this.#options;
    const namespace = `team-${this.teamOf(tenant)}`;
    const uid = `tenant-${tenant}`;
    const hasAccount = shareOf(seed, SALT.ACCOUNT, tenant) < serviceAccountShare;
    const hasBoth = serviceAccountShare > 0 && shareOf(seed, SALT.BOTH, tenant) < BOTH_SHARE;
    const account = hasAccount || hasBoth ? { uid, namespace, name: 'puller' } : undefined;
    const values: ImagePullSecret[] = [];
    const numbers: SecretNumbers[] = [];
    const add = (secret: ImagePullSecret): void => {
      values.push(secret);
      const place = this.#place('secret', secret, `${secret.name} of tenant ${tenant}`);
      const hash = this.#hash(secret.credentialHash);
      const places = this.placesOfHash[hash]!;
      if (!places.includes(place)) places.push(place);
      numbers.push({ place, hash, places });
    };
    if (!hasAccount || hasBoth) {
      if (shareOf(seed, SALT.DECOY, tenant) < DECOY_SHARE) {
        const credentialHash = contentHash(seed, `decoy ${tenant}`);
        add({ uid, namespace, name: 'other-registry', credentialHash });
      }
      const credentialHash = contentHash(seed, `${this.#group(tenant)} ${version}`);
      add({ uid, namespace, name: 'registry-login', credentialHash });
    }
    const proof: ImagePullCredentials = {};
    if (values.length > 0) proof.kubernetesSecrets = [values.at(-1)!];
    if (account !== undefined && (hasBoth || values.length === 0)) {
      proof.kubernetesServiceAccounts = [account];
    }
    const pod: PodCredentials = {};
    if (values.length > 0) pod.secrets = values;
    if (account !== undefined) pod.serviceAccount = account;
    return {
      tenant,
      version,
      isAnonymous: false,
      pod,
      secrets: numbers,
      account:
        account === undefined
          ? -1
          : this.#place('account', account, `service account of tenant ${tenant}`),
      proof,
      provenSecrets: values.length > 0 ? [values.length - 1] : [],
      isAccountProven: proof.kubernetesServiceAccounts !== undefined,
    };
  }

  #place(kind: 'secret' | 'account', place: ImagePullServiceAccount, label: string): number {
    const key = placeKey(kind, place);
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    this.#places.set(key, this.#labels.length);
    this.#labels.push(label);
    return this.#labels.length - 1;
  }

  #hash(credentialHash: string): number {
    const known = this.#hashes.get(credentialHash);
    if (known !== undefined) return known;
    this.#hashes.set(credentialHash, this.placesOfHash.length);
    this.placesOfHash.push([]);
    return this.placesOfHash.length - 1;
  }
}

function placeKey(kind: string, place: ImagePullServiceAccount): string {
  return JSON.stringify([kind, place.uid, place.namespace, place.name]);
}

function contentHash(seed: number, content: string): string {
  return createHash('sha256').update(`${seed} ${content}`).digest('hex');
}
