import { describe, expect, it } from 'vitest';
import { noCounts, tooOpen } from './counts.ts';

describe('tooOpen', () => {
  it.each([
    { explained: 0, undecided: 0 },
    { explained: 5, undecided: 2 },
    { explained: 9_900, undecided: 100 },
  ])('lets pass $undecided undecided beside $explained explained', (counts) => {
    expect(tooOpen({ ...noCounts(), ...counts })).toBeUndefined();
  });

  it.each([
    { explained: 0, undecided: 3 },
    { explained: 9_899, undecided: 101 },
  ])('does not let pass $undecided undecided beside $explained explained', (counts) => {
    expect(tooOpen({ ...noCounts(), ...counts })).toContain(`${counts.undecided} of`);
  });
});
