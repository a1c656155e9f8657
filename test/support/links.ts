/** Both ends of a link in one thread, on rings small enough to fill up, driven step by step. */

import { Dictionary, type DictionaryLimits } from '../../src/protocol/dictionary.ts';
import {
  HostLink,
  type Listener,
  type Pending,
  type StateReply,
} from '../../src/protocol/host-link.ts';
import { type OwnerCall, OwnerLink, type OwnerRequest } from '../../src/protocol/owner-link.ts';
import {
  HEADER,
  HOST,
  HOST_STATE,
  LINK,
  SharedState,
  WORKER,
} from '../../src/protocol/shared-state.ts';
import type { ImagePullCredentials } from '../../src/records/record.ts';

const BUFFER_BYTES = 1 << 23;

/** Shared memory with rings of so many words. */
export function smallState(ringWords: number, workerCount = 1): SharedState {
  const model = SharedState.create(workerCount, 1);
  const buffer = new SharedArrayBuffer(BUFFER_BYTES);
  const words = new Int32Array(buffer);
  words.set(model.words.subarray(0, 16));
  words[HEADER.RING_WORDS] = ringWords;
  words[HEADER.SLOT_COUNT] = 1 << 10;
  const state = SharedState.attach(buffer);
  for (let worker = 0; worker < workerCount; worker++) {
    state.words[state.workerAt(worker) + WORKER.GENERATION] = 1;
  }
  state.words[state.hostAt(0) + HOST.STATE] = HOST_STATE.ATTACHED;
  return state;
}

/** What a request is made of. */
export interface Asked {
  readonly op: number;
  readonly image?: string;
  readonly imageRef?: string;
  readonly imageName?: string;
  readonly credentials?: ImagePullCredentials | null;
  readonly wantsState?: boolean;
}

/** A host's links to its workers, and the workers' ends. */
export class LinkPair {
  readonly dictionary: Dictionary;
  readonly hosts: HostLink[];
  readonly owners: OwnerLink[];
  /** What the host was told of records and intents. */
  readonly learned: StateReply[] = [];
  /** What the host was told to have been merged. */
  readonly merged: unknown[] = [];

  readonly #state: SharedState;

  constructor(state: SharedState, limits?: DictionaryLimits) {
    this.#state = state;
    this.dictionary = new Dictionary(limits);
    const workers = Array.from({ length: state.workerCount }, (_, worker) => worker);
    const listener: Listener = {
      learn: (_, reply) => {
        this.learned.push(reply);
      },
      merged: ({ imageRef }, before, updatedAtMs) => {
        this.merged.push({ imageRef, before, updatedAtMs });
      },
    };
    this.hosts = workers.map((worker) => new HostLink(state, 0, worker, this.dictionary, listener));
    this.owners = workers.map((worker) => new OwnerLink(state, 0, worker, 1));
  }

  /** Hands a request over; the answer settles when the worker's end has answered and was heard. */
  push(asked: Asked, worker = 0): Promise<unknown> {
    return new Promise((succeed, fail) => {
      const request: Pending = {
        op: asked.op,
        image: asked.image,
        imageRef: asked.imageRef,
        imageName: asked.imageName,
        credentials: asked.credentials,
        wantsState: asked.wantsState === true,
        reply: undefined,
        succeed,
        fail,
      };
      this.hosts[worker]!.push(request);
    });
  }

  /** Words that are free in the ring to a worker. */
  room(worker: number): number {
    const at = this.#state.linkAt(0, worker);
    const { words, ringWords } = this.#state;
    return ringWords - ((words[at + LINK.REQUEST_TAIL]! - words[at + LINK.REQUEST_HEAD]!) | 0);
  }

  /** The requests that have arrived at a worker. */
  take(worker = 0, limit = 4096): { requests: OwnerRequest[]; call: OwnerCall | undefined } {
    const requests: OwnerRequest[] = [];
    const owner = this.owners[worker]!;
    const call = owner.hasRequests() ? owner.take(requests, limit) : undefined;
    return { requests, call };
  }

  /** Lets messages pass until a worker has so many requests. */
  takeAll(count: number, worker = 0): OwnerRequest[] {
    const all: OwnerRequest[] = [];
    for (let turns = 0; all.length < count; turns++) {
      if (turns > 1_000_000) throw new Error(`only ${all.length} of ${count} requests arrive`);
      this.hosts[worker]!.publish();
      all.push(...this.take(worker).requests);
    }
    return all;
  }
}

/** What has arrived, in the form of what was asked. */
export function askedOf(request: OwnerRequest): Asked {
  const { op, image, imageRef, imageName, credentials, wantsState } = request;
  return {
    op,
    ...(image === undefined ? {} : { image: image.text }),
    ...(imageRef === undefined ? {} : { imageRef: imageRef.text }),
    ...(imageName === '' ? {} : { imageName }),
    ...(credentials === null ? {} : { credentials }),
    ...(wantsState ? { wantsState } : {}),
  };
}
