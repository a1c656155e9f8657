/** Feeds a target one input at a time, and watches what comes of it. */
import { getHeapStatistics } from 'node:v8';
import type { Beat } from './beat.ts';
import type { Found } from './job.ts';
import { clean, type PrototypeSnapshot, pollution, prototypeSnapshot } from './prototypes.ts';
import { shrunk } from './shrink.ts';
import { type FuzzTarget, type Verdict, Violation } from './target.ts';

/** What one input may take: so many bytes for each of its own, and some to begin with. */
export const MEMORY_FACTOR = 128;
export const MEMORY_BYTES_LEAST: number = 64 << 20;
const FOUND_MAX = 5;
const SHRINK_TRIES_MAX = 400;
const MESSAGE_LENGTH_MAX = 160;

interface Problem {
  readonly what: string;
  readonly detail: string;
  /** Equal for what is likely to be the same mistake. */
  readonly key: string;
}

export class Feeder {
  fedCount = 0;
  acceptedCount = 0;
  memoryBytesMax = 0;
  readonly found: Found[] = [];
  readonly #target: FuzzTarget;
  readonly #beat: Beat;
  readonly #keys = new Set<string>();
  readonly #prototypes: PrototypeSnapshot = prototypeSnapshot();

  constructor(target: FuzzTarget, beat: Beat) {
    this.#target = target;
    this.#beat = beat;
  }

  /** Whether there is no use in going on. */
  get isFull(): boolean {
    return this.found.length >= FOUND_MAX;
  }

  /** Feeds an input to the target; what is wrong is kept in `found`, shortened, once a mistake. */
  async feed(input: Buffer): Promise<void> {
    const outcome = await this.#try(input);
    this.fedCount++;
    if (outcome === 'accepted') this.acceptedCount++;
    if (typeof outcome === 'object') await this.#keep(outcome, input);
  }

  /** Says that something is wrong with an input, whatever the target made of it. */
  report(what: string, detail: string, input: Buffer): void {
    if (!this.isFull) this.found.push({ what, detail, input });
  }

  /** Looks whether one of the inputs has changed what all objects share, and which. */
  async checkPrototypes(inputs: readonly Buffer[]): Promise<void> {
    const changed = pollution(this.#prototypes);
    if (changed === undefined) return;
    clean(this.#prototypes);
    for (const input of inputs) {
      await this.#try(input);
      const again = pollution(this.#prototypes);
      if (again === undefined) continue;
      clean(this.#prototypes);
      await this.#keep(polluted(again), input);
      return;
    }
    this.report(
      `prototype pollution: ${changed}`,
      'by one of these inputs, which alone does not',
      Buffer.concat(inputs),
    );
  }

  async #try(input: Buffer): Promise<Verdict | Problem> {
    this.#beat.begin(input);
    const before = memoryBytes();
    let outcome: Verdict | Problem;
    try {
      const verdict = this.#target.feed(input);
      outcome = verdict instanceof Promise ? await verdict : verdict;
    } catch (error) {
      outcome = problemOf(error);
    } finally {
      this.#beat.end();
    }
    const taken = memoryBytes() - before;
    this.memoryBytesMax = Math.max(this.memoryBytesMax, taken);
    const allowed = MEMORY_BYTES_LEAST + MEMORY_FACTOR * input.length;
    if (taken <= allowed) return outcome;
    const what = `${input.length} bytes take ${taken} bytes of memory, more than ${allowed}`;
    return { what, detail: '', key: 'memory' };
  }

  async #keep(problem: Problem, input: Buffer): Promise<void> {
    if (this.isFull || this.#keys.has(problem.key)) return;
    this.#keys.add(problem.key);
    const stillFails = async (shorter: Buffer): Promise<boolean> => {
      const outcome = await this.#try(shorter);
      const changed = pollution(this.#prototypes);
      if (changed !== undefined) clean(this.#prototypes);
      const now = changed === undefined ? outcome : polluted(changed);
      return typeof now === 'object' && now.key === problem.key;
    };
    const { what, detail } = problem;
    this.found.push({ what, detail, input: await shrunk(input, stillFails, SHRINK_TRIES_MAX) });
  }
}

function polluted(changed: string): Problem {
  return { what: `prototype pollution: ${changed}`, detail: '', key: 'pollution' };
}

function problemOf(error: unknown): Problem {
  if (!(error instanceof Error)) {
    const what = `threw ${typeof error}`;
    return { what, detail: String(error), key: what };
  }
  const { name, message, stack = '' } = error;
  if (error instanceof Violation) return { what: message, detail: '', key: message.split(':')[0]! };
  const [, place = ''] = /\n\s+at ([^\n]*)/.exec(stack) ?? [];
  const what = `threw ${name}: ${message.slice(0, MESSAGE_LENGTH_MAX)}`;
  return { what, detail: stack, key: `${name} ${place}` };
}

/** Of this thread's heap and of what it holds outside of it. */
function memoryBytes(): number {
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  return used + external;
}
