/** What the credentials of an image are filed under in a record, remembered for images seen lately. */
import type { KubeletBehaviour } from '../compatibility.ts';
import type { PullManagerError } from '../errors.ts';
import { IMAGE_TEXT, type ImageText } from '../images/image-text.ts';
import { BoundedCache } from '../util/bounded-cache.ts';
import { KEY_UNITS_MAX } from './replica.ts';

const IMAGES_MAX = 1 << 16;

/** Used by one thread. */
export class RecordKeys {
  readonly #textOf: ImageText;
  readonly #known = new BoundedCache<string, string | PullManagerError>(IMAGES_MAX);

  constructor({ recordKey }: Pick<KubeletBehaviour, 'recordKey'>) {
    this.#textOf = IMAGE_TEXT[recordKey];
  }

  /** The key, or why there is none: `IMAGE_NAME_INVALID`. */
  find(image: string): string | PullManagerError {
    const known = this.#known.get(image);
    if (known !== undefined) return known;
    let key: string | PullManagerError;
    try {
      key = this.#textOf(image);
    } catch (error) {
      key = error as PullManagerError;
    }
    if (image.length <= KEY_UNITS_MAX) this.#known.set(image, key);
    return key;
  }

  /** The key; throws `IMAGE_NAME_INVALID`. */
  of(image: string): string {
    const key = this.find(image);
    if (typeof key !== 'string') throw key;
    return key;
  }
}
