/** What a fuzzing thread is given to do, and what it found. */
import type { Growth } from './growth.ts';

/** One thing to do with one target. */
export type Work =
  /** Inputs, for so many seconds. */
  | { readonly kind: 'fuzz'; readonly seed: number; readonly seconds: number }
  /** The worst cases, in all lengths. */
  | { readonly kind: 'growth' }
  /** One input. */
  | { readonly kind: 'one'; readonly input: Uint8Array };

export interface Job {
  /** Address of a module with targets. */
  readonly module: string;
  readonly target: string;
  readonly work: Work;
  /** Scratch space of its own, which exists. */
  readonly directory: string;
}

/** What a thread is started with. */
export interface JobData extends Job {
  readonly beat: SharedArrayBuffer;
}

/** An input that does what no input may do. */
export interface Found {
  readonly what: string;
  readonly detail: string;
  readonly input: Uint8Array;
}

export interface JobResult {
  readonly target: string;
  readonly fedCount: number;
  readonly acceptedCount: number;
  /** Blocks of the target's modules that ran; 0 where no coverage was taken. */
  readonly blockCount: number;
  /** Inputs that reached something new. */
  readonly keptCount: number;
  /** The most memory that one input took, beyond what was there before, in bytes. */
  readonly memoryBytesMax: number;
  readonly growth: readonly Growth[];
  readonly found: readonly Found[];
}
