import { describe, expect, it } from 'vitest';
import { Register, SEEN, type Write } from '../../src/storm/register.ts';

const NEVER = Number.POSITIVE_INFINITY;

function register(
  ...writes: [start: number, end: number, value: number, isMaybe?: boolean][]
): Register {
  const made = new Register();
  for (const [start, end, value, isMaybe = false] of writes) {
    const write: Write = { start, end, value, isMaybe };
    made.add(write);
  }
  return made;
}

const { VALUE, OTHER, ABSENT } = SEEN;

describe('Register', () => {
  it.each<{ name: string; of: Register; since: number; seen: number }>([
    { name: 'nothing written', of: register(), since: 5, seen: ABSENT },
    { name: 'one write that ended before', of: register([1, 2, 7]), since: 2, seen: VALUE },
    { name: 'one write under way', of: register([1, NEVER, 7]), since: 2, seen: ABSENT | VALUE },
    {
      name: 'a write that ended during the read',
      of: register([1, 3, 7]),
      since: 2,
      seen: ABSENT | VALUE,
    },
    { name: 'two in order', of: register([1, 2, 8], [3, 4, 7]), since: 4, seen: VALUE },
    {
      name: 'two that overlapped',
      of: register([1, 3, 8], [2, 4, 7]),
      since: 4,
      seen: VALUE | OTHER,
    },
    { name: 'a removal after it', of: register([1, 2, 7], [3, 4, 0]), since: 4, seen: ABSENT },
    {
      name: 'a removal that perhaps was none',
      of: register([1, 2, 7], [3, 4, 0, true]),
      since: 4,
      seen: VALUE | ABSENT,
    },
    {
      name: 'a sure write after an unsure one',
      of: register([1, 2, 8, true], [3, 4, 7]),
      since: 4,
      seen: VALUE,
    },
    {
      name: 'three, of which the first ended before the last began',
      of: register([1, 3, 8], [2, 6, 9], [4, 5, 7]),
      since: 6,
      seen: VALUE | OTHER,
    },
  ])('$name', ({ of, since, seen }) => {
    expect(of.possible(7, since)).toBe(seen);
  });

  it('settles when one value is left, and not before', () => {
    const of = register([1, 2, 7], [3, 6, 8]);
    expect(of.settle(2)).toBe(false);
    expect(of.possible(7, 2)).toBe(VALUE | OTHER);
    expect(of.settle(6)).toBe(true);
    expect(of.value).toBe(8);
    expect(of.possible(7, 2)).toBe(OTHER);
  });

  it('does not settle while a write is under way, even one of the same value', () => {
    const of = register([1, 2, 7], [3, NEVER, 7]);
    expect(of.settle(3)).toBe(false);
    expect(of.possible(7, 3)).toBe(VALUE);
  });

  it('takes back a write that did not happen', () => {
    const of = register();
    const write: Write = { start: 1, end: NEVER, value: 7, isMaybe: true };
    of.add(write);
    of.remove(write);
    expect(of.settle(1)).toBe(true);
    expect(of.value).toBe(0);
  });
});
