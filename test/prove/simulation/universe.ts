/** The few images, references and tenants of one history; no other history has the same. */
import type {
  ImagePullCredentials,
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
} from '../../../src/records/record.ts';

export const IMAGE_COUNT = 5;
export const REF_COUNT = 3;
/** Credentials that a pull may have been opened with, and those that a pod may present. */
export const PROOF_COUNT = 8;
export const OFFER_COUNT = 9;
/** What the allow list exempts: a prefix, at every level. */
export const ALLOWLIST: string[] = ['exempt.example.com/*'];

/** Plain data: travels to another thread. */
export interface Universe {
  readonly tag: string;
  readonly images: readonly string[];
  readonly imageRefs: readonly string[];
  /** References of other histories under way, which this one must not prune. */
  readonly spared: readonly string[];
}

/** The universes of histories that run at the same time. */
export function universesOf(tags: readonly string[]): Universe[] {
  const own = tags.map(universeOf);
  return own.map((universe) => ({
    ...universe,
    spared: own.flatMap((other) => (other === universe ? [] : other.imageRefs)),
  }));
}

function universeOf(tag: string): Universe {
  return {
    tag,
    images: [
      `registry.example.com/${tag}/app:1`,
      // The same name, so the same proofs, and an intent of its own.
      `registry.example.com/${tag}/app:2`,
      // One name up to v1.35, two from v1.36.
      `${tag}:1`,
      `exempt.example.com/${tag}/app:1`,
      // No image name at all.
      `registry.example.com/${tag}/NoName`,
    ],
    imageRefs: Array.from({ length: REF_COUNT }, (_, i) => `sha256:${tag}-${i}`),
    spared: [],
  };
}

function secret(tenant: number, content: string): ImagePullSecret {
  return { uid: `u${tenant}`, namespace: `n${tenant}`, name: 'pull', credentialHash: content };
}

function account(tenant: number): ImagePullServiceAccount {
  return { uid: `a${tenant}`, namespace: `n${tenant}`, name: 'default' };
}

/** Indexed by what a program says; the order is that of growing complexity. */
export const PROOFS: readonly (ImagePullCredentials | null)[] = [
  { kubernetesSecrets: [secret(0, 'x0')] },
  { kubernetesSecrets: [secret(1, 'x1')] },
  { nodePodsAccessible: true },
  null,
  {},
  { kubernetesServiceAccounts: [account(0)] },
  { kubernetesSecrets: [secret(0, 'rotated')], kubernetesServiceAccounts: [account(1)] },
  { kubernetesSecrets: [secret(2, ''), secret(1, 'x1')] },
];

export const OFFERS: readonly PodCredentials[] = [
  { secrets: [secret(0, 'x0')] },
  { secrets: [secret(1, 'x1')] },
  {},
  // The content of tenant 0's under other coordinates: is recorded where it matches.
  { secrets: [secret(3, 'x0')] },
  // Tenant 0's with other content.
  { secrets: [secret(0, 'rotated')] },
  { serviceAccount: account(0) },
  { secrets: [secret(4, 'unknown'), secret(1, 'x1')], serviceAccount: account(1) },
  // No content, under the coordinates that were recorded and under others.
  { secrets: [secret(2, '')] },
  { secrets: [secret(5, '')] },
];

/** Names for what reports must not show. */
export function labelOf(
  credentials: ImagePullCredentials | PodCredentials | null,
  list: readonly unknown[],
): string {
  const text = JSON.stringify(credentials);
  const index = list.findIndex((one) => JSON.stringify(one) === text);
  return index < 0 ? 'other credentials' : `${list === PROOFS ? 'proof' : 'offer'} ${index}`;
}
