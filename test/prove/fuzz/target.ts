/** What is fuzzed: where inputs come from, what they are fed to, and what must hold. */
import type { Random } from '../../../src/util/random.ts';

/** What became of an input: either is fine, as long as everything else holds. */
export type Verdict = 'accepted' | 'refused';

/** Inputs of a shape that makes a careless reader slow, of any length. */
export interface WorstCase {
  readonly name: string;
  /** About so many bytes. */
  make(bytes: number): Uint8Array;
  /** Where the reader itself draws the line: inputs are no longer than this. @default 1 MiB */
  readonly bytesMax?: number;
}

/** One reader of what others send. */
export interface FuzzTarget {
  readonly name: string;
  /** What an input is, in the plural. */
  readonly unit: string;
  /** Parts of the paths of the modules whose coverage guides; none: the grammar alone. */
  readonly modules: readonly string[];
  /** What mutations insert. */
  readonly words: readonly (string | Uint8Array)[];
  readonly worstCases: readonly WorstCase[];
  /** An input by the grammar, good or bad. */
  make(random: Random): Uint8Array;
  /** Feeds the reader; throws for everything that must not be, whatever the reader threw. */
  feed(input: Buffer): Verdict | Promise<Verdict>;
  /** Before the first input; the directory is the target's own. */
  open?(directory: string): Promise<void>;
  close?(): Promise<void>;
}

/** A module that has targets: `targets`. */
export interface TargetModule {
  readonly targets: readonly FuzzTarget[];
}

/** Something that must hold does not. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Throws `Violation` unless it is so. */
export function mustHold(isSo: boolean, what: string): asserts isSo {
  if (!isSo) throw new Violation(what);
}

/**
 * Runs a reader. What `isRefusal` says yes to is its way of refusing; anything else that it throws is
 * thrown on.
 */
export function attempt<T>(
  read: () => T,
  isRefusal: (error: unknown) => boolean,
): { readonly value: T } | { readonly refusal: unknown } {
  try {
    return { value: read() };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { refusal: error };
  }
}
