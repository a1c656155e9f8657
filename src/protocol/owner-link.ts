/**
 * An owner's end of the link to one host thread: reads requests, holds the host's dictionary, and
 * sends answers without ever waiting for the host.
 */

import { toWire } from '../errors.ts';
import { encodeRecord, unpackCredentials } from '../records/codec.ts';
import type { ImagePullCredentials, PulledRecord } from '../records/record.ts';
import { secretCredentials } from '../records/validate.ts';
import { REPLY, REQUEST, STATE } from './frames.ts';
import { type Key, keyOf } from './key.ts';
import { packMessage, unpackMessage } from './message.ts';
import { PartReceiver, PartSender } from './parts.ts';
import { outOfStep, RingReader, RingWriter } from './ring.ts';
import { HOST, HOST_STATE, LINK, type SharedState } from './shared-state.ts';

/** A request as an owner sees it. */
export interface OwnerRequest {
  readonly op: number;
  readonly link: OwnerLink;
  /** Number within its link since it was connected. */
  readonly number: number;
  readonly image: Key | undefined;
  readonly imageRef: Key | undefined;
  readonly imageName: string;
  readonly credentials: ImagePullCredentials | null;
  /** PULLED: whether the host wants to know what the record is afterwards. */
  readonly wantsState: boolean;
}

/** A request for something big, answered out of order. */
export interface OwnerCall {
  readonly link: OwnerLink;
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** An answer that waits for room in the ring. */
interface Answer {
  readonly opcode: number;
  readonly fields: readonly number[];
  readonly bytes: Uint8Array;
  /** `COMPLETED` may be raised to this once the answer is sent. */
  readonly completes: number;
}

const NOTHING = new Uint8Array(0);
const WORD = 2 ** 32;

/**
 * What a number stands for. One that was never sent would make a record look absent: rather than
 * answer that, the owner gives up, and its callers are told.
 */
function known<T>(entry: T | undefined): T {
  if (entry === undefined) throw outOfStep();
  return entry;
}

function decodeCredentials(bytes: Uint8Array, length: number): ImagePullCredentials {
  return unpackCredentials(unpackMessage(bytes, length));
}

/** One host thread's requests and answers, as seen by one owner. */
export class OwnerLink {
  readonly hostIndex: number;
  readonly #state: SharedState;
  readonly #at: number;
  readonly #generation: number;
  readonly #requests: RingReader;
  readonly #replies: RingWriter;
  readonly #receiver: PartReceiver;
  readonly #sender: PartSender;
  /** The host's connection that this end follows; 0 for none. */
  #connection = 0;
  #texts: Key[] = [];
  #credentials: ImagePullCredentials[] = [];
  /** Requests taken from the ring, and requests that are answered but for the backlog. */
  #taken = 0;
  #finished = 0;
  #completed = 0;
  #backlog: Answer[] = [];
  /** The host's position in the replies when they were last found full. */
  #stuckAt = 0;

  constructor(state: SharedState, hostIndex: number, workerIndex: number, generation: number) {
    this.hostIndex = hostIndex;
    this.#state = state;
    this.#generation = generation;
    this.#at = state.linkAt(hostIndex, workerIndex);
    this.#requests = new RingReader({
      state,
      at: state.ringAt(hostIndex, workerIndex, 0),
      tailAt: this.#at + LINK.REQUEST_TAIL,
      headAt: this.#at + LINK.REQUEST_HEAD,
    });
    this.#replies = new RingWriter({
      state,
      at: state.ringAt(hostIndex, workerIndex, 1),
      tailAt: this.#at + LINK.REPLY_TAIL,
      headAt: this.#at + LINK.REPLY_HEAD,
    });
    this.#receiver = new PartReceiver(this.#requests);
    this.#sender = new PartSender(this.#replies);
  }

  /** Whether there is something to take. Follows the host's coming, going and reconnecting. */
  hasRequests(): boolean {
    if (!this.#followHost()) return false;
    return this.#requests.hasMore();
  }

  /** Whether answers wait for room in the ring. */
  get hasBacklog(): boolean {
    return this.#backlog.length > 0;
  }

  /** Whether the host has made room since the ring was found full, or left. */
  canFlush(): boolean {
    if (this.#backlog.length === 0) return false;
    return this.#replyHead() !== this.#stuckAt || !this.#followHost();
  }

  /** Moves requests into `batch` until it has `limit` of them or a call comes, which is answered. */
  take(batch: OwnerRequest[], limit: number): OwnerCall | undefined {
    const ring = this.#requests;
    let call: OwnerCall | undefined;
    while (call === undefined && batch.length < limit) {
      const op = ring.next();
      if (op === -1) break;
      if (op >= REQUEST.INTENT && op <= REQUEST.READ) batch.push(this.#request(op));
      else call = this.#define(op);
    }
    ring.release();
    const isHostStuck = Atomics.load(this.#state.words, this.#at + LINK.REQUESTS_STUCK) !== 0;
    if (isHostStuck) this.#state.wakeHost(this.hostIndex);
    return call;
  }

  /** Everything up to this request is answered, and needs no reply of its own from here on. */
  finish(request: OwnerRequest): void {
    this.#finished = request.number;
  }

  fail(request: OwnerRequest, error: unknown): void {
    this.#answer(REPLY.FAILURE, [request.number], packMessage(toWire(error)));
    this.#finished = request.number;
  }

  /** Says what a READ saw, or a PULLED has left. May come before earlier requests are finished; `finish` follows later. */
  answerState(
    request: OwnerRequest,
    flags: number,
    record: PulledRecord | undefined,
    recordVersion: number,
    intentVersion: number,
  ): void {
    const bytes = record === undefined ? NOTHING : encodeRecord(record);
    const shown = record === undefined ? flags : flags | STATE.HAS_RECORD;
    this.#answer(REPLY.STATE, [request.number, shown, recordVersion, intentVersion], bytes);
  }

  /**
   * Says that a PULLED was merged into the record of version `before`, the only change of it in its
   * batch, at that time: who knows that version can do the same.
   */
  answerMerged(request: OwnerRequest, before: number, updatedAtMs: number): void {
    // A time does not fit a word; both halves are whole numbers, the upper one signed.
    const high = Math.floor(updatedAtMs / WORD);
    this.#answer(REPLY.MERGED, [request.number, before, high, updatedAtMs - high * WORD], NOTHING);
  }

  answerCall(call: OwnerCall, value: unknown, more: boolean): void {
    this.#answer(REPLY.RESULT, [call.id, more ? 1 : 0], packMessage(value));
  }

  failCall(call: OwnerCall, error: unknown): void {
    this.#answer(REPLY.FAILED_CALL, [call.id], packMessage(toWire(error)));
  }

  /** Sends what waits, shows the host what is finished, and wakes it. */
  flush(): void {
    this.#stuckAt = this.#replyHead();
    let sent = 0;
    for (; sent < this.#backlog.length; sent++) {
      const { opcode, fields, bytes } = this.#backlog[sent]!;
      if (!this.#sender.send(opcode, fields, bytes)) break;
    }
    if (sent > 0) this.#backlog.splice(0, sent);
    // A host that reads from here on rings; one that has read since `stuckAt` is seen by `canFlush`.
    Atomics.store(
      this.#state.words,
      this.#at + LINK.REPLIES_STUCK,
      this.#backlog.length > 0 ? 1 : 0,
    );
    const stuck = this.#backlog[0];
    const completed = stuck === undefined ? this.#finished : stuck.completes;
    const news = this.#replies.hasUnpublished || completed !== this.#completed;
    if (!news || this.#openConnection() !== this.#connection) return;
    this.#replies.publish();
    this.#completed = completed;
    Atomics.store(this.#state.words, this.#at + LINK.COMPLETED, completed);
    this.#state.wakeHost(this.hostIndex);
  }

  #answer(opcode: number, fields: readonly number[], bytes: Uint8Array): void {
    if (this.#backlog.length === 0 && this.#sender.send(opcode, fields, bytes)) return;
    // What is finished from here on stays so to itself until this answer is sent.
    this.#backlog.push({ opcode, fields, bytes, completes: this.#finished });
  }

  #replyHead(): number {
    return Atomics.load(this.#state.words, this.#at + LINK.REPLY_HEAD);
  }

  /** The connection that the host has open for this generation of the owner; 0 for none. */
  #openConnection(): number {
    const words = this.#state.words;
    const hostAt = this.#state.hostAt(this.hostIndex);
    if (Atomics.load(words, hostAt + HOST.STATE) === HOST_STATE.FREE) return 0;
    if (Atomics.load(words, this.#at + LINK.GENERATION) !== this.#generation) return 0;
    return Atomics.load(words, this.#at + LINK.CONNECTION);
  }

  #followHost(): boolean {
    const connection = this.#openConnection();
    if (connection !== this.#connection) {
      this.#connection = connection;
      this.#reset();
    }
    return connection !== 0;
  }

  #reset(): void {
    this.#requests.reset();
    this.#receiver.reset();
    this.#sender.reset();
    this.#replies.restart();
    this.#texts = [];
    this.#credentials = [];
    this.#backlog = [];
    this.#taken = 0;
    this.#finished = 0;
    this.#completed = 0;
  }

  #request(op: number): OwnerRequest {
    const { words, bodyAt: at } = this.#requests;
    this.#taken = (this.#taken + 1) | 0;
    const isPulled = op === REQUEST.PULLED;
    const takesRef = isPulled || op === REQUEST.READ;
    const imageId = words[isPulled ? at + 3 : takesRef ? at + 1 : at]!;
    const credentialsId = isPulled ? words[at + 2]! : -1;
    return {
      op,
      link: this,
      number: this.#taken,
      image: imageId < 0 ? undefined : known(this.#texts[imageId]),
      imageRef: takesRef && words[at]! >= 0 ? known(this.#texts[words[at]!]) : undefined,
      imageName: isPulled ? known(this.#texts[words[at + 1]!]).text : '',
      credentials: credentialsId < 0 ? null : known(this.#credentials[credentialsId]),
      wantsState: isPulled && words[at + 4] === 1,
    };
  }

  #define(op: number): OwnerCall | undefined {
    const { words, bodyAt: at } = this.#requests;
    switch (op) {
      case REQUEST.PART:
        this.#receiver.part();
        return undefined;
      case REQUEST.TEXT: {
        this.#texts[words[at]!] = keyOf(this.#text(at + 1), this.#state.seed);
        return undefined;
      }
      case REQUEST.CREDENTIALS: {
        this.#credentials[words[at]!] = this.#receiver.decode(at + 1, decodeCredentials);
        return undefined;
      }
      case REQUEST.SECRET: {
        this.#credentials[words[at]!] = secretCredentials({
          uid: known(this.#texts[words[at + 1]!]).text,
          namespace: known(this.#texts[words[at + 2]!]).text,
          name: known(this.#texts[words[at + 3]!]).text,
          credentialHash: this.#text(at + 4),
        });
        return undefined;
      }
      default: {
        const call: unknown = unpackMessage(this.#receiver.bytes(at + 1));
        if (op !== REQUEST.CALL || !Array.isArray(call)) throw outOfStep();
        const [method, ...args] = call as [string];
        return { link: this, id: words[at]!, method, args };
      }
    }
  }

  /** The UTF-8 whose length word is at `lengthAt`. */
  #text(lengthAt: number): string {
    const receiver = this.#receiver;
    if (receiver.hasParts(lengthAt)) return Buffer.from(receiver.bytes(lengthAt)).toString();
    const from = (lengthAt + 1) * 4;
    return this.#requests.bytes.toString('utf8', from, from + receiver.byteLength(lengthAt));
  }
}
