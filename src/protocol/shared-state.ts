/**
 * The memory that all threads of one engine share: who owns what, which versions are current, and
 * where the rings are.
 *
 * One SharedArrayBuffer of 32-bit words. Every block starts on a cache line of its own (64 bytes),
 * so that writers of different blocks do not slow each other down.
 *
 * | block       | words each | one per       | written by                | read by          |
 * | ----------- | ---------- | ------------- | ------------------------- | ---------------- |
 * | header      | 16         | engine        | opener                    | all              |
 * | worker      | 16         | worker        | see `WORKER`              | all              |
 * | host        | 16         | host thread   | see `HOST`                | all              |
 * | stripes     | 32         | engine        | owners (claim)            | all              |
 * | link        | 64         | host × worker | see `LINK`                | that pair        |
 * | unpublished | 8 208      | worker        | its owner, before writing | supervisor       |
 * | versions    | 1          | version slot  | owners, after the flush   | all              |
 * | rings       | ring size  | link, 2 ways  | one producer              | one consumer     |
 */
import { randomInt } from 'node:crypto';
import { invalidArgument, PullManagerError } from '../errors.ts';

export const LINE_WORDS = 16;

/** Header words. All but `ENGINE_STATE` are constant once the engine is open. */
export const HEADER = {
  MAGIC: 0,
  ENGINE_STATE: 1,
  WORKER_COUNT: 2,
  STRIPE_COUNT: 3,
  SLOT_COUNT: 4,
  RING_WORDS: 5,
  /** Random; keeps the hashes of images in flight from being chosen. */
  SEED: 6,
} as const;

/** Worker block. `GENERATION` is raised by the supervisor when, and only when, the thread is dead. */
export const WORKER = {
  /** Supervisor: 1, 2, …; the owner of another generation is fenced out. */
  GENERATION: 0,
  /** Owner and supervisor: see `WORKER_STATE`. */
  STATE: 1,
  /** Hosts add 1 after publishing; the owner sleeps on it. */
  DOORBELL: 2,
  /** Owner: 1 while it sleeps or is about to; hosts notify only then. */
  SLEEPING: 3,
  /** Supervisor: 1 asks the owner to drain, close its store and return. */
  STOP: 4,
  /** Owner: lock holder id of its thread, so that its stripes can be freed if it dies. */
  HOLDER: 5,
} as const;

export const WORKER_STATE = { STARTING: 0, RUNNING: 1, LOST: 2, STOPPED: 3 } as const;

/** Host block: one for each thread that runs a `PullManager` on this engine. */
export const HOST = {
  /** `HOST_STATE`; claimed with a compare-and-swap by the thread that attaches. */
  STATE: 0,
  /** Owners and the supervisor add 1 when something happened; the host sleeps on it. */
  WAKE: 1,
  /** Host: 1 while it sleeps or is about to; others notify only then. */
  SLEEPING: 2,
} as const;

export const HOST_STATE = { FREE: 0, ATTACHED: 1 } as const;

/**
 * Link block, one per (host, worker). Positions count words and wrap at 2^32; each on its own line.
 *
 * Order that correctness rests on: the producer stores the frame's words, then the tail; the
 * consumer loads the tail, then reads the words. The owner stores reply frames and their tail before
 * `COMPLETED`; the host loads `COMPLETED`, then the reply tail: a completed read always has its reply.
 */
export const LINK = {
  REQUEST_TAIL: 0,
  /** Host: 1 while requests wait for room; the owner then wakes it after it has read some. */
  REQUESTS_STUCK: 1,
  REQUEST_HEAD: 16,
  REPLY_TAIL: 32,
  /** Owner: how many requests it has finished, wraps at 2^32. */
  COMPLETED: 33,
  /** Owner: 1 while answers wait for room; the host then rings after it has read some. */
  REPLIES_STUCK: 34,
  REPLY_HEAD: 48,
  /** Host: the worker generation for which it has reset this link; the owner ignores others. */
  GENERATION: 49,
  /** Host: raised with each reset, so that the owner notices a new host in an old one's place. */
  CONNECTION: 50,
} as const;

const LINK_WORDS = 4 * LINE_WORDS;
const STRIPE_WORDS = 2 * LINE_WORDS;
/** Two keys of each request of the largest batch; see `UnpublishedSlots`. */
export const UNPUBLISHED_MAX = 8192;
const UNPUBLISHED_WORDS = UNPUBLISHED_MAX + LINE_WORDS;

export const ENGINE_STATE = { OPENING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } as const;

const MAGIC = 0x50_57_00_01;

/** Threads of one process that may use an engine at once, the opener included. */
export const HOST_COUNT = 16;
const SLOT_COUNT = 1 << 17;
const RING_WORDS = 1 << 16;

/** Typed views of the shared memory, and where each block starts. */
export class SharedState {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly workerCount: number;
  readonly stripeCount: number;
  readonly ringWords: number;
  readonly slotMask: number;
  readonly seed: number;
  /** The version slots, indexed by `hash & slotMask`. */
  readonly versions: Int32Array;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer);
    this.workerCount = this.words[HEADER.WORKER_COUNT]!;
    this.stripeCount = this.words[HEADER.STRIPE_COUNT]!;
    this.ringWords = this.words[HEADER.RING_WORDS]!;
    const slotCount = this.words[HEADER.SLOT_COUNT]!;
    this.slotMask = slotCount - 1;
    this.seed = this.words[HEADER.SEED]!;
    this.versions = new Int32Array(buffer, this.#versionsAt() * 4, slotCount);
  }

  /** Memory for a new engine. Untouched pages cost nothing. */
  static create(workerCount: number, stripeCount: number): SharedState {
    const fixed = LINE_WORDS * (1 + workerCount + HOST_COUNT) + STRIPE_WORDS;
    const links = HOST_COUNT * workerCount * (LINK_WORDS + 2 * RING_WORDS);
    const unpublished = workerCount * UNPUBLISHED_WORDS;
    const buffer = new SharedArrayBuffer((fixed + links + unpublished + SLOT_COUNT) * 4);
    const words = new Int32Array(buffer);
    words[HEADER.MAGIC] = MAGIC;
    words[HEADER.WORKER_COUNT] = workerCount;
    words[HEADER.STRIPE_COUNT] = stripeCount;
    words[HEADER.SLOT_COUNT] = SLOT_COUNT;
    words[HEADER.RING_WORDS] = RING_WORDS;
    words[HEADER.SEED] = randomInt(2 ** 32) | 0;
    return new SharedState(buffer);
  }

  static attach(buffer: unknown): SharedState {
    if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength < LINE_WORDS * 4) {
      throw invalidArgument('handle', 'is not the handle of an engine');
    }
    if (new Int32Array(buffer, 0, 1)[0] !== MAGIC) {
      throw new PullManagerError(
        'ENGINE_UNAVAILABLE',
        'handle is of another version of the engine',
      );
    }
    return new SharedState(buffer);
  }

  workerAt(workerIndex: number): number {
    return LINE_WORDS * (1 + workerIndex);
  }

  hostAt(hostIndex: number): number {
    return LINE_WORDS * (1 + this.workerCount + hostIndex);
  }

  /** Words that say which worker and generation owns a stripe. */
  get stripesAt(): number {
    return LINE_WORDS * (1 + this.workerCount + HOST_COUNT);
  }

  linkAt(hostIndex: number, workerIndex: number): number {
    return (
      this.stripesAt + STRIPE_WORDS + LINK_WORDS * (hostIndex * this.workerCount + workerIndex)
    );
  }

  unpublishedAt(workerIndex: number): number {
    return this.linkAt(HOST_COUNT, 0) + UNPUBLISHED_WORDS * workerIndex;
  }

  #versionsAt(): number {
    return this.unpublishedAt(this.workerCount);
  }

  /** First word of a link's ring; `direction` 0 is host to owner, 1 is owner to host. */
  ringAt(hostIndex: number, workerIndex: number, direction: 0 | 1): number {
    const ring = 2 * (hostIndex * this.workerCount + workerIndex) + direction;
    return this.#versionsAt() + this.slotMask + 1 + ring * this.ringWords;
  }

  get engineState(): number {
    return Atomics.load(this.words, HEADER.ENGINE_STATE);
  }

  set engineState(state: number) {
    Atomics.store(this.words, HEADER.ENGINE_STATE, state);
  }

  /** Wakes an owner, if it sleeps, after something was published for it. */
  ringDoorbell(workerIndex: number): void {
    const at = this.workerAt(workerIndex);
    Atomics.add(this.words, at + WORKER.DOORBELL, 1);
    // The owner raises SLEEPING before it looks at the doorbell for the last time, so either it sees
    // the new count or we see the flag.
    if (Atomics.load(this.words, at + WORKER.SLEEPING) !== 0) {
      Atomics.notify(this.words, at + WORKER.DOORBELL);
    }
  }

  /** Wakes a host thread, if it sleeps. */
  wakeHost(hostIndex: number): void {
    const at = this.hostAt(hostIndex);
    Atomics.add(this.words, at + HOST.WAKE, 1);
    if (Atomics.load(this.words, at + HOST.SLEEPING) !== 0) {
      Atomics.notify(this.words, at + HOST.WAKE);
    }
  }

  wakeAllHosts(): void {
    for (let host = 0; host < HOST_COUNT; host++) {
      if (Atomics.load(this.words, this.hostAt(host) + HOST.STATE) !== HOST_STATE.FREE) {
        this.wakeHost(host);
      }
    }
  }
}
