/**
 * The memory through which the calls of all threads of a process are counted, and one, or all from
 * one on, are made to fail.
 */
import {
  CALLS,
  type Call,
  canFail,
  ERRORS,
  type ErrorKind,
  FILES,
  type FileKind,
} from './calls.ts';

/**
 * A place in the run of a script. Calls of threads and timers come in no fixed order, so a call is
 * known by what it is, and not by how many came before it.
 */
export interface Place extends CallMade {
  /** Of the script, from 0. */
  readonly step: number;
  /** Which of these calls in that step, from 1. */
  readonly nth: number;
}

/** Which call is to fail. */
export interface Fault {
  readonly place: Place;
  readonly error: ErrorKind;
  /** And all after it that can fail so, until `heal`. */
  readonly isLasting: boolean;
}

/** A call that was made. */
export interface CallMade {
  readonly call: Call;
  readonly file: FileKind;
}

const SLOT = {
  STEP: 0,
  CALLS: 1,
  IS_ARMED: 2,
  FAULT_STEP: 3,
  FAULT_CALL: 4,
  FAULT_LEFT: 5,
  ERROR: 6,
  IS_LASTING: 7,
  HITS: 8,
  OPEN: 9,
  BUSY: 10,
} as const;
const LOG_AT = 16;
/** Calls of one run that are kept; later ones are counted. */
const LOG_LENGTH = 1 << 15;

/** Used by any number of threads. */
export class Switchboard {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  static create(): Switchboard {
    return new Switchboard(new SharedArrayBuffer((LOG_AT + LOG_LENGTH) * 4));
  }

  /** Counts from nothing; with `fault`, that call will fail. */
  arm(fault: Fault | undefined): void {
    this.heal();
    for (const slot of [SLOT.STEP, SLOT.CALLS, SLOT.HITS, SLOT.OPEN]) this.#set(slot, 0);
    if (fault === undefined) return;
    const { place, error, isLasting } = fault;
    this.#set(SLOT.FAULT_STEP, place.step);
    this.#set(SLOT.FAULT_CALL, packed(place));
    this.#set(SLOT.FAULT_LEFT, place.nth);
    this.#set(SLOT.ERROR, ERRORS.indexOf(error));
    this.#set(SLOT.IS_LASTING, Number(isLasting));
    this.#set(SLOT.IS_ARMED, 1);
  }

  /** No call fails any more. */
  heal(): void {
    this.#set(SLOT.IS_ARMED, 0);
  }

  /** Which step of the script the calls from now on belong to. */
  set step(index: number) {
    this.#set(SLOT.STEP, index);
  }

  /** Calls made since `arm`. */
  get calls(): number {
    return Atomics.load(this.#words, SLOT.CALLS);
  }

  /** Calls made to fail since `arm`. */
  get hits(): number {
    return Atomics.load(this.#words, SLOT.HITS);
  }

  /** Whether calls go on failing. */
  get isFailing(): boolean {
    const isLasting = Atomics.load(this.#words, SLOT.IS_LASTING) !== 0;
    return isLasting && this.hits > 0 && Atomics.load(this.#words, SLOT.IS_ARMED) !== 0;
  }

  /** Descriptors that were opened and not closed. */
  get openDescriptors(): number {
    return Atomics.load(this.#words, SLOT.OPEN);
  }

  /** Calls under way. */
  get busy(): number {
    return Atomics.load(this.#words, SLOT.BUSY);
  }

  /** The calls made since `arm`, as far as they are kept. */
  get log(): Place[] {
    const counts = new Map<number, number>();
    return Array.from({ length: Math.min(this.calls, LOG_LENGTH) }, (_, i) => {
      const logged = Atomics.load(this.#words, LOG_AT + i);
      const nth = (counts.get(logged) ?? 0) + 1;
      counts.set(logged, nth);
      const call = CALLS[(logged >> 8) & 0xff]!;
      return { call, file: FILES[logged & 0xff]!, step: logged >> 16, nth };
    });
  }

  /** Notes a call about to be made; answers how it is to fail, if it is. */
  note(call: Call, file: FileKind): ErrorKind | undefined {
    const words = this.#words;
    const index = Atomics.add(words, SLOT.CALLS, 1);
    const step = Atomics.load(words, SLOT.STEP);
    const made = packed({ call, file });
    if (index < LOG_LENGTH) Atomics.store(words, LOG_AT + index, (step << 16) | made);
    if (Atomics.load(words, SLOT.IS_ARMED) === 0) return undefined;
    const error = ERRORS[Atomics.load(words, SLOT.ERROR)]!;
    if (this.hits === 0) {
      const isLike =
        Atomics.load(words, SLOT.FAULT_CALL) === made &&
        Atomics.load(words, SLOT.FAULT_STEP) === step;
      if (!isLike || Atomics.sub(words, SLOT.FAULT_LEFT, 1) !== 1) return undefined;
    } else if (Atomics.load(words, SLOT.IS_LASTING) === 0 || !canFail(call, error)) {
      return undefined;
    }
    Atomics.add(words, SLOT.HITS, 1);
    return error;
  }

  noteOpen(by: 1 | -1): void {
    Atomics.add(this.#words, SLOT.OPEN, by);
  }

  noteBusy(by: 1 | -1): void {
    Atomics.add(this.#words, SLOT.BUSY, by);
  }

  #set(slot: number, value: number): void {
    Atomics.store(this.#words, slot, value);
  }
}

function packed({ call, file }: CallMade): number {
  return (CALLS.indexOf(call) << 8) | FILES.indexOf(file);
}
