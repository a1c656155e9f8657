/**
 * What a thread that went wrong may leave in the rings of an engine. The first character says in which
 * ring: `o` the owner's, `h` the host's; the rest are its words.
 */
import { PullManagerError } from '../../../../src/errors.ts';
import { Dictionary } from '../../../../src/protocol/dictionary.ts';
import { REPLY, REQUEST } from '../../../../src/protocol/frames.ts';
import { HostLink } from '../../../../src/protocol/host-link.ts';
import { OwnerLink, type OwnerRequest } from '../../../../src/protocol/owner-link.ts';
import { LINK, type SharedState } from '../../../../src/protocol/shared-state.ts';
import { encodeRecord } from '../../../../src/records/codec.ts';
import type { Random } from '../../../../src/util/random.ts';
import { smallState } from '../../../support/links.ts';
import { happens, pick, several } from '../choice.ts';
import { type FuzzTarget, mustHold, type Verdict, Violation } from '../target.ts';
import { pack, packedCredentialsOf, recordOf } from './packed-values.ts';

const RING_WORDS = 1 << 10;
/** What is in memory that is none of the ring's. */
const CANARY = 0x59524e43;
const CANARY_TEXT = Buffer.from(new Int32Array([CANARY]).buffer).toString();
/** More frames than a ring has words are not in it. */
const FRAMES_MAX = 4 * RING_WORDS;
const OPCODES = [0, ...Object.values(REQUEST), ...Object.values(REPLY), 255];
const REFUSALS: readonly string[] = [
  'ERR_PULLMANAGER_ENGINE_UNAVAILABLE',
  'ERR_PULLMANAGER_RECORD_CORRUPT',
];

let state: SharedState | undefined;
let memory = new Int32Array(0);

export const protocolFrames: FuzzTarget = {
  name: 'protocol-frames',
  unit: 'rings',
  modules: ['src/protocol/'],
  words: [
    '\0\0\0\0',
    '\x01\0\0\0',
    '\xff\xff\xff\xff',
    '\xff\xff\xff\x7f',
    '\0\0\0\x80',
    '\x04\x05\0\0',
    '\x02\x08\0\0',
  ],
  async open() {
    state = smallState(RING_WORDS);
    // Both rings, and more than a length in a frame reaches that is believed.
    const end = Math.min(state.words.length, state.ringAt(0, 0, 0) + 64 * RING_WORDS);
    memory = state.words.slice(0, end);
    memory.fill(CANARY, state.ringAt(0, 0, 0));
  },
  make(random) {
    const isOwner = happens(random, 0.7);
    const frames = several(random, 12, () => frameOf(random, isOwner));
    return Buffer.concat([Buffer.from(isOwner ? 'o' : 'h'), ...frames]);
  },
  feed,
  worstCases: [],
};

function feed(input: Buffer): Verdict {
  const { words } = state!;
  words.set(memory);
  const isHost = input[0] === 0x68;
  const ringAt = state!.ringAt(0, 0, isHost ? 1 : 0);
  const given = Buffer.alloc(Math.min(RING_WORDS * 4, (input.length + 2) & ~3));
  input.subarray(1).copy(given);
  const wordCount = given.length >> 2;
  for (let i = 0; i < wordCount; i++) words[ringAt + i] = given.readInt32LE(4 * i);
  try {
    if (isHost) return hear(wordCount);
    take(wordCount);
    return 'accepted';
  } catch (error) {
    // Whoever reads gives up, and its callers are told.
    if (error instanceof PullManagerError && REFUSALS.includes(error.code)) return 'refused';
    throw error;
  }
}

function take(wordCount: number): void {
  const at = state!.linkAt(0, 0);
  const link = new OwnerLink(state!, 0, 0, 1);
  Atomics.store(state!.words, at + LINK.GENERATION, 1);
  Atomics.store(state!.words, at + LINK.CONNECTION, 1);
  Atomics.store(state!.words, at + LINK.REQUEST_TAIL, wordCount);
  for (let turn = 0; link.hasRequests(); turn++) {
    mustHold(turn < FRAMES_MAX, 'an owner takes more frames than there are');
    const batch: OwnerRequest[] = [];
    const call = link.take(batch, 1);
    for (const { image, imageRef, imageName, credentials } of batch) {
      checkOwn([image?.text, imageRef?.text, imageName, credentials]);
    }
    if (call !== undefined) checkOwn([call.method, call.args]);
  }
}

function hear(wordCount: number): Verdict {
  const at = state!.linkAt(0, 0);
  const listener = { learn() {}, merged() {} };
  const link = new HostLink(state!, 0, 0, new Dictionary({ texts: 8, credentials: 8 }), listener);
  let failure: Error | undefined;
  link.push({
    op: REQUEST.READ,
    image: 'image',
    imageRef: 'ref',
    imageName: undefined,
    credentials: undefined,
    wantsState: false,
    reply: undefined,
    succeed: (reply) => checkOwn([reply?.record]),
    fail: (error) => {
      failure = error;
    },
  });
  Atomics.store(state!.words, at + LINK.REPLY_TAIL, wordCount);
  try {
    link.receive();
  } catch (error) {
    if (error instanceof Violation) throw error;
    // Nobody is there to catch it.
    throw new Violation(`a host throws in its event loop: ${String(error)}`);
  }
  if (link.failure !== undefined) {
    mustHold(link.pending === 0, 'a call waits on a link that is down');
    mustHold(!link.receive(), 'a link that is down is heard again');
  }
  if (failure === undefined) return link.failure === undefined ? 'accepted' : 'refused';
  const isKnown = failure instanceof PullManagerError && REFUSALS.includes(failure.code);
  if (!isKnown && link.failure !== undefined) throw failure;
  return 'refused';
}

/** Nothing of what others have in memory is in it. */
function checkOwn(values: readonly unknown[]): void {
  const text =
    JSON.stringify(values, (_, value) => (typeof value === 'bigint' ? String(value) : value)) ?? '';
  mustHold(!text.includes(CANARY_TEXT), 'memory beyond the ring is read');
}

function frameOf(random: Random, isOwner: boolean): Buffer {
  const small = (): number => random.below(4) - 1;
  const bytes = pick(random, [
    () => Buffer.from('text'),
    () => pack(packedCredentialsOf(random)),
    () => Buffer.from(encodeRecord(recordOf(random))),
    () => pack(['listPulled']),
    () => Buffer.alloc(random.below(64), random.below(256)),
  ])();
  const opcode = pick(random, OPCODES);
  const fieldCount = isOwner ? random.below(5) : random.below(5);
  const fields = Array.from({ length: fieldCount }, small);
  const length = happens(random, 0.8)
    ? bytes.length
    : pick(random, [0, -1, 2 ** 31 - 1, -(2 ** 31), 1 << 20, bytes.length | (1 << 31)]);
  const wordCount = 2 + fieldCount + ((bytes.length + 3) >> 2);
  const shown = happens(random, 0.9)
    ? wordCount
    : pick(random, [0, 1, wordCount + 1, 2 ** 24 - 1, RING_WORDS]);
  const frame = Buffer.alloc(wordCount * 4);
  frame.writeInt32LE(opcode | (shown << 8) | 0, 0);
  for (const [i, field] of fields.entries()) frame.writeInt32LE(field, 4 + 4 * i);
  frame.writeInt32LE(length | 0, 4 + 4 * fieldCount);
  bytes.copy(frame, 8 + 4 * fieldCount);
  return frame;
}
