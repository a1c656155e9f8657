/** What the tests of the contract are made of. */
import type { PullRecordsAccessor } from '../accessors/accessor.ts';
import { same } from './expect.ts';
import { comparable, comparableList } from './samples.ts';
import type { AccessorCapabilities, StoreUnderTest } from './suite-options.ts';

/** One promise of the contract, as a test on a store of its own. */
export interface Law {
  readonly name: string;
  /** What the store lacks for the law to mean anything; undefined if it lacks nothing. */
  readonly lacks?: (trial: Trial) => string | undefined;
  readonly check: (trial: Trial) => Promise<void>;
}

/** A new store in the hands of one law. */
export class Trial {
  readonly store: StoreUnderTest;
  readonly capabilities: AccessorCapabilities;
  /** The accessor as it is open now. */
  accessor: PullRecordsAccessor;

  constructor(store: StoreUnderTest, capabilities: AccessorCapabilities) {
    this.store = store;
    this.capabilities = capabilities;
    this.accessor = store.accessor;
  }

  /** Every intent listed, sorted; fails if the listing has errors. */
  async intents(): Promise<string[]> {
    const listing = await this.accessor.listImagePullIntents();
    same(listing.errors, [], 'the errors of the listing of intents');
    return listing.records.map(({ image }) => image).sort();
  }

  /** Every record listed, in comparable form; fails if the listing has errors. */
  async pulled(): Promise<unknown[]> {
    const listing = await this.accessor.listImagePulledRecords();
    same(listing.errors, [], 'the errors of the listing of records');
    return comparableList(listing.records, this.capabilities.timeResolutionMs);
  }

  async expectIntents(expected: readonly string[]): Promise<void> {
    same(await this.intents(), [...expected].sort(), 'the listing of intents');
  }

  async expectPulled(expected: Parameters<typeof comparableList>[0]): Promise<void> {
    const { timeResolutionMs } = this.capabilities;
    same(await this.pulled(), comparableList(expected, timeResolutionMs), 'the listing of records');
  }

  async expectIntent(image: string, expected: boolean): Promise<void> {
    const what = `the intent of ${shortened(image)}`;
    same(await this.accessor.imagePullIntentExists(image), expected, what);
  }

  async expectRecord(imageRef: string, expected: Parameters<typeof comparable>[0]): Promise<void> {
    const found = await this.accessor.getImagePulledRecord(imageRef);
    const { timeResolutionMs } = this.capabilities;
    const what = `the record of ${shortened(imageRef)}`;
    same(comparable(found, timeResolutionMs), comparable(expected, timeResolutionMs), what);
    if (expected === undefined) same(found, undefined, what);
  }

  /** Fails unless it is this one code, after what the store puts before it. */
  expectCodes(
    codes: readonly (string | undefined)[],
    code: 'RECORD_CORRUPT' | 'CLOSED',
    what: string,
  ): void {
    const { errorPrefix } = this.capabilities;
    const shown = codes.map((found) => {
      if (errorPrefix !== undefined) return found;
      return found?.endsWith(code) === true ? code : found;
    });
    same(shown, [`${errorPrefix ?? ''}${code}`], `the code of the failure of ${what}`);
  }
}

function shortened(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
