/**
 * The images, references and tenants of crash tests: everything is a small number, so that an event
 * fits in a few bytes, and the text of each is a function of it.
 */
import type { RuntimeImage } from '../../../src/images/image-service.ts';
import type {
  ImagePullCredentials,
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
} from '../../../src/records/record.ts';

/** Few, so that a store is read and asked about in no time, and callers meet on keys. */
export const IMAGE_COUNT = 240;
/** Tenants that are given access; those from here on never are. */
export const TENANT_COUNT = 64;
/** Prunes leave out one class of references in turn. */
export const PRUNE_CLASSES = 20;
const SHARED_GROUPS = 8;

/** Kinds of credentials, the low byte of a code; tenant and version are above it. */
export const CREDENTIALS = {
  UNKNOWN: 0,
  EMPTY: 1,
  NODE_WIDE: 2,
  SECRET: 3,
  ACCOUNT: 4,
  SECRET_AND_ACCOUNT: 5,
  /** A secret with the content of another tenant's. */
  SHARED_SECRET: 6,
  /** The secrets of two tenants. */
  TWO_SECRETS: 7,
} as const;

/** The image text; two tags share one name. Every fifth name is a short one of the default registry. */
export function imageOf(index: number): string {
  const name = index >> 1;
  const tag = index & 1 ? 'v2' : 'v1';
  return name % 5 === 0
    ? `app-${name}:${tag}`
    : `registry.example.com/team-${name % 7}/app-${name}:${tag}`;
}

/** The record key of an image. */
export function imageNameOf(index: number): string {
  const image = imageOf(index).replace(/:v\d$/, '');
  return (index >> 1) % 5 === 0 ? `docker.io/library/${image}` : image;
}

export function refOf(index: number): string {
  return `sha256:${(index + 1).toString(16).padStart(8, '0').repeat(8)}`;
}

/** The references under which the content of an image is found; every reference has two images. */
export function refsOf(image: number): readonly [number, number] {
  return [image, (image + 7) % IMAGE_COUNT];
}

/** Whether this image is ever pulled with credentials that open it to every pod of the node. */
export function mayBeNodeWide(image: number): boolean {
  return (image >> 1) % 10 === 3;
}

/** The tenants that prove access to an image. */
export function tenantOf(image: number, choice: number): number {
  return ((image >> 1) * 5 + (choice % 4) * 3) % TENANT_COUNT;
}

export function credentialsCode(kind: number, tenant = 0, version = 0): number {
  return kind | (tenant << 8) | ((version & 0xff) << 20);
}

/** What a pull with this code succeeded with. */
export function credentialsOf(code: number): ImagePullCredentials | null {
  const kind = code & 0xff;
  const tenant = (code >>> 8) & 0xfff;
  const version = code >>> 20;
  switch (kind) {
    case CREDENTIALS.UNKNOWN:
      return null;
    case CREDENTIALS.EMPTY:
      return {};
    case CREDENTIALS.NODE_WIDE:
      return { nodePodsAccessible: true };
    case CREDENTIALS.SECRET:
      return { kubernetesSecrets: [secretOf(tenant, version)] };
    case CREDENTIALS.ACCOUNT:
      return { kubernetesServiceAccounts: [accountOf(tenant)] };
    case CREDENTIALS.SECRET_AND_ACCOUNT:
      return {
        kubernetesSecrets: [secretOf(tenant, version)],
        kubernetesServiceAccounts: [accountOf(tenant)],
      };
    case CREDENTIALS.SHARED_SECRET:
      return { kubernetesSecrets: [sharedSecretOf(tenant)] };
    case CREDENTIALS.TWO_SECRETS:
      return {
        kubernetesSecrets: [
          secretOf((tenant + 3) % TENANT_COUNT, version),
          secretOf(tenant, version),
        ],
      };
    default:
      throw new RangeError(`no credentials have the code ${code}`);
  }
}

/** What a pod presents that was given credentials of this code; one secret at most. */
export function podCredentialsOf(code: number): PodCredentials {
  const credentials = credentialsOf(code);
  const [secret] = credentials?.kubernetesSecrets ?? [];
  const [serviceAccount] = credentials?.kubernetesServiceAccounts ?? [];
  return {
    ...(secret === undefined ? {} : { secrets: [secret] }),
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
  };
}

/**
 * What pods present that may use no image but those open to everybody: of tenants that were never
 * given access, and made up to resemble those that were.
 */
export function foreignCredentials(image: number): readonly PodCredentials[] {
  const tenant = tenantOf(image, image);
  const known = secretOf(tenant, 0);
  return [
    { secrets: [secretOf(TENANT_COUNT + (image % 8), 0)] },
    { secrets: [{ ...known, uid: `${known.uid}-x`, credentialHash: 'guessed' }] },
    { secrets: [{ ...known, name: `${known.name}x`, credentialHash: '' }] },
    { serviceAccount: { ...accountOf(tenant), uid: 'another' } },
    { secrets: [], serviceAccount: accountOf(TENANT_COUNT + (image % 8)) },
    {},
  ];
}

/** What the runtime of a life that reconciles has: part of the images, one name each. */
export function runtimeImages(seed: number): RuntimeImage[] {
  const images: RuntimeImage[] = [];
  for (const image of runtimeImageIndexes(seed)) {
    images.push({ id: refOf(image), repoTags: [imageOf(image)], repoDigests: [] });
  }
  return images;
}

/** The indexes of `runtimeImages`; each one's id is the reference of the same index. */
export function runtimeImageIndexes(seed: number): number[] {
  const indexes: number[] = [];
  for (let image = seed % 3; image < IMAGE_COUNT; image += 3) indexes.push(image);
  return indexes;
}

/** All references but those of one class. */
export function listedRefs(unlisted: number): string[] {
  const refs: string[] = [];
  for (let ref = 0; ref < IMAGE_COUNT; ref++)
    if (ref % PRUNE_CLASSES !== unlisted) refs.push(refOf(ref));
  return refs;
}

function secretOf(tenant: number, version: number): ImagePullSecret {
  return {
    uid: `secret-${tenant}`,
    namespace: `team-${tenant % 9}`,
    name: 'pull',
    credentialHash: `hash-${tenant}-${version}`,
  };
}

function sharedSecretOf(tenant: number): ImagePullSecret {
  return {
    uid: `shared-${tenant}`,
    namespace: `team-${tenant % 9}`,
    name: 'shared',
    credentialHash: `hash-group-${tenant % SHARED_GROUPS}`,
  };
}

function accountOf(tenant: number): ImagePullServiceAccount {
  return { uid: `account-${tenant}`, namespace: `team-${tenant % 9}`, name: 'puller' };
}
