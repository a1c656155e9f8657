/**
 * A host thread's side of a running engine: one link per worker, one poll for all of them.
 *
 * While calls wait, the event loop is polled turn by turn for a moment, which is far faster than
 * being woken; after that the thread sleeps until an owner wakes it. An idle engine uses no CPU.
 */
import { closedError, PullManagerError, queueFull } from '../errors.ts';
import { ownerOf, stripeOf } from '../locks/stripe.ts';
import { waitWhileEqualAsync } from '../locks/wait.ts';
import type { WhenFull } from '../options.ts';
import { Dictionary } from '../protocol/dictionary.ts';
import { type CallMethod, REQUEST } from '../protocol/frames.ts';
import { HostLink, type Listener, type Pending, type StateReply } from '../protocol/host-link.ts';
import {
  ENGINE_STATE,
  HOST,
  HOST_COUNT,
  HOST_STATE,
  type SharedState,
  WORKER,
  WORKER_STATE,
} from '../protocol/shared-state.ts';
import type { ImagePullCredentials } from '../records/record.ts';
import { Fifo } from '../util/fifo.ts';
import { Read, Write } from './engine-requests.ts';

/** How long the event loop is polled without progress before the thread goes to sleep. */
const POLL_MS = 2;
/** Longest sleep while calls wait, should a wake-up be lost. */
const SLEEP_MS = 1_000;
/** Calls of one thread that may be held back until there is room for them. */
const HELD_BACK_MAX = 1 << 20;

/** A request, or a call, for which there was no room. */
interface HeldBack {
  /** Undefined for a call. */
  readonly op: number | undefined;
  enter(): void;
  fail(error: Error): void;
}

export interface EngineClientOptions {
  readonly state: SharedState;
  readonly hostIndex: number;
  readonly maxPending: number;
  readonly whenFull: WhenFull;
  /** Called after something was published; lets an owner in this thread start. */
  readonly kick: () => void;
  /** Hears what owners say, as soon as it is heard. */
  readonly listener: Listener;
}

/** Sends requests to the owners and settles them. Used by one thread. */
export class EngineClient {
  readonly hostIndex: number;
  readonly maxPending: number;
  readonly #state: SharedState;
  readonly #links: HostLink[];
  readonly #kick: () => void;
  readonly #holdsBack: boolean;
  /** By worker: what waits for room, oldest first. */
  readonly #held: readonly Fifo<HeldBack>[];
  /** Reads that wait, by image reference. Those of this interval are not visible to a worker yet. */
  readonly #reads = new Map<string, Read>();
  #interval = 0;
  readonly #endRead: (read: Read) => void;
  readonly #poll: () => void;
  #isPollScheduled = false;
  #isAsleep = false;
  #hasLeft = false;
  #lastProgressMs = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: EngineClientOptions) {
    const { state, hostIndex } = options;
    this.hostIndex = hostIndex;
    this.maxPending = options.maxPending;
    this.#state = state;
    this.#kick = options.kick;
    this.#holdsBack = options.whenFull === 'wait';
    this.#held = Array.from({ length: state.workerCount }, () => new Fifo<HeldBack>());
    const dictionary = new Dictionary();
    this.#links = Array.from(
      { length: state.workerCount },
      (_, worker) => new HostLink(state, hostIndex, worker, dictionary, options.listener),
    );
    this.#endRead = (read) => {
      if (this.#reads.get(read.imageRef!) === read) this.#reads.delete(read.imageRef!);
    };
    this.#poll = () => this.#pollOnce();
  }

  /** Claims a free place among the engine's host threads; -1 if there is none. */
  static claimHost(state: SharedState): number {
    for (let host = 0; host < HOST_COUNT; host++) {
      const at = state.hostAt(host) + HOST.STATE;
      const found = Atomics.compareExchange(state.words, at, HOST_STATE.FREE, HOST_STATE.ATTACHED);
      if (found === HOST_STATE.FREE) return host;
    }
    return -1;
  }

  /** Calls that may wait for all workers together. */
  get pendingLimit(): number {
    return this.maxPending * this.#links.length;
  }

  get pending(): number {
    let pending = 0;
    for (const link of this.#links) pending += link.pending;
    return pending;
  }

  /** Calls that wait until there is room for them. */
  get heldBack(): number {
    let count = 0;
    for (const held of this.#held) count += held.count;
    return count;
  }

  /** The worker that owns a key. */
  ownerOf(key: string): number {
    if (this.#links.length === 1) return 0;
    return ownerOf(stripeOf(key, this.#state.stripeCount), this.#links.length);
  }

  /**
   * Sends a write of `op` to `owner`; resolves when it is durable. `wantsState`: the owner shall say
   * what the record is afterwards, as it would to a read.
   */
  write(
    owner: number,
    op: number,
    image: string | undefined,
    imageRef?: string,
    imageName?: string,
    credentials?: ImagePullCredentials | null,
    wantsState = false,
  ): Promise<void> {
    return new Promise((succeed, fail) => {
      this.#push(
        owner,
        new Write(op, image, imageRef, imageName, credentials, wantsState, succeed, fail),
      );
    });
  }

  /** Asks one owner for a record, an intent, or both. */
  read(
    owner: number,
    imageRef: string | undefined,
    image: string | undefined,
  ): Promise<StateReply> {
    if (imageRef === undefined) {
      const read = new Read(undefined, image, this.#interval, undefined);
      this.#push(owner, read);
      return read.answer;
    }
    const known = this.#reads.get(imageRef);
    // One that is visible already may be answered with what was before this question.
    if (known?.interval === this.#interval && known.image === image) return known.answer;
    const read = new Read(imageRef, image, this.#interval, this.#endRead);
    this.#reads.set(imageRef, read);
    this.#push(owner, read);
    return read.answer;
  }

  /**
   * Settles when the question about a record that somebody asked before is answered; undefined if
   * there is none. The answer itself may be older than the caller's question.
   */
  underway(imageRef: string): Promise<StateReply> | undefined {
    return this.#reads.get(imageRef)?.answer;
  }

  /** Takes in what the workers have answered, without waiting for a turn of the event loop. */
  receive(): boolean {
    let any = false;
    for (const link of this.#links) if (link.pending > 0 && link.receive()) any = true;
    if (any) this.#lastProgressMs = performance.now();
    return any;
  }

  /** Calls one owner; resolves with the pieces of its answer. */
  call(owner: number, method: CallMethod, args: readonly unknown[]): Promise<unknown[]> {
    return new Promise((succeed, fail) => {
      const enter = (): void => {
        this.#links[owner]!.call(method, args).then(succeed, fail);
        this.#schedule();
      };
      this.#admit(owner, { op: undefined, enter, fail });
    });
  }

  /** Calls every owner at once. Where one fails, rejects when none of the others is at work any more. */
  async callAll(method: CallMethod, args: readonly unknown[]): Promise<unknown[][]> {
    const calls = this.#links.map((_, owner) => this.call(owner, method, args));
    await Promise.allSettled(calls);
    return Promise.all(calls);
  }

  /** Resolves when nothing waits any more. */
  async drain(): Promise<void> {
    while (this.pending + this.heldBack > 0)
      await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  /** Fails everything that waits, and gives the place back if `isClean`: if nothing was waiting. */
  leave(error: Error): void {
    if (this.#hasLeft) return;
    const isClean = this.pending + this.heldBack === 0;
    this.#hasLeft = true;
    this.#abandon(error);
    this.#idle();
    if (!isClean) return;
    for (const link of this.#links) link.disconnect();
    const at = this.#state.hostAt(this.hostIndex) + HOST.STATE;
    Atomics.store(this.#state.words, at, HOST_STATE.FREE);
  }

  #push(owner: number, request: Pending): void {
    if (this.#hasRoom(owner, request.op) && this.#refusal(owner) === undefined) {
      this.#enter(owner, request);
      return;
    }
    const enter = (): void => this.#enter(owner, request);
    this.#admit(owner, { op: request.op, enter, fail: (error) => request.fail(error) });
  }

  #enter(owner: number, request: Pending): void {
    // Visible from here on: whoever asks now must not be given an answer from before.
    if (this.#links[owner]!.push(request)) this.#interval++;
    if (!this.#isPollScheduled) this.#schedule();
  }

  /** Takes it, holds it back, or refuses it. */
  #admit(owner: number, call: HeldBack): void {
    const error = this.#refusal(owner);
    if (error !== undefined) call.fail(error);
    else if (this.#hasRoom(owner, call.op)) call.enter();
    else if (this.#holdsBack && this.heldBack < HELD_BACK_MAX) this.#held[owner]!.push(call);
    else call.fail(queueFull(`${this.maxPending} calls wait for worker ${owner} already`));
  }

  /** Lets in, in their order, those for which there is room now; answers whether any left the queue. */
  #letIn(): boolean {
    let any = false;
    for (const [owner, held] of this.#held.entries()) {
      while (held.count > 0) {
        const error = this.#refusal(owner);
        if (error === undefined && !this.#isBelowLimit(owner, held.at(0).op)) break;
        const call = held.shift();
        if (error === undefined) call.enter();
        else call.fail(error);
        any = true;
      }
    }
    return any;
  }

  /** Whether a request may go at once: nothing overtakes what is held back. */
  #hasRoom(owner: number, op: number | undefined): boolean {
    return this.#held[owner]!.count === 0 && this.#isBelowLimit(owner, op);
  }

  /** An outcome has room where an intent had: twice the limit. */
  #isBelowLimit(owner: number, op: number | undefined): boolean {
    const limit = op === REQUEST.OUTCOME ? 2 * this.maxPending : this.maxPending;
    return this.#links[owner]!.pending < limit;
  }

  #abandon(error: Error): void {
    for (const link of this.#links) link.abandon(error);
    for (const held of this.#held) while (held.count > 0) held.shift().fail(error);
  }

  /** Why a worker cannot be asked. */
  #refusal(owner: number): PullManagerError | undefined {
    const { words } = this.#state;
    // Once left, the place and its rings may be another thread's.
    if (this.#hasLeft || this.#state.engineState === ENGINE_STATE.CLOSED) {
      return closedError('this call');
    }
    const stateAt = this.#state.workerAt(owner) + WORKER.STATE;
    if (Atomics.load(words, stateAt) === WORKER_STATE.LOST) {
      return new PullManagerError('WORKER_LOST', `worker ${owner} is down`, {
        workerIndex: owner,
      });
    }
    return this.#links[owner]!.failure;
  }

  #schedule(): void {
    if (this.#isPollScheduled) return;
    this.#isPollScheduled = true;
    this.#lastProgressMs = performance.now();
    setImmediate(this.#poll);
  }

  #pollOnce(): void {
    this.#isPollScheduled = false;
    if (this.#hasLeft) return;
    // Read first: what was answered before the engine closed is taken in below.
    const isClosed = this.#state.engineState === ENGINE_STATE.CLOSED;
    let waits = false;
    let progress = false;
    this.#interval++;
    for (const link of this.#links) {
      link.publish();
      if (link.pending === 0) continue;
      this.#kick();
      if (link.receive()) progress = true;
      if (link.pending > 0) waits = true;
    }
    if ((waits || this.heldBack > 0) && isClosed) {
      this.#abandon(closedError('this call'));
      waits = false;
    }
    if (this.#letIn() || progress) {
      // The callers' next calls come in their microtasks, before this immediate: one more turn.
      this.#schedule();
      return;
    }
    if (!waits) {
      this.#idle();
      return;
    }
    if (performance.now() - this.#lastProgressMs < POLL_MS) {
      this.#isPollScheduled = true;
      setImmediate(this.#poll);
      return;
    }
    void this.#sleep();
  }

  /** Sleeps until an owner says that something happened. */
  async #sleep(): Promise<void> {
    if (this.#isAsleep) return;
    this.#isAsleep = true;
    const { words } = this.#state;
    const at = this.#state.hostAt(this.hostIndex);
    const wake = Atomics.load(words, at + HOST.WAKE);
    Atomics.store(words, at + HOST.SLEEPING, 1);
    // An owner that answered, or made room, before it could see SLEEPING is noticed here.
    let news = false;
    for (const link of this.#links) {
      link.publish();
      if (link.receive()) news = true;
    }
    if (!news) await waitWhileEqualAsync(words, at + HOST.WAKE, wake, SLEEP_MS);
    Atomics.store(words, at + HOST.SLEEPING, 0);
    this.#isAsleep = false;
    this.#schedule();
  }

  #idle(): void {
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of waiting) resolve();
  }
}
