/**
 * The dictionary of a snapshot: names and the texts of credentials are written once, credentials
 * too; records refer to them by number.
 *
 * Payload of a frame: `[isReset, strings, credentials, intents, records]`. `strings` and
 * `credentials` continue the numbering of the frames before; `isReset` starts it anew. Credentials
 * are in their packed form with numbers for texts. Records are flat: imageRef, updatedAtMs, count of
 * names, then number of name and number of credentials each.
 */
import { packCredentials, packText, packTime } from '../../records/codec.ts';
import type { ImagePullCredentials, PulledRecord } from '../../records/record.ts';

/** Entries after which the numbering starts anew, so that a snapshot needs bounded memory. */
const DICTIONARY_SIZE_MAX = 65_536;
/** What a number, or the head of a value, takes at most. */
const NUMBER_BYTES = 5;
const TIME_BYTES = 9;

/** Collects entries for one frame after the other. */
export class SnapshotFrameBuilder {
  /** About how many bytes the frame will have. */
  estimatedBytes = 0;
  #strings: unknown[] = [];
  #credentials: unknown[] = [];
  #intents: unknown[] = [];
  #records: unknown[] = [];
  #isReset = true;
  readonly #stringNumbers = new Map<string, number>();
  readonly #credentialNumbers = new Map<ImagePullCredentials, number>();
  readonly #contentNumbers = new Map<string, number>();
  readonly #textNumber = (text: string, argument: string): number =>
    this.#stringNumber(text, argument);

  addIntent(image: string): void {
    this.#intents.push(packText(image, 'image'));
    this.estimatedBytes += image.length + NUMBER_BYTES;
  }

  addRecord(record: PulledRecord): void {
    const { imageRef, updatedAtMs, proofs } = record;
    this.#records.push(
      packText(imageRef, 'imageRef'),
      packTime(updatedAtMs, 'updatedAtMs'),
      proofs.length,
    );
    this.estimatedBytes += imageRef.length + TIME_BYTES + NUMBER_BYTES;
    for (const { imageName, credentials } of proofs) {
      this.#records.push(
        this.#stringNumber(imageName, 'imageName'),
        this.#credentialsNumber(credentials),
      );
      this.estimatedBytes += 2 * NUMBER_BYTES;
    }
  }

  /** The payload of the frame; the next entry begins a new one. */
  take(): unknown[] {
    const payload = [this.#isReset, this.#strings, this.#credentials, this.#intents, this.#records];
    this.#strings = [];
    this.#credentials = [];
    this.#intents = [];
    this.#records = [];
    this.estimatedBytes = 0;
    const { size } = this.#stringNumbers;
    this.#isReset = Math.max(size, this.#credentialNumbers.size) > DICTIONARY_SIZE_MAX;
    if (this.#isReset) {
      this.#stringNumbers.clear();
      this.#credentialNumbers.clear();
      this.#contentNumbers.clear();
    }
    return payload;
  }

  #stringNumber(text: string, argument: string): number {
    const known = this.#stringNumbers.get(text);
    if (known !== undefined) return known;
    const number = this.#stringNumbers.size;
    this.#stringNumbers.set(text, number);
    this.#strings.push(packText(text, argument));
    this.estimatedBytes += text.length + NUMBER_BYTES;
    return number;
  }

  #credentialsNumber(credentials: ImagePullCredentials): number {
    const known = this.#credentialNumbers.get(credentials);
    if (known !== undefined) return known;
    const compact = packCredentials(credentials, this.#textNumber);
    const content = JSON.stringify(compact);
    let number = this.#contentNumbers.get(content);
    if (number === undefined) {
      number = this.#contentNumbers.size;
      this.#contentNumbers.set(content, number);
      this.#credentials.push(compact);
      this.estimatedBytes += content.length;
    }
    this.#credentialNumbers.set(credentials, number);
    return number;
  }
}
