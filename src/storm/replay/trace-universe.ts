/**
 * The keys of a trace, numbered for ledger and verifier. There an image has one reference; where a
 * trace has several for one text, each pair counts as an image of its own, and an intent is that of
 * all of them. What is no image name is left out: nothing can be recorded of it.
 */
import type { KubeletBehaviour } from '../../compatibility.ts';
import { IMAGE_TEXT } from '../../images/image-text.ts';
import type { OperationLine, StateLine } from '../../trace/format.ts';
import type { Trace } from '../../trace/read-trace.ts';
import type { Keyspace } from '../keyspace.ts';
import type { Credential } from '../tenants.ts';
import { TraceCredentials } from './trace-credentials.ts';

/** The reference of images of which none is known. There is never a record of it. */
const NO_REF = '';

/** Images, references and credentials of one trace. */
export class TraceUniverse implements Keyspace {
  readonly images: string[] = [];
  readonly names: readonly string[];
  readonly refs: readonly string[];
  readonly nameOfImage: Int32Array;
  readonly refOfImage: Int32Array;
  readonly imagesOfRef: readonly (readonly number[])[];
  readonly tenants: TraceCredentials;
  /** By number of the trace's line; 0: nothing is presented. */
  readonly credentials: readonly Credential[];
  readonly #imagesOfText = new Map<string, number[]>();
  readonly #numbers = new Map<string, number>();

  constructor(trace: Trace, behaviour: KubeletBehaviour) {
    const nameOf = IMAGE_TEXT[behaviour.recordKey];
    const names = new Map<string, number>();
    const refs = new Map<string, number>();
    const nameOfImage: number[] = [];
    const refOfImage: number[] = [];
    const add = (text: string, imageRef: string): void => {
      const key = keyOf(text, imageRef);
      const name = this.#numbers.has(key) ? undefined : nameOrNone(nameOf, text);
      if (name === undefined) return;
      const image = this.images.length;
      this.#numbers.set(key, image);
      this.images.push(text);
      nameOfImage.push(numberOf(names, name));
      refOfImage.push(numberOf(refs, imageRef));
      const sameText = this.#imagesOfText.get(text);
      if (sameText === undefined) this.#imagesOfText.set(text, [image]);
      else sameText.push(image);
    };
    for (const [text, imageRef] of pairsOf(trace)) add(text, imageRef);
    // Of what was never decided on or pulled there may still be an intent.
    for (const text of textsOf(trace)) if (!this.#imagesOfText.has(text)) add(text, NO_REF);
    this.names = [...names.keys()];
    this.refs = [...refs.keys()];
    this.nameOfImage = Int32Array.from(nameOfImage);
    this.refOfImage = Int32Array.from(refOfImage);
    const imagesOfRef = this.refs.map((): number[] => []);
    for (const [image, ref] of refOfImage.entries()) imagesOfRef[ref]!.push(image);
    this.imagesOfRef = imagesOfRef;
    this.tenants = new TraceCredentials(behaviour.hasServiceAccounts);
    this.credentials = trace.credentials.map((traced, number) =>
      this.tenants.credential(number, traced ?? {}),
    );
  }

  isNodeWide(_image: number, { proof }: Credential): boolean {
    return proof.nodePodsAccessible === true;
  }

  /** Number of a text with a reference; undefined where the text is no image name. */
  imageOf(text: string, imageRef: string): number | undefined {
    return this.#numbers.get(keyOf(text, imageRef));
  }

  /** Numbers of a text, with whatever references it had; none where it is no image name. */
  imagesOf(text: string): readonly number[] {
    return this.#imagesOfText.get(text) ?? [];
  }
}

function* pairsOf({ state, operations }: Trace): Generator<readonly [text: string, ref: string]> {
  for (const line of state) if (line.op === 'record') yield [line.name, line.imageRef];
  for (const operation of operations) {
    if (operation.op === 'decideBatch') {
      for (const { image, imageRef } of operation.requests) {
        if (imageRef !== NO_REF) yield [image, imageRef];
      }
    } else if ('imageRef' in operation && operation.imageRef !== NO_REF) {
      yield [operation.image, operation.imageRef];
    }
  }
}

function* textsOf({ state, operations }: Trace): Generator<string> {
  const hasImage = (line: StateLine | OperationLine): line is typeof line & { image: string } =>
    'image' in line;
  for (const line of state) if (hasImage(line)) yield line.image;
  for (const line of operations) if (hasImage(line)) yield line.image;
}

function nameOrNone(nameOf: (image: string) => string, text: string): string | undefined {
  try {
    return nameOf(text);
  } catch {
    return undefined;
  }
}

function keyOf(text: string, imageRef: string): string {
  return `${imageRef}\n${text}`;
}

function numberOf(numbers: Map<string, number>, text: string): number {
  const known = numbers.get(text);
  if (known !== undefined) return known;
  numbers.set(text, numbers.size);
  return numbers.size - 1;
}
