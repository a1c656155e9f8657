import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fifo } from '../../src/util/fifo.ts';

describe('requests that were sent', () => {
  it('are kept in their order, however many there are and wherever the ring begins', () => {
    const step = fc.record({ pushed: fc.nat(700), shifted: fc.nat(700) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const sent = new Fifo<number>();
        const model: number[] = [];
        let next = 0;
        for (const { pushed, shifted } of steps) {
          for (let i = 0; i < pushed; i++) {
            model.push(next);
            sent.push(next++);
          }
          expect(sent.count).toBe(model.length);
          for (const place of [0, model.length >> 1, model.length - 1]) {
            if (model.length > 0) expect(sent.at(place)).toBe(model[place]);
          }
          for (let i = Math.min(shifted, model.length); i > 0; i--) {
            expect(sent.shift()).toBe(model.shift());
          }
        }
        expect(sent.count).toBe(model.length);
      }),
    );
  });
});
