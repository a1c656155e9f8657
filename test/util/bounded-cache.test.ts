import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundedCache } from '../../src/util/bounded-cache.ts';

describe('a bounded cache', () => {
  it('never holds more than its bound, never a wrong value, and what was used last', () => {
    const step = fc.tuple(fc.constantFrom('get', 'set'), fc.nat(40));
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 20 }),
        fc.array(step, { maxLength: 200 }),
        (max, steps) => {
          const cache = new BoundedCache<number, string>(max);
          const model = new Map<number, string>();
          const used: number[] = [];
          for (const [i, [kind, key]] of steps.entries()) {
            if (kind === 'set') {
              cache.set(key, `${key} at ${i}`);
              model.set(key, `${key} at ${i}`);
            } else {
              const found = cache.get(key);
              if (found === undefined) {
                model.delete(key);
                continue;
              }
              expect(found).toBe(model.get(key));
            }
            used.push(key);
            expect(cache.size).toBeLessThanOrEqual(max);
          }
          const last = [...new Set(used.toReversed())].slice(0, (max >> 1) - 1);
          for (const key of last.filter((known) => model.has(known))) {
            expect(cache.get(key)).toBe(model.get(key));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('grows and shrinks with a bound that changes', () => {
    let max = 10;
    const cache = new BoundedCache<number, number>(() => max);
    let next = 0;
    const fill = (count: number): void => {
      for (let i = 0; i < count; i++) cache.set(next++, 0);
    };
    fill(1_000);
    expect(cache.size).toBeLessThanOrEqual(10);
    max = 2_002;
    fill(1_000);
    expect(cache.size).toBeGreaterThanOrEqual(1_000);
    max = 10;
    fill(1_000);
    expect(cache.size).toBeLessThanOrEqual(10);
  });
});
