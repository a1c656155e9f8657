/** Which file is under a name: told by its numbers, without reading it. */
import { lstatSync, type Stats } from 'node:fs';
import { errorCode } from '../../errors.ts';
import { RECORD_PREFIX } from './record-file.ts';

/** What tells one state of a file from another. */
export interface FileState {
  /** Of inode, size and time of change: the same before and after a rename. 0: there is no file. */
  readonly id: number;
  /** When content, name, mode or owner changed, in milliseconds; new after a rename. */
  readonly ctimeMs: number;
}

export const NO_FILE: FileState = Object.freeze({ id: 0, ctimeMs: 0 });

const LOW_BITS = 21;
const floats = new Float64Array(3);
const words = new Uint32Array(floats.buffer);

/** A number of 53 bits, never 0, by which a file is known again after a rename. */
export function fileId(stats: Pick<Stats, 'ino' | 'size' | 'mtimeMs'>): number {
  floats[0] = stats.ino;
  floats[1] = stats.size;
  floats[2] = stats.mtimeMs;
  let high = 0x9747b28c;
  let low = 0x3c6ef372;
  for (const word of words) {
    high = Math.imul(high ^ word, 0xcc9e2d51);
    high ^= high >>> 15;
    low = Math.imul(low ^ word, 0x1b873593) ^ high;
    low ^= low >>> 13;
  }
  return (high >>> 0) * 2 ** LOW_BITS + (low >>> (32 - LOW_BITS)) || 1;
}

export function stateOf(stats: Pick<Stats, 'ino' | 'size' | 'mtimeMs' | 'ctimeMs'>): FileState {
  return { id: fileId(stats), ctimeMs: stats.ctimeMs };
}

/** The state of whatever has the name now. Blocks for a few microseconds. Throws all but `ENOENT`. */
export function currentState(path: string): FileState {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    return stats === undefined ? NO_FILE : stateOf(stats);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return NO_FILE;
    throw cause;
  }
}

/**
 * Which files the workers of this process have put under which names, in memory that all of them
 * share: so that one's watch need not read what another has written. A worker never passes over a
 * file of its own: it may have taken in that it was gone. An entry that was overwritten only means
 * that a file is read without need.
 */
export class PlacedFiles {
  readonly #slots: Float64Array;
  readonly #worker: number | undefined;

  /** @param worker - whose files are added; undefined: nobody's, and nothing is noted. */
  constructor(memory: SharedArrayBuffer, worker: number | undefined) {
    this.#slots = new Float64Array(memory);
    this.#worker = worker;
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(SLOT_COUNT * Float64Array.BYTES_PER_ELEMENT);
  }

  /** Call before the file gets the name. */
  add(name: string, id: number): void {
    if (this.#worker !== undefined) this.#slots[slotOf(name)] = tagOf(id, this.#worker);
  }

  /** Whether another worker than this one put that file there. */
  isOfAnother(name: string, id: number): boolean {
    const tag = this.#slots[slotOf(name)]!;
    if (id === 0 || tag === 0) return false;
    const worker = (tag % WORKERS_MAX) - 1;
    return worker !== this.#worker && tag === tagOf(id, worker);
  }
}

const SLOT_COUNT = 1 << 15;
/** More than there are stripes. */
const WORKERS_MAX = 64;
const ID_VALUES = 2 ** 47;

/** File and worker in one number, which is written at once. */
function tagOf(id: number, worker: number): number {
  return (id % ID_VALUES) * WORKERS_MAX + worker + 1;
}

/** The name is a hash already. */
function slotOf(name: string): number {
  const from = RECORD_PREFIX.length;
  return Number.parseInt(name.slice(from, from + 8), 16) % SLOT_COUNT || 0;
}
