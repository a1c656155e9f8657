/**
 * The storage contract as tests: what every `PullRecordsAccessor` promises.
 *
 * Depends on no test runner: it is given one, and asserts with `node:assert`. Methods may answer at
 * once or with a promise, throw or reject; the suite treats both alike.
 */
import { randomInt } from 'node:crypto';
import { checkHistories } from './histories.ts';
import { type Law, Trial } from './law.ts';
import { lawsOfKeys } from './laws-of-keys.ts';
import { LAWS_OF_LIFE } from './laws-of-life.ts';
import { LAWS_OF_VALUES } from './laws-of-values.ts';
import type { AccessorSuiteOptions } from './suite-options.ts';

const HISTORY_COUNT = 50;

/**
 * Declares the tests of the contract for one kind of store, as one group of the runner.
 *
 * Each test opens a store, and disposes of it whatever happens. Laws that mean nothing for the store,
 * because it cannot be opened again or damaged, count as skipped, or as passed if the runner cannot
 * skip. A failed history names its seed: give it as `capabilities.seed` to run it again.
 */
export function accessorSuite(options: AccessorSuiteOptions): void {
  const { name, runner, open, capabilities = {} } = options;
  runner.describe(`accessor contract: ${name}`, () => {
    for (const law of [
      ...lawsOfKeys(capabilities.loneSurrogates),
      ...LAWS_OF_VALUES,
      ...LAWS_OF_LIFE,
    ]) {
      runner.it(law.name, async (...context) => {
        const store = await open();
        let lacking: string | undefined;
        try {
          lacking = await checkLaw(law, new Trial(store, capabilities));
        } finally {
          await store.dispose?.();
        }
        if (lacking !== undefined) skip(context[0], `the store lacks ${lacking}`);
      });
    }
    runner.it('agrees with a model after any history', async () => {
      const { historyCount = HISTORY_COUNT, seed = randomInt(2 ** 31) } = capabilities;
      await checkHistories(open, historyCount, seed, capabilities.timeResolutionMs);
    });
  });
}

async function checkLaw(law: Law, trial: Trial): Promise<string | undefined> {
  const lacking = law.lacks?.(trial);
  if (lacking === undefined) await law.check(trial);
  return lacking;
}

/** Tells the runner, if it can be told, that a test did not apply. */
function skip(context: unknown, reason: string): void {
  // Of vitest it is a function with methods, of others an object.
  const { skip: tell } = Object(context) as { skip?: unknown };
  if (typeof tell === 'function') tell.call(context, reason);
}
