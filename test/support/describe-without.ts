/** Groups of tests that need a program, and say why they do not run without it. */
import { describe, it } from 'vitest';
import { IS_REAL_REQUIRED } from './required.ts';

/**
 * A group of tests; with a problem it is skipped and its name says why, or it fails where
 * `PULLWARDEN_REQUIRE_REAL=1`.
 */
export function describeWithout(problem: string | undefined, name: string, body: () => void): void {
  if (problem === undefined) {
    describe(name, body);
  } else if (IS_REAL_REQUIRED) {
    describe(name, () => {
      it('has the program that it needs', () => {
        throw new Error(problem);
      });
    });
  } else {
    describe.skip(`${name} (skipped: ${problem})`, body);
  }
}
