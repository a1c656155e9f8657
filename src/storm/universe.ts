/**
 * What a storm is about: images, their references on the node, and who may pull them. Everything
 * follows from the seed and the scenario; nothing here changes during a run but a memo.
 */
import { KUBELET_BEHAVIOUR, type KubeletBehaviour } from '../compatibility.ts';
import { IMAGE_TEXT } from '../images/image-text.ts';
import { hashNumbers, Random, shareOf, shuffled } from '../util/random.ts';
import type { ImageReference } from './image-list.ts';
import { type Credential, Tenants } from './tenants.ts';

/** How an image is pulled. */
export const IMAGE_KIND = {
  /** By anybody, without credentials: its record opens it to the whole node. */
  PUBLIC: 0,
  /** By the node's own credentials: the same record. */
  NODE: 1,
  /** By tenants of the teams that own it. */
  PRIVATE: 2,
  /** Never: it came with the node. */
  PRELOADED: 3,
} as const;

/** Shares and sizes that shape a universe. */
export interface UniverseOptions {
  readonly seed: number;
  readonly tenants: number;
  readonly publicShare: number;
  readonly nodeCredentialShare: number;
  readonly preloadedShare: number;
  readonly sharedSecretShare: number;
  readonly serviceAccountShare: number;
  readonly rotatedShare: number;
  /** At least this many images; made-up ones are added where the list is shorter. @default 0 */
  readonly minimumImages?: number;
  /** Says under which names proofs are filed, and whether there are service accounts. @default v1.35 */
  readonly behaviour?: KubeletBehaviour;
}

/** Teams that own a private image. */
const OWNERS_OF_IMAGE = 3;
/** Share of tags that point to the same content as the tag before. */
const ALIAS_SHARE = 0.25;
/** Share of images that are a copy of another repository's. */
const MIRROR_SHARE = 0.02;
/** Share of images of Docker Hub that are typed without the registry. */
const SHORT_NAME_SHARE = 0.1;

const SALT = { KIND: 1, ALIAS: 2, MIRROR: 3, SHORT: 4, OWNER: 5, MEMBER: 6, REF: 7 } as const;

/** Images, references and tenants of one storm. Images and references are numbered from 0. */
export class Universe {
  readonly seed: number;
  /** As pods write them, by image. */
  readonly images: readonly string[];
  /** As the runtime lists them: always with the registry. */
  readonly fullImages: readonly string[];
  readonly names: readonly string[];
  readonly refs: readonly string[];
  readonly nameOfImage: Int32Array;
  readonly refOfImage: Int32Array;
  readonly kindOfImage: Uint8Array;
  readonly imagesOfRef: readonly (readonly number[])[];
  /** Images from the most to the least popular. */
  readonly byPopularity: Int32Array;
  readonly tenants: Tenants;
  readonly #owners: Int32Array;

  constructor(list: readonly ImageReference[], options: UniverseOptions) {
    const { seed } = options;
    this.seed = seed;
    const references = extended(list, options.minimumImages ?? 0);
    const count = references.length;
    this.fullImages = references.map(({ image }) => image);
    this.images = references.map(({ image }, index) =>
      shareOf(seed, SALT.SHORT, index) < SHORT_NAME_SHARE ? shortForm(image) : image,
    );
    const numbers = new Map<string, number>();
    const { recordKey, hasServiceAccounts } = options.behaviour ?? KUBELET_BEHAVIOUR['v1.35'];
    const isTyped = recordKey === 'nameAsTyped';
    this.nameOfImage = Int32Array.from(references, ({ name }, image) =>
      numberOf(numbers, isTyped ? IMAGE_TEXT[recordKey](this.images[image]!) : name),
    );
    this.names = [...numbers.keys()];
    this.kindOfImage = new Uint8Array(count);
    this.refOfImage = new Int32Array(count);
    const imagesOfRef: number[][] = [];
    for (let image = 0; image < count; image++) {
      const original = originalOf(seed, this.nameOfImage, image);
      const ref = original === image ? imagesOfRef.length : this.refOfImage[original]!;
      this.refOfImage[image] = ref;
      imagesOfRef[ref] ??= [];
      imagesOfRef[ref].push(image);
      const isAlias = this.nameOfImage[original] === this.nameOfImage[image];
      const originalKind = original === image ? undefined : this.kindOfImage[original];
      this.kindOfImage[image] = kindOf(options, image, isAlias, originalKind);
    }
    this.imagesOfRef = imagesOfRef;
    this.refs = imagesOfRef.map((_, ref) => `sha256:${hexDigits(seed, ref)}`);
    this.byPopularity = shuffled(count, new Random(seed, 0xface));
    this.tenants = new Tenants(
      hasServiceAccounts ? options : { ...options, serviceAccountShare: 0 },
    );
    const { teamCount } = this.tenants;
    this.#owners = Int32Array.from(
      { length: count * OWNERS_OF_IMAGE },
      (_, index) => hashNumbers(seed, SALT.OWNER, index) % teamCount,
    );
  }

  /** One of the teams that own a private image; `choice` is any whole number. */
  ownerOf(image: number, choice: number): number {
    return this.#owners[image * OWNERS_OF_IMAGE + (choice % OWNERS_OF_IMAGE)]!;
  }

  /** Whether the registry lets a tenant pull an image. */
  hasAccess(image: number, tenant: number): boolean {
    if (this.kindOfImage[image] !== IMAGE_KIND.PRIVATE) return true;
    const team = this.tenants.teamOf(tenant);
    for (let choice = 0; choice < OWNERS_OF_IMAGE; choice++) {
      if (this.ownerOf(image, choice) === team) return true;
    }
    return false;
  }

  /** What a successful pull by a credential records: node-wide, or what opened the image. */
  isNodeWide(image: number, credential: Credential): boolean {
    return this.kindOfImage[image] !== IMAGE_KIND.PRIVATE || credential.isAnonymous;
  }
}

function extended(list: readonly ImageReference[], minimum: number): ImageReference[] {
  const references = [...list];
  for (let index = list.length; index < minimum; index++) {
    const name = `registry.example/team-${index % 97}/app-${Math.floor(index / 8)}`;
    references.push({ image: `${name}:v${index % 8}`, name });
  }
  return references;
}

/** The image whose content this one shares; itself for most. */
function originalOf(seed: number, nameOfImage: Int32Array, image: number): number {
  if (image === 0) return image;
  if (shareOf(seed, SALT.MIRROR, image) < MIRROR_SHARE) {
    return hashNumbers(seed, SALT.MIRROR + 100, image) % image;
  }
  const isSameName = nameOfImage[image] === nameOfImage[image - 1];
  return isSameName && shareOf(seed, SALT.ALIAS, image) < ALIAS_SHARE ? image - 1 : image;
}

function kindOf(
  options: UniverseOptions,
  image: number,
  isAlias: boolean,
  originalKind: number | undefined,
): number {
  // What came with the node is not pulled under any of its names.
  if (originalKind !== undefined && (isAlias || originalKind === IMAGE_KIND.PRELOADED)) {
    return originalKind;
  }
  let share = shareOf(options.seed, SALT.KIND, image);
  share -= options.preloadedShare;
  if (share < 0) return originalKind === undefined ? IMAGE_KIND.PRELOADED : IMAGE_KIND.PUBLIC;
  share -= options.publicShare;
  if (share < 0) return IMAGE_KIND.PUBLIC;
  share -= options.nodeCredentialShare;
  return share < 0 ? IMAGE_KIND.NODE : IMAGE_KIND.PRIVATE;
}

const HUB_LIBRARY = 'docker.io/library/';

function shortForm(image: string): string {
  return image.startsWith(HUB_LIBRARY) ? image.slice(HUB_LIBRARY.length) : image;
}

function numberOf(numbers: Map<string, number>, text: string): number {
  const known = numbers.get(text);
  if (known !== undefined) return known;
  numbers.set(text, numbers.size);
  return numbers.size - 1;
}

/** 64 hexadecimal digits that look like a digest. */
function hexDigits(seed: number, ref: number): string {
  let digits = '';
  for (let part = 0; part < 8; part++) {
    digits += hashNumbers(seed, SALT.REF, ref, part).toString(16).padStart(8, '0');
  }
  return digits;
}
