import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { inLanes } from './lanes.ts';

it('does so many things at a time, and gives the results in order', async () => {
  let running = 0;
  let most = 0;
  const results = await inLanes(2, [3, 1, 2, 0], async (turns, index) => {
    most = Math.max(most, ++running);
    for (let i = 0; i <= turns; i++) await turn();
    running--;
    return `${index}: ${turns}`;
  });
  expect(results).toEqual(['0: 3', '1: 1', '2: 2', '3: 0']);
  expect(most).toBe(2);
});
