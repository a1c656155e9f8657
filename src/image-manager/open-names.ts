/**
 * Names of images whose pulls are open: under way, or unanswered and not settled.
 *
 * Intents protect an image under the text that was requested [W28]. But what a pull brings is visible
 * under other names as well, first of all under its digest, before the pull is recorded. Nothing but
 * the open pull then tells that such an image is not preloaded.
 */
import { parseImageName } from '../images/image-name.ts';
import type { RuntimeImage } from '../images/image-service.ts';

/** Used by one thread. */
export class OpenNames {
  /** By full name: the requested texts that mean it, and how many pulls of each are open. */
  readonly #open = new Map<string, Map<string, number>>();

  get isEmpty(): boolean {
    return this.#open.size === 0;
  }

  /** A pull of the image is to begin, or is taken over. */
  begin(image: string): void {
    const name = fullName(image);
    if (name === undefined) return;
    const texts = this.#open.get(name) ?? new Map<string, number>();
    texts.set(image, (texts.get(image) ?? 0) + 1);
    this.#open.set(name, texts);
  }

  /** One of its pulls is recorded, or known to have given nothing. */
  end(image: string): void {
    const name = fullName(image);
    const texts = name === undefined ? undefined : this.#open.get(name);
    const count = texts?.get(image);
    if (name === undefined || texts === undefined || count === undefined) return;
    if (count > 1) texts.set(image, count - 1);
    else texts.delete(image);
    if (texts.size === 0) this.#open.delete(name);
  }

  /** What else than `image` is being pulled of which this image may have come. */
  othersThan(image: string, { repoTags, repoDigests }: RuntimeImage): readonly string[] {
    if (this.isEmpty) return NONE;
    const others: string[] = [];
    // A runtime of the caller's own may leave out what it has none of.
    for (const known of [...(repoTags ?? NONE), ...(repoDigests ?? NONE)]) {
      const texts = this.#open.get(fullName(known) ?? '');
      if (texts !== undefined) others.push(...texts.keys());
    }
    return others.filter((other) => other !== image);
  }
}

const NONE: readonly string[] = [];

/** As runtimes list it; `undefined` where the text is no image name. */
function fullName(image: string): string | undefined {
  try {
    const { name, tag, digest } = parseImageName(image);
    return digest === '' ? `${name}:${tag}` : `${name}@${digest}`;
  } catch {
    return undefined;
  }
}
