/** Random choices. */
import type { Random } from '../../../src/util/random.ts';

/** One of a list that is not empty. */
export function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)]!;
}

/** Whether the event of that probability happens. */
export function happens(random: Random, probability: number): boolean {
  return random.share() < probability;
}

/** So many results of `make`, up to `max`; small counts are the usual ones. */
export function several<T>(random: Random, max: number, make: () => T): T[] {
  const count = random.below(1 + random.below(max + 1));
  return Array.from({ length: count }, make);
}

const ODD_CHARACTERS = [
  '\0',
  '\n',
  '\r',
  '\t',
  ' ',
  '"',
  '\\',
  '/',
  '\u007f',
  '\u0085',
  '\u0130',
  '\u2028',
  '\u202e',
  '\ufeff',
  '\uffff',
  '\ud800',
  '\udc00',
  '😀',
  'é',
  'ſ',
  '%',
  '`',
];

/** Names that objects have by themselves, and other texts that have been trouble. */
export const ODD_NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'length',
  'then',
  'toJSON',
  '',
  '0',
  'null',
  'undefined',
  'NaN',
  '-0',
  '1e999',
  'a'.repeat(300),
];

/** A text: letters, or anything. */
export function oddText(random: Random, max = 12): string {
  if (happens(random, 0.15)) return pick(random, ODD_NAMES);
  const parts = several(random, max, () =>
    happens(random, 0.2)
      ? pick(random, ODD_CHARACTERS)
      : String.fromCharCode(0x61 + random.below(26)),
  );
  return parts.join('');
}
