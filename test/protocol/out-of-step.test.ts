/** What a thread that went wrong may leave in a ring: whoever reads it gives up, and never hangs. */
import { describe, expect, it } from 'vitest';
import { EngineClient } from '../../src/engine/engine-client.ts';
import { REPLY, REQUEST } from '../../src/protocol/frames.ts';
import { OwnerLink, type OwnerRequest } from '../../src/protocol/owner-link.ts';
import { PartReceiver } from '../../src/protocol/parts.ts';
import { RingReader } from '../../src/protocol/ring.ts';
import { LINK, type SharedState, WORKER } from '../../src/protocol/shared-state.ts';
import { LinkPair, smallState } from '../support/links.ts';

const RING_WORDS = 64;
const OUT_OF_STEP = expect.objectContaining({
  code: 'ERR_PULLMANAGER_ENGINE_UNAVAILABLE',
});

/** A ring with these words in it; `tail`: how many of them are published. */
function ringOf(words: readonly number[], tail = words.length) {
  const state = smallState(RING_WORDS);
  const link = state.linkAt(0, 0);
  const at = state.ringAt(0, 0, 0);
  state.words.set(words, at);
  state.words[link + LINK.REQUEST_TAIL] = tail;
  state.words[link + LINK.GENERATION] = 1;
  state.words[link + LINK.CONNECTION] = 1;
  const place = { state, at, tailAt: link + LINK.REQUEST_TAIL, headAt: link + LINK.REQUEST_HEAD };
  return { reader: new RingReader(place), owner: new OwnerLink(state, 0, 0, 1) };
}

function frame(opcode: number, wordCount: number): number {
  return opcode | (wordCount << 8);
}

describe('a ring', () => {
  it.each([
    ['a frame without a length', [0, 0], 2],
    ['a frame longer than what is published', [frame(9, 3), 0], 2],
    ['a frame longer than the ring', [frame(9, RING_WORDS + 1)], RING_WORDS],
    ['a position beyond the ring', [frame(9, 1)], RING_WORDS + 1],
    ['a position before the beginning', [frame(9, 1)], -1],
  ])('with %s is not read', (_, words, tail) => {
    const { reader } = ringOf(words, tail);
    expect(() => reader.next()).toThrow(OUT_OF_STEP);
  });

  it.each([
    ['a message longer than its frame', 9],
    ['a message of two gigabytes', 0x7fffffff],
    ['the rest of a message longer than its frame', 9 | (1 << 31)],
  ])('with %s gives none of what is beside it', (_, length) => {
    const { reader } = ringOf([frame(REPLY.FAILED_CALL, 4), 0, length, 0x61616161, 0x62626262], 4);
    expect(reader.next()).toBe(REPLY.FAILED_CALL);
    const receiver = new PartReceiver(reader);
    const lengthAt = reader.bodyAt + 1;
    expect(() => receiver.bytes(lengthAt)).toThrow(OUT_OF_STEP);
    expect(() => receiver.decode(lengthAt, () => {})).toThrow(OUT_OF_STEP);
  });
});

describe('an owner', () => {
  it.each([
    ['a frame of no length', [0]],
    ['a text longer than its frame', [frame(REQUEST.TEXT, 4), 0, 0x7fffffff, 0x61616161]],
    ['a part longer than its frame', [frame(REQUEST.PART, 3), 0x70000000, 0]],
    ['credentials longer than their frame', [frame(REQUEST.CREDENTIALS, 4), 0, 2_000, 0]],
    [
      'a secret longer than its frame',
      [frame(REQUEST.TEXT, 3), 0, 0, frame(REQUEST.SECRET, 6), 0, 0, 0, 0, 2_000],
    ],
    ['a secret whose uid was never sent', [frame(REQUEST.SECRET, 6), 0, 0, 0, 0, 0]],
    ['an image that was never sent', [frame(REQUEST.INTENT, 2), 7]],
    ['a call that is none', [frame(REQUEST.CALL, 4), 0, 1, 5]],
    ['bytes that are no message', [frame(REQUEST.CALL, 4), 0, 1, 0xc1]],
    ['an unknown opcode', [frame(200, 4), 0, 1, 0x90]],
  ])('gives up over %s', (_, words) => {
    const { owner } = ringOf(words);
    expect(owner.hasRequests()).toBe(true);
    expect(() => owner.take([], 10)).toThrow(OUT_OF_STEP);
  });
});

describe('a host', () => {
  const READ = { op: REQUEST.READ, image: 'image', imageRef: 'ref' };
  /** Puts words into the ring of answers of the first host. */
  const answer = (state: SharedState, words: readonly number[], completed = 0): void => {
    const link = state.linkAt(0, 0);
    state.words.set(words, state.ringAt(0, 0, 1));
    state.words[link + LINK.REPLY_TAIL] = words.length;
    state.words[link + LINK.COMPLETED] = completed;
  };
  const BROKEN: [string, number[], number?][] = [
    ['a frame of no length', [0]],
    ['an answer to nothing', [frame(REPLY.MERGED, 5), 7, 0, 0, 0]],
    ['an error that is none', [frame(REPLY.FAILURE, 4), 1, 1, 0xc1]],
    ['a result that is cut off', [frame(REPLY.RESULT, 5), 1, 0, 1, 0xd9]],
    ['more answers than were asked for', [], 3],
  ];

  it.each(BROKEN)('fails what waits over %s, and stays down', async (_, words, completed) => {
    const state = smallState(RING_WORDS);
    const pair = new LinkPair(state);
    const link = pair.hosts[0]!;
    const waits = pair.push(READ);
    const calls = link.call('listPulled', []);
    link.publish();
    answer(state, words, completed);
    expect(link.failure).toBeUndefined();
    expect(link.receive()).toBe(true);
    // The first of too many answers is one.
    if (completed === undefined) await expect(waits).rejects.toEqual(OUT_OF_STEP);
    await expect(calls).rejects.toEqual(OUT_OF_STEP);
    expect(link.pending).toBe(0);
    expect(link.failure).toEqual(OUT_OF_STEP);
    // Not even what would be in order is believed, and the owner is asked for nothing more.
    answer(state, [frame(REPLY.MERGED, 5), 1, 0, 0, 0]);
    expect(link.receive()).toBe(false);
    link.publish();
    expect(pair.take().requests).toEqual([]);
  });

  it('is up again when the worker was replaced', async () => {
    const state = smallState(RING_WORDS);
    const pair = new LinkPair(state);
    const link = pair.hosts[0]!;
    const lost = pair.push(READ);
    answer(state, [0]);
    link.receive();
    await expect(lost).rejects.toEqual(OUT_OF_STEP);
    state.words[state.workerAt(0) + WORKER.GENERATION] = 2;
    expect(link.failure).toBeUndefined();
    const asked = pair.push(READ);
    link.publish();
    const owner = new OwnerLink(state, 0, 0, 2);
    expect(owner.hasRequests()).toBe(true);
    const [request] = takenFrom(owner);
    owner.answerState(request!, 0, undefined, 1, 1);
    owner.finish(request!);
    owner.flush();
    link.receive();
    await expect(asked).resolves.toMatchObject({ flags: 0, recordVersion: 1 });
  });

  it('tells its callers, not the event loop', async () => {
    const state = smallState(RING_WORDS);
    const client = new EngineClient({
      state,
      hostIndex: 0,
      maxPending: 8,
      whenFull: 'reject',
      kick: () => answer(state, [0]),
      listener: { learn() {}, merged() {} },
    });
    await expect(client.read(0, 'ref', 'image')).rejects.toEqual(OUT_OF_STEP);
    await expect(client.write(0, REQUEST.INTENT, 'image')).rejects.toEqual(OUT_OF_STEP);
    await expect(client.call(0, 'listPulled', [])).rejects.toEqual(OUT_OF_STEP);
    await client.drain();
  });
});

function takenFrom(owner: OwnerLink): OwnerRequest[] {
  const batch: OwnerRequest[] = [];
  owner.take(batch, 10);
  return batch;
}
