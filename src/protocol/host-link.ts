/**
 * A host thread's end of the link to one worker: numbers requests, keeps those that wait, and
 * matches answers to them.
 */

import { fromWire, PullManagerError, type WireError } from '../errors.ts';
import { decodeRecord } from '../records/codec.ts';
import { CredentialPool } from '../records/credential-pool.ts';
import type { ImagePullCredentials, PulledRecord } from '../records/record.ts';
import { Fifo } from '../util/fifo.ts';
import type { Dictionary } from './dictionary.ts';
import { type CallMethod, REPLY, REQUEST, STATE } from './frames.ts';
import { packMessage, unpackMessage } from './message.ts';
import { PartReceiver, PartSender } from './parts.ts';
import { type OutgoingRequest, RequestWriter } from './request-writer.ts';
import { outOfStep, RingReader, RingWriter } from './ring.ts';
import { LINK, type SharedState, WORKER } from './shared-state.ts';

/** What a worker said about a record and an intent at one instant. */
export interface StateReply {
  readonly flags: number;
  readonly record: PulledRecord | undefined;
  readonly recordVersion: number;
  readonly intentVersion: number;
}

/** A request that waits to be sent or answered. */
export interface Pending extends OutgoingRequest {
  reply: StateReply | Error | undefined;
  /** Called once, with a state for READ, nothing for the other requests. */
  succeed(state?: StateReply): void;
  fail(error: Error): void;
}

interface PendingCall {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly values: unknown[];
  succeed(values: unknown[]): void;
  fail(error: Error): void;
}

/** Hears what owners say of records and intents, before the requests end that they say it to. */
export interface Listener {
  /** What they are now. */
  learn(request: OutgoingRequest, reply: StateReply): void;
  /** That a PULLED was merged, at that time, into the record of version `before`. */
  merged(request: OutgoingRequest, before: number, updatedAtMs: number): void;
}

const WORD = 2 ** 32;
/** Requests after which the worker is told before the tick ends. */
const PUBLISH_EVERY = 256;

/** One thread's link to one worker. */
export class HostLink {
  readonly workerIndex: number;
  readonly #state: SharedState;
  readonly #at: number;
  readonly #dictionary: Dictionary;
  readonly #listener: Listener;
  readonly #requests: RingWriter;
  readonly #replies: RingReader;
  readonly #sender: PartSender;
  readonly #writer: RequestWriter;
  readonly #pool = new CredentialPool();
  readonly #receiver: PartReceiver;
  readonly #decodeRecord: (bytes: Uint8Array, length: number) => PulledRecord;
  #generation = 0;
  /** Sent, and not answered yet; oldest first. */
  readonly #sent = new Fifo<Pending>();
  #completed = 0;
  #unpublished = 0;
  #failure: PullManagerError | undefined;
  /** Not sent, since the ring was full. */
  #queue: Pending[] = [];
  #queueFrom = 0;
  #calls = new Map<number, PendingCall>();
  #unsentCalls: PendingCall[] = [];
  #nextCall = 1;
  /** The ring filled up in the middle of the first unsent call. */
  #callUnderway = false;

  constructor(
    state: SharedState,
    hostIndex: number,
    workerIndex: number,
    dictionary: Dictionary,
    listener: Listener,
  ) {
    this.workerIndex = workerIndex;
    this.#state = state;
    this.#listener = listener;
    this.#at = state.linkAt(hostIndex, workerIndex);
    this.#dictionary = dictionary;
    this.#requests = new RingWriter({
      state,
      at: state.ringAt(hostIndex, workerIndex, 0),
      tailAt: this.#at + LINK.REQUEST_TAIL,
      headAt: this.#at + LINK.REQUEST_HEAD,
    });
    this.#replies = new RingReader({
      state,
      at: state.ringAt(hostIndex, workerIndex, 1),
      tailAt: this.#at + LINK.REPLY_TAIL,
      headAt: this.#at + LINK.REPLY_HEAD,
    });
    this.#sender = new PartSender(this.#requests);
    this.#writer = new RequestWriter(this.#requests, this.#sender, dictionary, workerIndex);
    this.#receiver = new PartReceiver(this.#replies);
    const credentialsOf = (packed: unknown): ImagePullCredentials => this.#pool.credentials(packed);
    this.#decodeRecord = (bytes, length) => decodeRecord(bytes, credentialsOf, length);
    this.#connect();
  }

  /** Requests and calls that wait. */
  get pending(): number {
    return this.#sent.count + this.#queue.length - this.#queueFrom + this.#calls.size;
  }

  /** `ENGINE_UNAVAILABLE`, once answers came that are none; until the worker is replaced. */
  get failure(): PullManagerError | undefined {
    if (this.#failure !== undefined) this.#followWorker();
    return this.#failure;
  }

  /**
   * Hands a request over, where the link has not failed. It becomes visible to the worker with the
   * next `publish`, or at once where the ring is filling up: then the answer is true.
   */
  push(request: Pending): boolean {
    this.#followWorker();
    const mustWait = this.#queueFrom < this.#queue.length || this.#sender.isUnderway;
    if (mustWait || !this.#send(request)) {
      this.#queue.push(request);
      return false;
    }
    // The worker starts on these while the caller's thread prepares more.
    if (++this.#unpublished < PUBLISH_EVERY && !this.#requests.isHalfFull) return false;
    this.publish();
    return true;
  }

  /** Asks for something that is answered out of order, possibly in many pieces. */
  call(method: CallMethod, args: readonly unknown[]): Promise<unknown[]> {
    this.#followWorker();
    return new Promise((succeed, fail) => {
      const id = this.#nextCall++;
      const call = { id, bytes: packMessage([method, ...args]), values: [], succeed, fail };
      this.#calls.set(id, call);
      this.#unsentCalls.push(call);
    });
  }

  /** Sends what fits of what waits, shows it to the worker and wakes it. */
  publish(): void {
    if (this.#failure !== undefined) return;
    // Calls go behind the requests that were made before them; later requests may overtake them,
    // but nothing comes between the parts of a message.
    if (this.#queue.length > 0 || this.#unsentCalls.length > 0) this.#sendWaiting();
    this.#unpublished = 0;
    if (!this.#requests.hasUnpublished) return;
    this.#requests.publish();
    this.#state.ringDoorbell(this.workerIndex);
  }

  /**
   * Takes in what the worker answered. Answers whether there was anything.
   *
   * What is no answer in order says that the memory is not what it should be: everything that waits
   * fails with `ENGINE_UNAVAILABLE`, and nothing of the link is believed until the worker is replaced.
   */
  receive(): boolean {
    if (this.#failure !== undefined) return false;
    try {
      return this.#receive();
    } catch (cause) {
      this.#failure = outOfStep(cause);
      this.disconnect();
      this.#lose(this.#failure);
      return true;
    }
  }

  #receive(): boolean {
    const words = this.#state.words;
    // Read first: whatever the dead generation completed is taken in below before the rest is failed.
    const generation = this.#workerGeneration();
    const completed = Atomics.load(words, this.#at + LINK.COMPLETED);
    let any = completed !== this.#completed;
    for (let op = this.#replies.next(); op !== -1; op = this.#replies.next()) {
      any = true;
      this.#take(op);
    }
    if (any) {
      this.#replies.release();
      if (Atomics.load(words, this.#at + LINK.REPLIES_STUCK) !== 0) {
        this.#state.ringDoorbell(this.workerIndex);
      }
    }
    while (this.#completed !== completed) {
      if (this.#sent.count === 0) throw outOfStep();
      this.#completed = (this.#completed + 1) | 0;
      settle(this.#sent.shift());
    }
    if (generation !== this.#generation) {
      any = true;
      this.#lose(
        new PullManagerError(
          'WORKER_LOST',
          `worker ${this.workerIndex} died; whether the call took effect is unknown`,
          { workerIndex: this.workerIndex },
        ),
      );
      this.#connect();
    }
    return any;
  }

  /** Leaves the link, drained, to another thread that takes this one's place. */
  disconnect(): void {
    Atomics.store(this.#state.words, this.#at + LINK.GENERATION, 0);
  }

  /** Fails everything that waits. */
  abandon(error: Error): void {
    this.#lose(error);
  }

  /** Where nothing waits, nothing is lost with a worker that was replaced meanwhile. */
  #followWorker(): void {
    if (this.pending === 0 && this.#workerGeneration() !== this.#generation) this.#connect();
  }

  #workerGeneration(): number {
    const at = this.#state.workerAt(this.workerIndex);
    return Atomics.load(this.#state.words, at + WORKER.GENERATION);
  }

  #connect(): void {
    const words = this.#state.words;
    this.#generation = this.#workerGeneration();
    this.#failure = undefined;
    this.#requests.reset();
    this.#replies.reset();
    this.#sender.reset();
    this.#writer.reset();
    this.#receiver.reset();
    Atomics.store(words, this.#at + LINK.REPLY_TAIL, 0);
    Atomics.store(words, this.#at + LINK.REPLY_HEAD, 0);
    Atomics.store(words, this.#at + LINK.COMPLETED, 0);
    this.#completed = 0;
    // What the dead worker knew, its replacement does not.
    this.#dictionary.startOver();
    Atomics.add(words, this.#at + LINK.CONNECTION, 1);
    // Last: from here on the owner of this generation looks at the link.
    Atomics.store(words, this.#at + LINK.GENERATION, this.#generation);
  }

  #lose(error: Error): void {
    const queue = this.#queue;
    const calls = this.#calls;
    const from = this.#queueFrom;
    this.#queue = [];
    this.#queueFrom = 0;
    this.#calls = new Map();
    this.#unsentCalls = [];
    this.#callUnderway = false;
    while (this.#sent.count > 0) this.#sent.shift().fail(error);
    for (let i = from; i < queue.length; i++) queue[i]!.fail(error);
    for (const call of calls.values()) call.fail(error);
  }

  #sendWaiting(): void {
    const isCallDone = !this.#callUnderway || this.#sendCalls();
    const isAllSent = isCallDone && this.#sendQueue() && this.#sendCalls();
    // An owner that makes room from here on wakes this thread, which looks once more before it sleeps.
    const isStuck = isAllSent ? 0 : 1;
    Atomics.store(this.#state.words, this.#at + LINK.REQUESTS_STUCK, isStuck);
  }

  /** Sends the queued requests; false when the ring is full. */
  #sendQueue(): boolean {
    while (this.#queueFrom < this.#queue.length) {
      if (!this.#send(this.#queue[this.#queueFrom]!)) {
        this.#trimQueue();
        return false;
      }
      this.#queueFrom++;
    }
    this.#queue = [];
    this.#queueFrom = 0;
    return true;
  }

  /** Lets go of what was sent, also where the queue never empties; each request is moved once. */
  #trimQueue(): void {
    if (this.#queueFrom * 2 < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#queueFrom);
    this.#queueFrom = 0;
  }

  #sendCalls(): boolean {
    for (const call of this.#unsentCalls) {
      const isSent = this.#sender.send(REQUEST.CALL, [call.id], call.bytes);
      // One of which nothing is sent yet may be overtaken.
      this.#callUnderway = this.#sender.isUnderway;
      if (!isSent) return false;
      this.#unsentCalls = this.#unsentCalls.filter((unsent) => unsent !== call);
    }
    return true;
  }

  #send(request: Pending): boolean {
    if (!this.#writer.send(request)) return false;
    this.#sent.push(request);
    return true;
  }

  #take(op: number): void {
    const { words, bodyAt: at } = this.#replies;
    switch (op) {
      case REPLY.PART:
        this.#receiver.part();
        return;
      case REPLY.STATE: {
        const flags = words[at + 1]!;
        const recordVersion = words[at + 2]!;
        const intentVersion = words[at + 3]!;
        const request = this.#sentAt(words[at]!);
        let reply: StateReply | Error;
        try {
          const hasRecord = (flags & STATE.HAS_RECORD) !== 0;
          const record = hasRecord ? this.#receiver.decode(at + 4, this.#decodeRecord) : undefined;
          reply = { flags, record, recordVersion, intentVersion };
          this.#listener.learn(request, reply);
        } catch (error) {
          reply = error as Error;
        }
        if (request.op !== REQUEST.READ) return;
        request.reply = reply;
        // At once: it may have overtaken writes that wait for their flush.
        settle(request);
        return;
      }
      case REPLY.MERGED: {
        const updatedAtMs = words[at + 2]! * WORD + (words[at + 3]! >>> 0);
        this.#listener.merged(this.#sentAt(words[at]!), words[at + 1]!, updatedAtMs);
        return;
      }
      case REPLY.FAILURE:
        this.#sentAt(words[at]!).reply = this.#error(at + 1);
        return;
      case REPLY.RESULT: {
        const more = words[at + 1] !== 0;
        const value = unpackMessage(this.#receiver.bytes(at + 2));
        const call = this.#calls.get(words[at]!);
        call?.values.push(value);
        if (call === undefined || more) return;
        this.#calls.delete(call.id);
        call.succeed(call.values);
        return;
      }
      default: {
        const error = this.#error(at + 1);
        const call = this.#calls.get(words[at]!);
        this.#calls.delete(words[at]!);
        call?.fail(error);
      }
    }
  }

  #error(lengthAt: number): Error {
    const wire = unpackMessage(this.#receiver.bytes(lengthAt));
    try {
      return fromWire(wire as WireError);
    } catch (cause) {
      throw outOfStep(cause);
    }
  }

  /** The waiting request with this number; numbers count from 1 since the link was connected. */
  #sentAt(number: number): Pending {
    const index = (number - this.#completed - 1) | 0;
    if (index < 0 || index >= this.#sent.count) throw outOfStep();
    return this.#sent.at(index);
  }
}

function settle(request: Pending): void {
  const reply = request.reply;
  if (reply instanceof Error) request.fail(reply);
  else request.succeed(reply);
}
