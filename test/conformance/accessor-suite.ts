/** The published conformance suite under vitest, with the exact error codes of the project. */
import { describe, it } from 'vitest';
import { accessorSuite as publishedSuite } from '../../src/testing/accessor-suite.ts';
import type { AccessorCapabilities, StoreUnderTest } from '../../src/testing/suite-options.ts';

export { codeOf } from '../../src/testing/expect.ts';
export { comparable, comparableList, record, secrets } from '../../src/testing/samples.ts';
export type { AccessorCapabilities, StoreUnderTest };

export interface AccessorSuiteOptions {
  readonly name: string;
  /** Opens a new, empty store. */
  readonly open: () => Promise<StoreUnderTest>;
  readonly capabilities?: AccessorCapabilities;
}

/** Declares the contract's tests for one kind of store. */
export function accessorSuite(options: AccessorSuiteOptions): void {
  const capabilities = {
    errorPrefix: 'ERR_PULLMANAGER_',
    loneSurrogates: 'distinct' as const,
    compactRecords: true,
    ...options.capabilities,
  };
  publishedSuite({ ...options, capabilities, runner: { describe, it } });
}
