import { describe, expect, it, vi } from 'vitest';
import { InFlightTable } from '../../src/engine/in-flight-table.ts';
import { fnv1 } from '../../src/locks/stripe.ts';
import type { Key } from '../../src/protocol/key.ts';

function key(text: string): Key {
  return { text, hash: fnv1(text) | 0, check: fnv1(`!${text}`) | 0 };
}

/** Deterministic numbers below `limit`. */
function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % limit;
  };
}

describe('counts of pulls in flight', () => {
  it('are what was set last, for any number of images one after the other', () => {
    const table = new InFlightTable(InFlightTable.allocate(1), 0);
    const model = new Map<string, number>();
    const next = randomOf(1);
    for (let i = 0; i < 400_000; i++) {
      // Images come and go: the table is rebuilt several times.
      const text = `registry.io/app${Math.floor(i / 10) + next(2000)}`;
      const count = next(3) === 0 ? 1 + next(1000) : 0;
      table.set(key(text), count);
      if (count === 0) model.delete(text);
      else model.set(text, count);
      if (model.size > 20_000) {
        for (const other of [...model.keys()].slice(0, 10_000)) {
          table.set(key(other), 0);
          model.delete(other);
        }
      }
    }
    for (const [text, count] of model) expect(table.get(key(text))).toBe(count);
    for (let i = 0; i < 1000; i++) expect(table.get(key(`never${i}`))).toBe(0);
    expect(table.isComplete).toBe(true);
  });

  it('are found by the next owner of the table', () => {
    const buffer = InFlightTable.allocate(3);
    const table = new InFlightTable(buffer, 1);
    for (let i = 0; i < 10_000; i++) table.set(key(`app${i}`), i % 5);
    const next = new InFlightTable(buffer, 1);
    expect(next.isComplete).toBe(true);
    for (let i = 0; i < 10_000; i++) expect(next.get(key(`app${i}`))).toBe(i % 5);
    for (const other of [0, 2]) {
      expect(new InFlightTable(buffer, other).get(key('app4'))).toBe(0);
    }
  });

  it('are right beyond the size of the table, which says that it does not have them all', () => {
    const buffer = InFlightTable.allocate(1);
    const table = new InFlightTable(buffer, 0);
    const count = 400_000;
    for (let i = 0; i < count; i++) table.set(key(`app${i}`), 1 + (i % 3));
    for (let i = 0; i < count; i++) {
      if (table.get(key(`app${i}`)) !== 1 + (i % 3)) throw new Error(`app${i} has another count`);
    }
    const next = new InFlightTable(buffer, 0);
    expect(next.isComplete).toBe(false);
    let known = 0;
    for (let i = 0; i < count; i++) {
      const found = next.get(key(`app${i}`));
      if (found === 1 + (i % 3)) known++;
      else if (found !== 0) throw new Error(`app${i} has another count`);
    }
    expect(known).toBeGreaterThan(count / 2);
    // All pulls end.
    for (let i = 0; i < count; i++) table.set(key(`app${i}`), 0);
    for (let i = 0; i < count; i += 97) expect(table.get(key(`app${i}`))).toBe(0);
  });

  it('grow with the pulls, and none is lost of as many as there may be', () => {
    const buffer = InFlightTable.allocate(1);
    const table = new InFlightTable(buffer, 0);
    const count = 250_000;
    for (let i = 0; i < count; i++) table.set(key(`app${i}`), 1 + (i % 3));
    const next = new InFlightTable(buffer, 0);
    expect(next.isComplete).toBe(true);
    for (let i = 0; i < count; i++) {
      if (next.get(key(`app${i}`)) !== 1 + (i % 3)) throw new Error(`app${i} has another count`);
    }
    // And are few again: it goes on in a small half.
    for (let i = 0; i < count; i++) next.set(key(`app${i}`), 0);
    for (let i = 0; i < 2 * count; i++) {
      next.set(key(`other${i}`), 2);
      if (i >= 100) next.set(key(`other${i - 100}`), 0);
    }
    for (let i = 0; i < count; i += 97) expect(next.get(key(`app${i}`))).toBe(0);
    for (let i = 2 * count - 100; i < 2 * count; i++) expect(next.get(key(`other${i}`))).toBe(2);
  });

  it.each([
    ['before', false],
    ['after', true],
  ])('are what they were where the owner dies %s the other half takes over', (_, takesOver) => {
    const buffer = InFlightTable.allocate(1);
    const table = new InFlightTable(buffer, 0);
    const died = new Error('died');
    const realStore = Atomics.store;
    const store = vi.spyOn(Atomics, 'store').mockImplementation((...stored) => {
      if (takesOver) realStore(...stored);
      throw died;
    });
    const set: number[] = [];
    try {
      expect(() => {
        for (let i = 0; i < 1e6; i++) {
          table.set(key(`app${i}`), 1 + (i % 3));
          if (i % 2 === 0) table.set(key(`app${i}`), 0);
          set[i] = i % 2 === 0 ? 0 : 1 + (i % 3);
        }
      }).toThrow(died);
    } finally {
      store.mockRestore();
    }
    const next = new InFlightTable(buffer, 0);
    expect(next.isComplete).toBe(true);
    expect(set.length).toBeGreaterThan(1000);
    for (const [i, count] of set.entries()) expect(next.get(key(`app${i}`))).toBe(count);
    // And it can be moved now.
    for (let i = 0; i < 10_000; i++) next.set(key(`later${i}`), 1);
    for (const [i, count] of set.entries()) expect(next.get(key(`app${i}`))).toBe(count);
  });

  it('of one hash are told apart by the other', () => {
    const table = new InFlightTable(InFlightTable.allocate(1), 0);
    for (let check = 0; check < 100; check++)
      table.set({ text: `${check}`, hash: 7, check }, check);
    for (let check = 0; check < 100; check++) {
      expect(table.get({ text: `${check}`, hash: 7, check })).toBe(check);
    }
    for (let check = 0; check < 100; check += 2) {
      table.set({ text: `${check}`, hash: 7, check }, 0);
    }
    for (let check = 0; check < 100; check++) {
      expect(table.get({ text: `${check}`, hash: 7, check })).toBe(check % 2 === 0 ? 0 : check);
    }
  });
});
