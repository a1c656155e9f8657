/** What the conformance suite is told of a store, and what it needs of the one who runs it. */
import type { PullRecordsAccessor } from '../accessors/accessor.ts';

/** A store opened for one test. */
export interface StoreUnderTest {
  readonly accessor: PullRecordsAccessor;
  /** Closes the accessor and opens the same store again. Absent: the store keeps nothing. */
  readonly reopen?: () => Promise<PullRecordsAccessor>;
  /** Damages what is stored for the record, behind the accessor's back. */
  readonly corruptPulled?: (imageRef: string) => Promise<void>;
  /** Damages what is stored for the intent, behind the accessor's back. */
  readonly corruptIntent?: (image: string) => Promise<void>;
  /** Frees what the store takes. Called after each test, with the accessor open or closed. */
  readonly dispose?: () => Promise<void>;
}

/** What a store can do beyond the contract, or cannot do although it would be good to have. */
export interface AccessorCapabilities {
  /**
   * Texts with lone surrogates, which UTF-8 cannot carry: `distinct` from all others, or `replaced`,
   * that is, the same key as the text with U+FFFD in their place. @default either
   */
  readonly loneSurrogates?: 'distinct' | 'replaced';
  /** Commits may be begun before the last one has ended, and take effect in call order. */
  readonly overlappingCommits?: boolean;
  /** Records may be given in the engine's own form too, which stores of one's own never are. */
  readonly compactRecords?: boolean;
  /** Times of records are kept in steps of so many milliseconds, rounded down. @default 1 */
  readonly timeResolutionMs?: number;
  /** The latest time that is kept. @default 8.64e15, the end of `Date` */
  readonly timeMsMax?: number;
  /** Histories tried against a model. @default 50 */
  readonly historyCount?: number;
  /** Seed of the histories, to run those of a failed test again; another one each time, if it is absent. */
  readonly seed?: number;
  /** What precedes `RECORD_CORRUPT` and `CLOSED` in the codes of errors; anything, if it is absent. */
  readonly errorPrefix?: string;
}

/**
 * Runs one test. Gets what the runner gives its tests, which is used only to say that a test does
 * not apply: a first argument with a method `skip`, where there is one.
 */
export type TestBody = (...context: unknown[]) => Promise<void>;

/** The functions of a test runner: those of `node:test`, vitest, and others do. */
export interface TestRunner {
  readonly describe: (name: string, declare: () => void) => unknown;
  readonly it: (name: string, run: TestBody) => unknown;
}

/** What `accessorSuite` is given. */
export interface AccessorSuiteOptions {
  /** Names the store in the names of the tests. */
  readonly name: string;
  readonly runner: TestRunner;
  /** Opens a new, empty store. Called for each test, and for each history of one. */
  readonly open: () => Promise<StoreUnderTest>;
  readonly capabilities?: AccessorCapabilities;
}
