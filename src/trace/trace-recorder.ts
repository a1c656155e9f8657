/** Turns operations into the lines of a trace: times them, numbers credentials, counts what is dropped. */
import type { ImagePullCredentials, ImagePulledRecord, PodCredentials } from '../records/record.ts';
import type { OperationLine, TracedCredentials, TracedQuestion, TraceNaming } from './format.ts';
import { Pseudonyms } from './pseudonyms.ts';
import type { TraceWriter } from './trace-writer.ts';

/** Texts and credentials that are remembered, so that equal stays equal. */
const REMEMBERED_MAX = 1 << 19;
/** Stands for the name that a record without one has in a trace. */
const NO_NAME = 'trace.example/no-name';

/** What a pod asked. */
export interface Question {
  readonly image: string;
  readonly imageRef: string;
  readonly credentials: PodCredentials | undefined;
}

/** What a pull gave. */
export interface PulledImage {
  readonly imageRef: string;
  readonly credentials: ImagePullCredentials | null;
}

/** One recording. */
export class TraceRecorder {
  readonly #writer: TraceWriter;
  readonly #pseudonyms: Pseudonyms;
  readonly #numbers = new Map<string, number>();
  readonly #startedMs = performance.now();
  #operations = 0;
  #dropped = 0;
  #droppedInARow = 0;

  constructor(writer: TraceWriter, names: TraceNaming, images: TraceNaming) {
    this.#writer = writer;
    this.#pseudonyms = new Pseudonyms(names, images);
  }

  get operations(): number {
    return this.#operations;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Milliseconds since the header's `startedAt`. */
  now(): number {
    return Math.round((performance.now() - this.#startedMs) * 1_000) / 1_000;
  }

  /** What the store holds. Waits for the disk: there may be any number of records. */
  async state(
    records: readonly ImagePulledRecord[],
    intents: readonly { readonly image: string }[],
  ): Promise<void> {
    for (const { imageRef, credentialMapping } of records) {
      const record = { op: 'record', imageRef: this.#pseudonyms.imageRef(imageRef) } as const;
      const entries = Object.entries(credentialMapping);
      // That the image was pulled counts, also where nothing is recorded of who opened it.
      if (entries.length === 0) this.#writer.write({ ...record, name: NO_NAME, credentials: null });
      for (const [imageName, credentials] of entries) {
        const name = this.#pseudonyms.imageName(imageName);
        this.#writer.write({ ...record, name, credentials: this.#recorded(credentials) });
      }
      if (!this.#writer.hasRoom) await this.#writer.drained();
    }
    for (const { image } of intents) {
      this.#writer.write({ op: 'leftOver', image: this.#pseudonyms.image(image) });
      if (!this.#writer.hasRoom) await this.#writer.drained();
    }
  }

  intent(at: number, image: string): void {
    this.#write(() => ({ op: 'intent', at, image: this.#pseudonyms.image(image) }));
  }

  failed(at: number, image: string): void {
    this.#write(() => ({ op: 'failed', at, image: this.#pseudonyms.image(image) }));
  }

  pulled(at: number, image: string, pulled: PulledImage): void {
    this.#write(() => ({
      op: 'pulled',
      at,
      image: this.#pseudonyms.image(image),
      imageRef: this.#pseudonyms.imageRef(pulled.imageRef),
      credentials: pulled.credentials === null ? null : this.#recorded(pulled.credentials),
    }));
  }

  decide(at: number, question: Question): void {
    this.#write(() => ({ op: 'decide', at, ...this.#question(question) }));
  }

  decideBatch(at: number, questions: readonly Question[]): void {
    this.#write(() => ({
      op: 'decideBatch',
      at,
      requests: questions.map((question) => this.#question(question)),
    }));
  }

  /** @param untilMs Since 1970. */
  prune(at: number, imageRefs: readonly string[], untilMs: number): void {
    this.#write(() => ({
      op: 'prune',
      at,
      imageRefs: imageRefs.map((imageRef) => this.#pseudonyms.imageRef(imageRef)),
      until: untilMs - (Date.now() - this.now()),
    }));
  }

  /** Writes the last line. */
  end(): void {
    this.#tellDropped();
    const [operations, dropped] = [this.#operations, this.#dropped];
    this.#writer.write({ op: 'end', at: this.now(), operations, dropped });
  }

  /** Never throws: who records must not disturb what is recorded. */
  #write(line: () => OperationLine): void {
    if (!this.#writer.hasRoom) {
      this.#drop();
      return;
    }
    if (this.#pseudonyms.size + this.#numbers.size > REMEMBERED_MAX) {
      this.#writer.end(`has named ${REMEMBERED_MAX} texts`);
      this.#drop();
      return;
    }
    try {
      const made = line();
      this.#tellDropped();
      this.#writer.write(made);
      this.#operations++;
    } catch {
      // What the engine refuses as an argument.
      this.#drop();
    }
  }

  #drop(): void {
    this.#dropped++;
    this.#droppedInARow++;
  }

  #tellDropped(): void {
    if (this.#droppedInARow === 0) return;
    this.#writer.write({ op: 'dropped', at: this.now(), count: this.#droppedInARow });
    this.#droppedInARow = 0;
  }

  #question({ image, imageRef, credentials }: Question): TracedQuestion {
    const asked = {
      image: this.#pseudonyms.image(image),
      imageRef: this.#pseudonyms.imageRef(imageRef),
    };
    const traced = credentials && this.#pseudonyms.presented(credentials);
    return traced === undefined ? asked : { ...asked, credentials: this.#numberOf(traced) };
  }

  #recorded(credentials: ImagePullCredentials): number {
    return this.#numberOf(this.#pseudonyms.recorded(credentials));
  }

  /** Writes what the number stands for before its first use. */
  #numberOf(credentials: TracedCredentials): number {
    const key = JSON.stringify(credentials);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#numbers.size + 1;
    this.#numbers.set(key, number);
    this.#writer.write({ op: 'credentials', number, ...credentials });
    return number;
  }
}
