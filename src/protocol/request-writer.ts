/**
 * Writes a host's requests into the ring of one worker, and before them the texts and credentials
 * that the worker does not know yet.
 */
import { packCredentials } from '../records/codec.ts';
import type { ImagePullCredentials } from '../records/record.ts';
import {
  type Dictionary,
  type InternedCredentials,
  type InternedSecret,
  type InternedText,
  TEXT_UNITS_REMEMBERED,
} from './dictionary.ts';
import { REQUEST } from './frames.ts';
import { packMessage } from './message.ts';
import type { PartSender } from './parts.ts';
import { type RingWriter, wordsFor } from './ring.ts';

/** What a request is made of. */
export interface OutgoingRequest {
  readonly op: number;
  readonly image: string | undefined;
  readonly imageRef: string | undefined;
  readonly imageName: string | undefined;
  readonly credentials: ImagePullCredentials | null | undefined;
  /** PULLED: whether the owner shall say what the record is afterwards. */
  readonly wantsState: boolean;
}

const NONE = -1;

/** Used by one link. */
export class RequestWriter {
  readonly #ring: RingWriter;
  readonly #sender: PartSender;
  readonly #dictionary: Dictionary;
  readonly #workerBit: number;
  /**
   * The request that the ring filled up in the middle of, with its entries. It goes on with these,
   * whatever other links of the thread make of the dictionary meanwhile: they may be half sent. Since
   * nothing else is sent before it, no other entry gets to the worker under their numbers.
   */
  #unfinished: OutgoingRequest | undefined;
  #image: InternedText | undefined;
  #imageRef: InternedText | undefined;
  #imageName: InternedText | undefined;
  #credentials: InternedCredentials | undefined;
  /** What the credentials are, where the worker does not have them and they are one secret. */
  #secret: InternedSecret | undefined;
  /** The long text or the credentials under way, packed once, however often the ring is full. */
  #packed: Uint8Array | undefined;

  constructor(ring: RingWriter, sender: PartSender, dictionary: Dictionary, workerIndex: number) {
    this.#ring = ring;
    this.#sender = sender;
    this.#dictionary = dictionary;
    this.#workerBit = 1 << workerIndex;
  }

  /** Writes a request. False when the ring is full: call again with the same one, before any other. */
  send(request: OutgoingRequest): boolean {
    if (this.#unfinished !== request) this.#resolve(request);
    const isSent = this.#sendEntries() && this.#sendFrame(request);
    this.#unfinished = isSent ? undefined : request;
    return isSent;
  }

  /** Forgets an unfinished request: the worker that has a part of it is gone. */
  reset(): void {
    this.#unfinished = undefined;
    this.#packed = undefined;
  }

  #resolve({ image, imageRef, imageName, credentials }: OutgoingRequest): void {
    const dictionary = this.#dictionary;
    dictionary.beginRequest();
    this.#image = image === undefined ? undefined : dictionary.text(image);
    this.#imageRef = imageRef === undefined ? undefined : dictionary.text(imageRef);
    this.#imageName = imageName === undefined ? undefined : dictionary.text(imageName);
    const interned = credentials ? dictionary.credentials(credentials) : undefined;
    this.#credentials = interned;
    this.#secret =
      interned !== undefined && !this.#isKnown(interned)
        ? dictionary.secretOf(interned)
        : undefined;
  }

  #sendEntries(): boolean {
    return (
      this.#sendText(this.#image) &&
      this.#sendText(this.#imageRef) &&
      this.#sendText(this.#imageName) &&
      this.#sendCredentials(this.#credentials)
    );
  }

  #sendFrame({ op, wantsState }: OutgoingRequest): boolean {
    const ring = this.#ring;
    const { words } = ring;
    const image = this.#image?.id ?? NONE;
    const imageRef = this.#imageRef?.id ?? NONE;
    switch (op) {
      case REQUEST.INTENT:
      case REQUEST.OUTCOME: {
        const at = ring.begin(op, 2);
        if (at < 0) return false;
        words[at] = image;
        return true;
      }
      case REQUEST.READ: {
        const at = ring.begin(op, 3);
        if (at < 0) return false;
        words[at] = imageRef;
        words[at + 1] = image;
        return true;
      }
      default: {
        const at = ring.begin(REQUEST.PULLED, 6);
        if (at < 0) return false;
        words[at] = imageRef;
        words[at + 1] = this.#imageName?.id ?? NONE;
        words[at + 2] = this.#credentials?.id ?? NONE;
        words[at + 3] = image;
        words[at + 4] = wantsState ? 1 : 0;
        return true;
      }
    }
  }

  /** Makes sure that the worker has a text. */
  #sendText(entry: InternedText | undefined): boolean {
    if (entry === undefined || this.#isKnown(entry)) return true;
    if (!this.#writeText(entry)) return false;
    entry.sentTo |= this.#workerBit;
    return true;
  }

  #writeText({ id, text }: InternedText): boolean {
    if (text.length > TEXT_UNITS_REMEMBERED) {
      this.#packed ??= Buffer.from(text);
      return this.#sendPacked(REQUEST.TEXT, id, this.#packed);
    }
    const ring = this.#ring;
    const byteLength = Buffer.byteLength(text);
    const at = ring.begin(REQUEST.TEXT, 3 + wordsFor(byteLength));
    if (at < 0) return false;
    ring.words[at] = id;
    ring.words[at + 1] = byteLength;
    ring.bytes.write(text, (at + 2) * 4, byteLength);
    return true;
  }

  /** Makes sure that the worker has credentials. */
  #sendCredentials(entry: InternedCredentials | undefined): boolean {
    if (entry === undefined || this.#isKnown(entry)) return true;
    if (!this.#writeCredentials(entry)) return false;
    entry.sentTo |= this.#workerBit;
    return true;
  }

  #writeCredentials({ id, credentials }: InternedCredentials): boolean {
    if (this.#secret !== undefined) return this.#writeSecret(id, this.#secret);
    this.#packed ??= packMessage(packCredentials(credentials));
    return this.#sendPacked(REQUEST.CREDENTIALS, id, this.#packed);
  }

  #writeSecret(id: number, secret: InternedSecret): boolean {
    const { uid, namespace, name, credentialHash } = secret;
    if (!this.#sendText(uid) || !this.#sendText(namespace) || !this.#sendText(name)) return false;
    const ring = this.#ring;
    const byteLength = Buffer.byteLength(credentialHash);
    const at = ring.begin(REQUEST.SECRET, 6 + wordsFor(byteLength));
    if (at < 0) return false;
    const { words } = ring;
    words[at] = id;
    words[at + 1] = uid.id;
    words[at + 2] = namespace.id;
    words[at + 3] = name.id;
    words[at + 4] = byteLength;
    ring.bytes.write(credentialHash, (at + 5) * 4, byteLength);
    return true;
  }

  #isKnown({ sentTo }: { readonly sentTo: number }): boolean {
    return (sentTo & this.#workerBit) !== 0;
  }

  #sendPacked(opcode: number, id: number, packed: Uint8Array): boolean {
    if (!this.#sender.send(opcode, [id], packed)) return false;
    this.#packed = undefined;
    return true;
  }
}
