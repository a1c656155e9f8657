import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, PullManagerError } from '../../src/errors.ts';
import { fnv1 } from '../../src/locks/stripe.ts';
import { type DictionaryLimits, TEXTS_PER_REQUEST } from '../../src/protocol/dictionary.ts';
import { REQUEST } from '../../src/protocol/frames.ts';
import type { StateReply } from '../../src/protocol/host-link.ts';
import {
  type ImagePullCredentials,
  type ImagePullSecret,
  PulledRecord,
} from '../../src/records/record.ts';
import { normalizeCredentials } from '../../src/records/validate.ts';
import { secret } from '../support/credentials.ts';
import { type Asked, askedOf, LinkPair, smallState } from '../support/links.ts';

const RING_WORDS = 1 << 13;

function proven(...uids: string[]): ImagePullCredentials {
  return provenBy(uids.map((uid) => ({ uid })));
}

function provenBy(secrets: readonly Partial<ImagePullSecret>[]): ImagePullCredentials {
  return normalizeCredentials({ kubernetesSecrets: secrets.map((given) => secret('a', given)) })!;
}

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 30 }) },
  { weight: 1, arbitrary: fc.nat(40_000).map((length) => 'é'.padEnd(length, 'x')) },
  { weight: 1, arbitrary: fc.constantFrom('', '__proto__', '\0') },
);
/** Also such as UTF-8 cannot carry: they are kept in credentials, but not in names. */
const anyText = fc.oneof(
  { weight: 9, arbitrary: text },
  { weight: 1, arbitrary: fc.constantFrom('\ud800', 'a\udfff') },
);
const secretFields = fc.record(
  {
    uid: anyText,
    namespace: anyText,
    name: anyText,
    credentialHash: anyText,
    provenAtMs: fc.nat(),
  },
  { requiredKeys: [] },
);
const credentials = fc.oneof(
  fc.constant(null),
  fc.constant(normalizeCredentials({ nodePodsAccessible: true })!),
  fc.array(secretFields, { minLength: 1, maxLength: 3 }).map(provenBy),
);
/** Few of everything, so that numbers are given again and again. */
const TIGHT: DictionaryLimits = { texts: TEXTS_PER_REQUEST, credentials: 2 };
const limits = fc.constantFrom(TIGHT, { ...TIGHT, texts: 30 }, undefined);

const asked: fc.Arbitrary<Asked> = fc.oneof(
  fc.record({ op: fc.constantFrom(REQUEST.INTENT, REQUEST.OUTCOME), image: text }),
  fc.record({ op: fc.constant(REQUEST.READ), imageRef: text }),
  fc.record({ op: fc.constant(REQUEST.READ), imageRef: text, image: text }),
  fc
    .tuple(text, text, credentials, fc.option(text, { nil: undefined }), fc.boolean())
    .map(([imageRef, imageName, given, image, wantsState]) => ({
      op: REQUEST.PULLED,
      imageRef,
      ...(imageName === '' ? { imageName: 'x' } : { imageName }),
      ...(given === null ? {} : { credentials: given }),
      ...(image === undefined ? {} : { image }),
      ...(wantsState ? { wantsState } : {}),
    })),
);

describe('a link', () => {
  it('brings every request, whatever its size, as it was and in order', () => {
    fc.assert(
      fc.property(
        fc.array(asked, { minLength: 1, maxLength: 60 }),
        fc.nat(20),
        limits,
        (all, burst, given) => {
          const pair = new LinkPair(smallState(RING_WORDS), given);
          const arrived: Asked[] = [];
          for (const [i, one] of all.entries()) {
            void pair.push(one);
            if (i % (burst + 1) === 0) {
              pair.hosts[0]!.publish();
              arrived.push(...pair.take(0, 7).requests.map(askedOf));
            }
          }
          arrived.push(...pair.takeAll(all.length - arrived.length).map(askedOf));
          expect(arrived).toEqual(all);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('keeps the requests to several workers apart that share a dictionary', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(asked, fc.nat(1), fc.nat(3)), { minLength: 1, maxLength: 80 }),
        limits,
        (all, given) => {
          const pair = new LinkPair(smallState(RING_WORDS, 2), given);
          const arrived: Asked[][] = [[], []];
          const take = (worker: number, limit: number): void => {
            pair.hosts[worker]!.publish();
            arrived[worker]!.push(...pair.take(worker, limit).requests.map(askedOf));
          };
          for (const [one, worker, reads] of all) {
            void pair.push(one, worker);
            // Now and then one of them reads a little, so that rings fill up in the middle of messages.
            if (reads > 0) take(reads % 2, reads);
          }
          for (const worker of [0, 1]) {
            const expected = all.filter(([, to]) => to === worker).map(([one]) => one);
            const left = expected.length - arrived[worker]!.length;
            arrived[worker]!.push(...pair.takeAll(left, worker).map(askedOf));
            expect(arrived[worker]).toEqual(expected);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('gives texts the hashes of their UTF-8 bytes', () => {
    const pair = new LinkPair(smallState(RING_WORDS));
    const texts = ['', 'app', 'é', '😀', '\ud800', 'x'.repeat(20_000)];
    for (const image of texts) void pair.push({ op: REQUEST.INTENT, image });
    const arrived = pair.takeAll(texts.length).map(({ image }) => image!);
    for (const [i, key] of arrived.entries()) {
      const shown = Buffer.from(texts[i]!).toString();
      expect(key.text).toBe(shown);
      expect(key.hash).toBe(fnv1(shown) | 0);
    }
    // What is the same key is so in both hashes.
    void pair.push({ op: REQUEST.INTENT, image: '\ufffd' });
    const [again] = pair.takeAll(1);
    expect(again!.image).toEqual(arrived[4]);
  });

  it('gives numbers again when its dictionary is full', () => {
    const pair = new LinkPair(smallState(RING_WORDS));
    const count = 300_000;
    const arrived: string[] = [];
    for (let i = 0; i < count; i++) {
      // One text stays in use all the time.
      void pair.push({ op: REQUEST.READ, imageRef: `ref${i}`, image: 'app' });
      if (i % 100 !== 99) continue;
      for (const { imageRef, image } of pair.takeAll(100)) {
        if (image!.text !== 'app') throw new Error(`${image!.text} is not the image`);
        arrived.push(imageRef!.text);
      }
    }
    expect(arrived).toEqual(Array.from({ length: count }, (_, i) => `ref${i}`));
    expect(pair.dictionary.text(`ref${count - 1}`).id).toBeLessThan(2 << 17);
  });

  it('gives numbers again when its texts are long', () => {
    const pair = new LinkPair(smallState(RING_WORDS));
    const long = (i: number): string => `${i}-`.padEnd(1 << 20, 'x');
    const given = proven('u'.repeat(100_000));
    for (let i = 0; i < 40; i++) {
      const one = { op: REQUEST.PULLED, image: 'app', imageRef: long(i), imageName: 'name' };
      void pair.push({ ...one, credentials: given });
      const [arrived] = pair.takeAll(1);
      expect(askedOf(arrived!).imageRef === one.imageRef).toBe(true);
      expect(askedOf(arrived!)).toMatchObject({ image: 'app', imageName: 'name' });
      expect(arrived!.credentials).toEqual(given);
    }
  });

  it.each([
    {
      name: 'credentials',
      one: { imageRef: 'ref', imageName: 'name', credentials: proven('u'.repeat(200_000), 'v') },
    },
    {
      name: 'pooled credentials',
      one: { imageRef: 'ref', imageName: 'name', credentials: proven('u'.repeat(200_000)) },
    },
    { name: 'an image reference', one: { imageRef: 'r'.repeat(200_000), imageName: 'name' } },
    { name: 'an image name', one: { imageRef: 'ref', imageName: 'n'.repeat(200_000) } },
  ])('keeps $name whole though its dictionary starts over in the middle of it', ({ one }) => {
    const pair = new LinkPair(smallState(RING_WORDS, 2));
    const request = { op: REQUEST.PULLED, image: 'app', ...one };
    void pair.push(request);
    // The ring is full of parts; meanwhile the other link of the thread needs a new dictionary.
    pair.dictionary.startOver();
    void pair.push({ op: REQUEST.INTENT, image: 'other' }, 1);
    void pair.push({ op: REQUEST.INTENT, image: 'later' });
    const [first, second] = pair.takeAll(2);
    expect(askedOf(first!)).toEqual(request);
    expect(askedOf(second!)).toEqual({ op: REQUEST.INTENT, image: 'later' });
    expect(pair.takeAll(1, 1).map(askedOf)).toEqual([{ op: REQUEST.INTENT, image: 'other' }]);
  });

  it('sends long messages to several workers at once, though they share one number', () => {
    const pair = new LinkPair(smallState(RING_WORDS, 2));
    const requests = [0, 1].map((worker) => ({
      op: REQUEST.PULLED,
      imageRef: `${worker}`.padEnd(200_000, 'r'),
      imageName: 'name',
      credentials: proven(`${worker}`.padEnd(200_000, 'u')),
    }));
    for (const [worker, request] of requests.entries()) void pair.push(request, worker);
    const arrived: Asked[][] = [[], []];
    // In turns: neither must make the other begin again.
    for (let turn = 0; turn < 200; turn++) {
      const worker = turn % 2;
      pair.hosts[worker]!.publish();
      arrived[worker]!.push(...pair.take(worker).requests.map(askedOf));
    }
    expect(arrived).toEqual(requests.map((request) => [request]));
  });

  it('keeps a long request whole that overtakes a call for which there was no room', async () => {
    const pair = new LinkPair(smallState(1 << 10));
    const [host] = pair.hosts;
    const room = (): number => pair.room(0);
    const intents: Promise<unknown>[] = [];
    while (room() > 100) {
      intents.push(pair.push({ op: REQUEST.INTENT, image: 'app' }));
      host!.publish();
    }
    const args = [Array.from({ length: 100 }, (_, i) => `sha256:${i}`), 7];
    const call = host!.call('prune', args).catch((error: unknown) => error);
    host!.publish();
    const taken = pair.take(0).requests.length;
    expect(taken).toBe(intents.length);
    const request = {
      op: REQUEST.PULLED,
      imageRef: 'ref',
      imageName: 'name',
      credentials: proven(...Array.from({ length: 100 }, (_, i) => `uid-${i}`.padEnd(64, 'u'))),
    };
    void pair.push(request);
    const arrived: Asked[] = [];
    const calls: unknown[] = [];
    for (let turn = 0; turn < 200; turn++) {
      host!.publish();
      const { requests, call: one } = pair.take(0);
      arrived.push(...requests.map(askedOf));
      if (one !== undefined) {
        calls.push([one.method, ...one.args]);
        pair.owners[0]!.answerCall(one, 'done', false);
      }
    }
    pair.owners[0]!.flush();
    host!.receive();
    expect(arrived).toEqual([request]);
    expect(calls).toEqual([['prune', ...args]]);
    expect(await call).toEqual(['done']);
  });

  it('keeps a long message whole though its own entry fills the dictionary', () => {
    for (let before = 0; before <= 8; before++) {
      const pair = new LinkPair(smallState(RING_WORDS), TIGHT);
      for (let i = 0; i < before; i++) pair.dictionary.text(`text${i}`);
      const request = {
        op: REQUEST.PULLED,
        image: 'app',
        imageRef: 'ref',
        imageName: 'name',
        credentials: proven('u'.repeat(100_000), 'v'),
      };
      void pair.push(request);
      expect(pair.takeAll(1).map(askedOf)).toEqual([request]);
    }
  });

  it('answers writes in order, with errors and states of any size between', async () => {
    const pair = new LinkPair(smallState(RING_WORDS));
    const count = 500;
    const answers: Promise<unknown>[] = [];
    const record = new PulledRecord('ref', 5, [
      { imageName: 'app', credentials: proven('u'.repeat(50_000)) },
    ]);
    const writesSettled: number[] = [];
    const readsSettled = new Set<number>();
    for (let i = 0; i < count; i++) {
      const op = i % 3 === 0 ? REQUEST.READ : REQUEST.INTENT;
      const answer = pair.push({
        op,
        image: `app${i}`,
        ...(op === REQUEST.READ ? { imageRef: 'ref' } : {}),
      });
      // Reads may overtake writes, never the other way round, and writes keep their order.
      const noteOrder = (): void => {
        if (op === REQUEST.READ) readsSettled.add(i);
        else writesSettled.push(i);
      };
      answer.then(noteOrder, noteOrder);
      answers.push(answer);
    }
    const owner = pair.owners[0]!;
    let done = 0;
    for (let turns = 0; pair.hosts[0]!.pending > 0 && turns < 100_000; turns++) {
      pair.hosts[0]!.publish();
      for (const request of pair.take(0, 50).requests) {
        const i = done++;
        if (i % 3 === 0) {
          owner.answerState(request, 4, i % 2 === 0 ? record : undefined, i, i + 1);
          owner.finish(request);
        } else if (i % 7 === 0) {
          owner.fail(request, new PullManagerError('STORE_UNAVAILABLE', 'x'.repeat(i)));
        } else owner.finish(request);
      }
      owner.flush();
      pair.hosts[0]!.receive();
    }
    const outcomes = await Promise.allSettled(answers);
    const writes = Array.from({ length: count }, (_, i) => i).filter((i) => i % 3 !== 0);
    expect(writesSettled).toEqual(writes);
    expect(readsSettled.size).toBe(count - writes.length);
    for (const [i, outcome] of outcomes.entries()) {
      if (i % 3 === 0) {
        const reply = (outcome as PromiseFulfilledResult<StateReply>).value;
        expect([reply.recordVersion, reply.intentVersion]).toEqual([i, i + 1]);
        expect(reply.record?.toPlain()).toEqual(i % 2 === 0 ? record.toPlain() : undefined);
      } else if (i % 7 === 0) {
        const { reason } = outcome as PromiseRejectedResult;
        expect(errorCode(reason)).toBe('ERR_PULLMANAGER_STORE_UNAVAILABLE');
        expect((reason as Error).message).toBe('x'.repeat(i));
      } else expect(outcome.status).toBe('fulfilled');
    }
  });

  it('says what was merged, at any time that a record can have', async () => {
    const pair = new LinkPair(smallState(RING_WORDS));
    const times = [
      0,
      1,
      -1,
      2 ** 32 - 1,
      2 ** 32,
      -(2 ** 32),
      1_790_000_000_123,
      8.64e15,
      -8.64e15,
    ];
    const answers = times.map((_, i) =>
      pair.push({ op: REQUEST.PULLED, imageRef: `ref${i}`, imageName: 'app', wantsState: true }),
    );
    for (const [i, request] of pair.takeAll(times.length).entries()) {
      pair.owners[0]!.answerMerged(request, -i, times[i]!);
      pair.owners[0]!.finish(request);
    }
    pair.owners[0]!.flush();
    pair.hosts[0]!.receive();
    await Promise.all(answers);
    expect(pair.merged).toEqual(
      times.map((updatedAtMs, i) => ({ imageRef: `ref${i}`, before: -i | 0, updatedAtMs })),
    );
  });

  it('answers calls piece by piece while requests go on', async () => {
    const pair = new LinkPair(smallState(RING_WORDS));
    const [host] = pair.hosts;
    const [owner] = pair.owners;
    const bigArgument = Array.from({ length: 5000 }, (_, i) => `sha256:${i}`);
    const values = host!.call('prune', [bigArgument, 7]);
    const intents = Array.from({ length: 50 }, (_, i) =>
      pair.push({ op: REQUEST.INTENT, image: `app${i}` }),
    );
    const failing = host!.call('listIntents', []);
    let pieces = 0;
    for (let turns = 0; host!.pending > 0 && turns < 100_000; turns++) {
      host!.publish();
      const { requests, call } = pair.take();
      for (const request of requests) owner!.finish(request);
      if (call?.method === 'prune') {
        expect(call.args).toEqual([bigArgument, 7]);
        for (; pieces < 20; pieces++)
          owner!.answerCall(call, [pieces, 'y'.repeat(9000)], pieces < 19);
      } else if (call !== undefined) owner!.failCall(call, new Error('no list'));
      owner!.flush();
      host!.receive();
    }
    await Promise.all(intents);
    const answer = (await values) as [number, string][];
    expect(answer.map(([piece]) => piece)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    await expect(failing).rejects.toThrow('no list');
  });

  it('fails everything that waits when its worker is replaced, and works with the next', async () => {
    const state = smallState(RING_WORDS);
    const pair = new LinkPair(state);
    const [host] = pair.hosts;
    const before = pair.push({ op: REQUEST.INTENT, image: 'app' });
    host!.publish();
    pair.owners[0]!.finish(pair.take().requests[0]!);
    pair.owners[0]!.flush();
    host!.receive();
    await before;
    const waiting = [
      pair.push({ op: REQUEST.INTENT, image: 'app' }),
      pair.push({ op: REQUEST.PULLED, imageRef: 'r'.repeat(100_000), imageName: 'n' }),
      pair.push({ op: REQUEST.INTENT, image: 'queued' }),
      host!.call('listIntents', []),
    ].map((promise) => promise.catch(errorCode));
    host!.publish();
    state.words[state.workerAt(0)] = 2;
    host!.receive();
    const lost = 'ERR_PULLMANAGER_WORKER_LOST';
    expect(await Promise.all(waiting)).toEqual([lost, lost, lost, lost]);
    const { OwnerLink } = await import('../../src/protocol/owner-link.ts');
    pair.owners[0] = new OwnerLink(state, 0, 0, 2);
    const after = {
      op: REQUEST.PULLED,
      image: 'app',
      imageRef: 'ref',
      imageName: 'n',
      credentials: proven('u'),
    };
    void pair.push(after);
    expect(pair.takeAll(1).map(askedOf)).toEqual([after]);
  });
});
