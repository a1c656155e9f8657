import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PartReceiver, PartSender } from '../../src/protocol/parts.ts';
import { RingReader, RingWriter, wordsFor } from '../../src/protocol/ring.ts';
import { LINK } from '../../src/protocol/shared-state.ts';
import { smallState } from '../support/links.ts';

const RING_WORDS = 64;
const FRAME = 9;

function ring(ringWords = RING_WORDS): { writer: RingWriter; reader: RingReader } {
  const state = smallState(ringWords);
  const at = state.linkAt(0, 0);
  const place = {
    state,
    at: state.ringAt(0, 0, 0),
    tailAt: at + LINK.REQUEST_TAIL,
    headAt: at + LINK.REQUEST_HEAD,
  };
  return { writer: new RingWriter(place), reader: new RingReader(place) };
}

type Step = { do: 'write'; words: number } | { do: 'publish' } | { do: 'read' } | { do: 'release' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.integer({ min: 1, max: 16 }).map((words) => ({ do: 'write', words })),
  },
  { weight: 3, arbitrary: fc.constant({ do: 'publish' }) },
  { weight: 5, arbitrary: fc.constant({ do: 'read' }) },
  { weight: 2, arbitrary: fc.constant({ do: 'release' }) },
) as fc.Arbitrary<Step>;

describe('a ring', () => {
  it('hands over what was published, once, in order and unchanged, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const { writer, reader } = ring();
        const written: number[][] = [];
        let published = 0;
        let read = 0;
        let value = 1;
        for (const one of steps) {
          if (one.do === 'publish') {
            writer.publish();
            published = written.length;
          } else if (one.do === 'release') reader.release();
          else if (one.do === 'write') {
            const at = writer.begin(FRAME, one.words);
            if (at < 0) continue;
            const body = Array.from({ length: one.words - 1 }, () => value++);
            for (const [i, word] of body.entries()) writer.words[at + i] = word;
            written.push(body);
          } else {
            const opcode = reader.next();
            expect(opcode).toBe(read < published ? FRAME : -1);
            if (opcode === -1) continue;
            const { bodyAt } = reader;
            const body = written[read++]!;
            expect([...reader.words.subarray(bodyAt, bodyAt + body.length)]).toEqual(body);
          }
        }
        expect(writer.hasUnpublished).toBe(published < written.length);
      }),
      { numRuns: 500 },
    );
  });

  it('has room for two of the largest frames, wherever they begin', () => {
    for (let offset = 0; offset < RING_WORDS; offset++) {
      const { writer, reader } = ring();
      for (let i = 0; i < offset; i++) {
        expect(writer.begin(FRAME, 1)).toBeGreaterThan(0);
        writer.publish();
        reader.next();
        reader.release();
      }
      for (let frame = 0; frame < 2; frame++) {
        expect(writer.begin(FRAME, writer.frameWordsMax)).toBeGreaterThan(0);
      }
    }
  });

  it('refuses what it has no room for until the reader releases it', () => {
    const { writer, reader } = ring();
    let frames = 0;
    while (writer.begin(FRAME, 8) >= 0) frames++;
    expect(frames).toBe(RING_WORDS / 8);
    writer.publish();
    for (let i = 0; i < frames; i++) expect(reader.next()).toBe(FRAME);
    expect(writer.begin(FRAME, 1)).toBe(-1);
    reader.release();
    expect(writer.begin(FRAME, 1)).toBeGreaterThan(0);
  });

  it('goes round many times', () => {
    const { writer, reader } = ring();
    for (let i = 0; i < 100_000; i++) {
      const at = writer.begin(FRAME, 2 + (i % 13));
      writer.words[at] = i;
      writer.publish();
      expect(reader.next()).toBe(FRAME);
      if (reader.words[reader.bodyAt] !== i) throw new Error(`frame ${i} is another`);
      reader.release();
    }
  });
});

describe('messages in parts', () => {
  it('arrive whole, whatever their sizes and the state of the ring', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 2000 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        (messages, readsEach) => {
          const { writer, reader } = ring(256);
          const sender = new PartSender(writer);
          const receiver = new PartReceiver(reader);
          const arrived: Uint8Array[] = [];
          const readSome = (): void => {
            writer.publish();
            for (let i = 0; i < readsEach; i++) {
              const opcode = reader.next();
              if (opcode === 2) receiver.part();
              if (opcode !== FRAME) continue;
              expect(reader.words[reader.bodyAt]).toBe(arrived.length);
              arrived.push(receiver.bytes(reader.bodyAt + 1));
            }
            reader.release();
          };
          for (const [i, message] of messages.entries()) {
            while (!sender.send(FRAME, [i], message)) readSome();
            expect(sender.isUnderway).toBe(false);
          }
          while (arrived.length < messages.length) readSome();
          expect(arrived.map((bytes) => [...bytes])).toEqual(messages.map((bytes) => [...bytes]));
        },
      ),
      { numRuns: 200 },
    );
  });

  it.each([0, 1, 2, 3, 4, 5])('%d bytes take so many words', (bytes) => {
    expect(wordsFor(bytes)).toBe(Math.ceil(bytes / 4));
  });
});
