/**
 * A node whose images and tenants change all the time: a window that slides over endless numbers.
 * Image `n` belongs to tenant `n / IMAGES_PER_TENANT`, and neither its name nor its id nor that of its
 * tenant ever comes back, so whatever is kept for them too long shows as growth.
 */
import { createHash } from 'node:crypto';
import type { ImagePullSecret, PodCredentials } from '../../src/records/record.ts';

const IMAGES_PER_TENANT = 8;
const REGISTRIES = 12;

/** What is known of an image of the window. */
export interface ChurnImage {
  readonly image: string;
  readonly imageRef: string;
  readonly tenant: number;
  /** A pull of it was acknowledged, so its owner may use it. */
  isPulled: boolean;
  /** A pull of it is under way. */
  isPulling: boolean;
  /** Something failed while it was written: nothing is known of it any more. */
  isLost: boolean;
}

/** The window, and what is asked about it. */
export class Churn {
  readonly #window: ChurnImage[] = [];
  readonly #size: number;
  #next = 0;
  /** Images that left the window since the last collection but one, and since the last. */
  #leaving: ChurnImage[] = [];
  #left: ChurnImage[] = [];
  /** Images that are listed no more, since the last collection that went well. */
  #dueCount = 0;

  /** @param size Images on the node at a time. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Images that have been on the node so far. */
  get seenCount(): number {
    return this.#next;
  }

  /** A new image comes; once the window is full, the oldest goes. */
  advance(): ChurnImage {
    const number = this.#next++;
    const tenant = Math.floor(number / IMAGES_PER_TENANT);
    const added: ChurnImage = {
      image: `registry-${number % REGISTRIES}.example/team-${tenant}/app-${number}:1.${number % 7}`,
      imageRef: `sha256:${digest(`image ${number}`)}`,
      tenant,
      isPulled: false,
      isPulling: false,
      isLost: false,
    };
    this.#window.push(added);
    if (this.#window.length > this.#size) this.#leaving.push(this.#window.shift()!);
    return added;
  }

  /** One of the window; `undefined` while there is none. */
  pick(choice: number): ChurnImage | undefined {
    return this.#window[choice % Math.max(1, this.#window.length)];
  }

  /**
   * The ids that the runtime lists. An image that left is listed once more, so that no question about
   * it is still under way when its record goes.
   */
  listedRefs(): string[] {
    this.#dueCount += this.#left.length;
    this.#left = this.#leaving;
    this.#leaving = [];
    return [...this.#window, ...this.#left].map(({ imageRef }) => imageRef);
  }

  /** The records of all images that were not listed are gone. */
  collected(): void {
    this.#dueCount = 0;
  }

  /** An image comes in once, and never comes back. */
  isInWindow(imageRef: string): boolean {
    return this.#window.some((image) => image.imageRef === imageRef);
  }

  /** Records that there have to be, at least, and at most. */
  recordCounts(): { readonly least: number; readonly most: number } {
    const known = this.#window.filter(({ isPulled, isLost }) => isPulled && !isLost).length;
    const gone = this.#leaving.length + this.#left.length + this.#dueCount;
    return { least: known, most: this.#window.length + gone };
  }
}

/** Secret of a tenant; with another `version` its content is another, its coordinates are not. */
export function secretOf(tenant: number, version: number): ImagePullSecret {
  return {
    uid: digest(`uid ${tenant}`).slice(0, 36),
    namespace: `team-${tenant}`,
    name: 'pull',
    credentialHash: digest(`secret ${tenant} ${version}`),
  };
}

/** What a pod of a tenant presents. */
export function podOf(tenant: number, version: number): PodCredentials {
  return { secrets: [secretOf(tenant, version)] };
}

/** A pod of a tenant that has nothing to do with any image. */
export function strangerOf(tenant: number): PodCredentials {
  return podOf(-1 - tenant, 0);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
