/** Assertions that depend on no test runner. */
import { AssertionError } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import { errorCode } from '../errors.ts';

/** Fails unless both are deeply equal; `what` says in words what was looked at. */
export function same(actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  // With a message of its own, so that no difference of two huge values is computed here.
  throw new AssertionError({
    message: `${what} is not what it should be`,
    actual,
    expected,
    operator: 'deepStrictEqual',
  });
}

/** Code of what a call throws or rejects with; undefined if it does neither. */
export async function codeOf(run: () => unknown): Promise<string | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}
