/**
 * What benchmarks ask for: made-up but life-like names, tenants and credentials, the same in every
 * run, and storms whose every answer is known beforehand.
 */
import { createHash } from 'node:crypto';
import type { ImagePullManager } from '../../src/image-pull-manager.ts';
import type {
  ImagePullCredentials,
  ImagePullSecret,
  PodCredentials,
} from '../../src/records/record.ts';

/** What is measured: an engine or a baseline. `PullManager` is one as it is. */
export interface BenchSubject
  extends Omit<ImagePullManager, 'mustAttemptImagePull' | 'pruneUnknownRecords'> {
  /** Never given a source of credentials, only credentials. */
  mustAttemptImagePull(
    image: string,
    imageRef: string,
    credentials?: PodCredentials,
  ): Promise<boolean>;
  pruneUnknownRecords(imageRefs: Iterable<string>, until: Date): Promise<unknown>;
  close(): Promise<void>;
}

/** An image on the node, and the tenant who pulled it. */
export interface WorkloadImage {
  readonly image: string;
  readonly imageRef: string;
  /** 0-based. */
  readonly tenant: number;
  /** What `recordImagePulled` is given. */
  readonly credentials: ImagePullCredentials;
}

/** One operation of a storm. A pull is two: the intent and its outcome. */
export type StormStep =
  | {
      readonly kind: 'decide';
      readonly image: WorkloadImage;
      readonly pod: PodCredentials;
      readonly mustPull: boolean;
    }
  | { readonly kind: 'pull'; readonly image: WorkloadImage };

const REGISTRY_COUNT = 12;
const MINOR_COUNT = 30;
/** Of 20 operations 18 are decisions, and 2 the intent and the outcome of a pull. */
const DECISIONS_PER_PULL = 18;
/** One decision in so many is asked by a tenant who may not use the image. */
const STRANGER_EVERY = 8;
const PLAN_LENGTH = 1 << 18;
/** Contents that the second secret of a tenant goes through; a prime, so that images see them all. */
const ROTATION_COUNT = 1021;

/** Whether the `index`-th decision is asked by a tenant who may not use the image. */
export function isStranger(index: number): boolean {
  return index % STRANGER_EVERY === 0;
}

/** Whether the `index`-th step of a storm is a pull. */
function isPull(index: number): boolean {
  return index % (DECISIONS_PER_PULL + 1) === DECISIONS_PER_PULL;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function uidOf(text: string): string {
  const hex = sha256(text);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...parts, hex.slice(20, 32)].join('-');
}

function tenantSecret(tenant: number, name: string): ImagePullSecret {
  return {
    uid: uidOf(`${name} of tenant ${tenant}`),
    namespace: `tenant-${tenant}`,
    name,
    credentialHash: sha256(`${name} of tenant ${tenant}`),
  };
}

/** The text in one piece, as it would come from a parser; pieces are joined at first use otherwise. */
function flat(text: string): string {
  return Buffer.from(text).toString();
}

/** The text of the `index`-th image, all different. */
export function imageText(index: number, tenant: number): string {
  const registry = `registry-${index % REGISTRY_COUNT}.example.com`;
  return flat(`${registry}/tenant-${tenant}/service-${index}:v1.${index % MINOR_COUNT}.0`);
}

/** What the runtime calls the `index`-th image. */
export function imageRefOf(index: number): string {
  return flat(`sha256:${sha256(`image ${index}`)}`);
}

/** A generator of numbers in [0, 1), the same in every run: mulberry32. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Images of tenants, and what they ask for. Every image was pulled by one tenant. */
export class Workload {
  readonly images: readonly WorkloadImage[];
  readonly tenantCount: number;
  readonly #pods: readonly PodCredentials[];
  readonly #deployers: readonly ImagePullSecret[];
  readonly #rotation: readonly string[];
  readonly #plan: Uint32Array;

  constructor(imageCount: number, tenantCount: number, seed = 1) {
    this.tenantCount = tenantCount;
    const tenants = Array.from({ length: tenantCount }, (_, tenant) => tenant);
    const secrets = tenants.map((tenant) => tenantSecret(tenant, 'registry'));
    this.#deployers = tenants.map((tenant) => tenantSecret(tenant, 'deployer'));
    this.#rotation = Array.from({ length: ROTATION_COUNT }, (_, n) => sha256(`content ${n}`));
    this.#pods = secrets.map((secret) => ({ secrets: [secret] }));
    this.images = Array.from({ length: imageCount }, (_, index) => {
      const tenant = index % tenantCount;
      return {
        image: imageText(index, tenant),
        imageRef: imageRefOf(index),
        tenant,
        credentials: { kubernetesSecrets: [secrets[tenant]!] },
      };
    });
    this.#plan = zipf(imageCount, PLAN_LENGTH, random(seed));
  }

  /** The image that the `index`-th operation is about: few are asked for often (Zipf). */
  pick(index: number): WorkloadImage {
    return this.images[this.#plan[index % PLAN_LENGTH]!]!;
  }

  /** A pod of the tenant who pulled the image, or of another one. */
  podOf(image: WorkloadImage, stranger: boolean): PodCredentials {
    return this.#pods[(image.tenant + (stranger ? 1 : 0)) % this.tenantCount]!;
  }

  /** Records all images, so that the storm's answers are known. */
  async load(subject: BenchSubject, inFlight = 1024): Promise<void> {
    let next = 0;
    const loop = async (): Promise<void> => {
      while (next < this.images.length) {
        const { image, imageRef, credentials } = this.images[next++]!;
        await subject.recordPullIntent(image);
        await subject.recordImagePulled(image, imageRef, credentials);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, loop));
  }

  /**
   * Credentials of the `index`-th pull: the tenant's second secret, with new content. So every pull
   * changes the record, and no decision of a storm depends on it.
   */
  pullCredentials(tenant: number, index: number): ImagePullCredentials {
    const credentialHash = this.#rotation[index % ROTATION_COUNT]!;
    return { kubernetesSecrets: [{ ...this.#deployers[tenant]!, credentialHash }] };
  }

  /** The `index`-th step of a storm of 90 % decisions; needs at least two tenants. */
  step(index: number): StormStep {
    const image = this.pick(index);
    if (isPull(index)) return { kind: 'pull', image };
    const mustPull = isStranger(index);
    return { kind: 'decide', image, pod: this.podOf(image, mustPull), mustPull };
  }

  /** Performs the `index`-th step of the storm and checks the answer. */
  async perform(subject: BenchSubject, index: number): Promise<void> {
    this.check(index, await this.begin(subject, index));
  }

  /** As `perform`, but leaves the answer to the caller, who gives it to `check`. */
  begin(subject: BenchSubject, index: number): Promise<boolean | undefined> {
    const step = this.step(index);
    if (step.kind === 'pull') return this.#pull(subject, step.image, index);
    const { image, imageRef } = step.image;
    return subject.mustAttemptImagePull(image, imageRef, step.pod);
  }

  /** Throws unless `answer` is right for the `index`-th step. */
  check(index: number, answer: boolean | undefined): void {
    if (answer === (isPull(index) ? undefined : isStranger(index))) return;
    throw new Error(`wrong answer for ${this.pick(index).image}: ${answer}`);
  }

  async #pull(subject: BenchSubject, pulled: WorkloadImage, index: number): Promise<undefined> {
    const { image, imageRef, tenant } = pulled;
    await subject.recordPullIntent(image);
    await subject.recordImagePulled(image, imageRef, this.pullCredentials(tenant, index));
  }
}

/** Operations in one step of a storm, on average: a pull is two. */
export const OPERATIONS_PER_STEP: number = (DECISIONS_PER_PULL + 2) / (DECISIONS_PER_PULL + 1);

/** `length` draws from 0 to `count` - 1; the chance of the n-th is in proportion to 1 / n. */
function zipf(count: number, length: number, next: () => number): Uint32Array {
  const cumulative = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += 1 / (i + 1);
    cumulative[i] = sum;
  }
  return Uint32Array.from({ length }, () => {
    const target = next() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle]! < target) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}
