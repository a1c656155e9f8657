import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clampStripeCount, fnv1, ownerOf, stripeOf } from '../../src/locks/stripe.ts';

/** FNV-1 32 bit from its definition, on the platform's own UTF-8 bytes. */
function fnv1ByDefinition(text: string): number {
  let hash = 0x811c9dc5n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = (hash * 0x01000193n) % 0x1_0000_0000n;
    hash ^= BigInt(byte);
  }
  return Number(hash);
}

/** Any sequence of UTF-16 units: lone surrogates included, and more often than by chance. */
const anyText = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff), fc.integer({ min: 0xd7f0, max: 0xe00f })))
  .map((units) => String.fromCharCode(...units));

describe('fnv1', () => {
  // The test suite of L. C. Noll's reference implementation (FNV-1, not FNV-1a).
  it.each([
    { text: '', hash: 0x811c9dc5 },
    { text: 'a', hash: 0x050c5d7e },
    { text: 'b', hash: 0x050c5d7d },
    { text: 'foobar', hash: 0x31f0b262 },
  ])('gives the published hash of $text', ({ text, hash }) => {
    expect(fnv1(text)).toBe(hash);
    expect(fnv1ByDefinition(text)).toBe(hash);
  });

  it.each([
    { name: 'two bytes', text: 'é' },
    { name: 'three bytes', text: '€' },
    { name: 'four bytes', text: '😀' },
    {
      name: 'the ends of every length',
      text: '\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}',
    },
    { name: 'a high surrogate at the end', text: 'a\ud83d' },
    { name: 'a high surrogate before a letter', text: '\ud83da' },
    { name: 'two high surrogates before a low one', text: '\ud83d\ud83d\ude00' },
    { name: 'a lone low surrogate', text: '\ude00a' },
    { name: 'surrogates in the wrong order', text: '\ude00\ud83d' },
  ])('hashes the UTF-8 bytes: $name', ({ text }) => {
    expect(fnv1(text)).toBe(fnv1ByDefinition(text));
  });

  it('equals the definition for any text', () => {
    fc.assert(fc.property(anyText, (text) => fnv1(text) === fnv1ByDefinition(text)));
  });
});

describe('clampStripeCount', () => {
  it.each([
    [0, 1],
    [1, 1],
    [2, 2],
    [30, 30],
    [31, 31],
    [32, 31],
    [1000, 31],
    [1e9, 31],
    [2 ** 32, 31],
    [Number.POSITIVE_INFINITY, 31],
    [-1, 1],
    [Number.NEGATIVE_INFINITY, 1],
    [1.9, 1],
  ])('gives a request for %d stripes %d', (size, count) => {
    expect(clampStripeCount(size)).toBe(count);
  });
});

describe('stripeOf', () => {
  it('is a stripe of the set, the same each time, for any key and number of stripes', () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 31 }), (key, count) => {
        const stripe = stripeOf(key, count);
        expect(stripe).toBe(fnv1ByDefinition(key) % count);
        expect(stripeOf(key, count)).toBe(stripe);
      }),
    );
  });

  it('uses every stripe', () => {
    const used = new Set(Array.from({ length: 1000 }, (_, i) => stripeOf(`image-${i}`, 31)));
    expect(used.size).toBe(31);
  });
});

describe('ownerOf', () => {
  it('spreads stripes over the workers in turn', () => {
    expect([0, 1, 2, 3, 4].map((stripe) => ownerOf(stripe, 2))).toEqual([0, 1, 0, 1, 0]);
    expect(ownerOf(30, 1)).toBe(0);
  });
});
