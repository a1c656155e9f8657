/**
 * Who was refused and has to be refused after a crash: an answer that somebody got is a promise, be
 * the write behind it acknowledged or not.
 *
 * A stranger is refused because there is an intent or a record. While nothing runs that could remove
 * one of them, there has to be one, and where there is neither the image looks preloaded and lets
 * everybody in.
 */

/** A stranger who asked. */
interface Look {
  readonly image: number;
  readonly ref: number;
  /** Something that may have removed the intent or the record runs. */
  isDisturbed: boolean;
}

/** Refusals that still count. */
export class Refusals {
  readonly #looks = new Map<number, Look>();
  readonly #refused = new Map<string, Look>();
  /** Running operations that may remove intents or records, by their id. */
  readonly #removals = new Map<number, Removal>();
  #isWindowOpen = false;

  /** A stranger asks. */
  ask(id: number, image: number, ref: number): void {
    const look: Look = { image, ref, isDisturbed: false };
    for (const removal of this.#removals.values())
      if (touches(removal, look)) look.isDisturbed = true;
    this.#looks.set(id, look);
  }

  /** The stranger is answered. */
  answer(id: number, isRefused: boolean): void {
    const look = this.#looks.get(id);
    this.#looks.delete(id);
    // Within a window the crash may have been before this answer.
    if (look === undefined || look.isDisturbed || !isRefused || this.#isWindowOpen) return;
    this.#refused.set(`${look.image} ${look.ref}`, look);
  }

  /** From here on these may go. */
  beginRemoval(id: number, removal: Removal): void {
    this.#removals.set(id, removal);
    for (const look of this.#looks.values()) if (touches(removal, look)) look.isDisturbed = true;
    for (const [key, look] of this.#refused) if (touches(removal, look)) this.#refused.delete(key);
  }

  endRemoval(id: number): void {
    this.#removals.delete(id);
  }

  /** From here to `crash`, the crash may have been at any moment. */
  openWindow(): void {
    this.#isWindowOpen = true;
  }

  /**
   * Nothing runs any more.
   *
   * @param isHeldByCount Whether a count, which ends with the process, may be all that refused.
   */
  crash(isHeldByCount: (image: number, ref: number) => boolean): void {
    for (const [key, { image, ref }] of this.#refused)
      if (isHeldByCount(image, ref)) this.#refused.delete(key);
    this.#isWindowOpen = false;
    this.#looks.clear();
    this.#removals.clear();
  }

  /** Images and references of refusals of which nothing is left. */
  broken(
    hasIntent: (image: number) => boolean,
    hasRecord: (ref: number) => boolean,
  ): { image: number; ref: number }[] {
    return Array.from(this.#refused.values()).filter(
      ({ image, ref }) => !hasIntent(image) && !hasRecord(ref),
    );
  }

  /** How many still count. */
  get count(): number {
    return this.#refused.size;
  }
}

/** What an operation may remove. */
export interface Removal {
  readonly intents: readonly number[];
  readonly records: readonly number[];
}

function touches({ intents, records }: Removal, { image, ref }: Look): boolean {
  return intents.includes(image) || records.includes(ref);
}
