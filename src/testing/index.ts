/**
 * `pullwarden/testing`: the tests that a store of one's own has to pass.
 *
 * ```js
 * import { describe, it } from 'node:test'; // or vitest, or any other runner with these two
 * import { accessorSuite } from 'pullwarden/testing';
 * import openStore from './my-store.js';
 *
 * accessorSuite({
 *   name: 'my store',
 *   runner: { describe, it },
 *   open: async () => ({ accessor: await openStore({ path: newDirectory() }) }),
 * });
 * ```
 *
 * @module
 */
export { accessorSuite } from './accessor-suite.ts';
export type {
  AccessorCapabilities,
  AccessorSuiteOptions,
  StoreUnderTest,
  TestBody,
  TestRunner,
} from './suite-options.ts';
