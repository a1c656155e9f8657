/** Stores looked through piece by piece: what is valid, what is not, and what is put aside. */
import { damageOf, type Finding, type Inspectable } from '../accessors/inspection.ts';
import { invalidArgument } from '../errors.ts';
import { withInspectable } from './open-store.ts';
import type { StoreChoice } from './store-choice.ts';

/** Entries by what was found of them. */
export type VerdictCounts = Readonly<Record<Exclude<Finding['verdict'], 'remark'>, number>>;

/** How a store was found. */
export interface VerifyResult {
  /** As it was found. */
  readonly counts: VerdictCounts;
  /** As it is now: without what was put into quarantine. */
  readonly left: VerdictCounts;
  /** Entries that were taken out of the store. */
  readonly quarantined: number;
  /** What is unusual, but neither wrong nor lost, in sentences. */
  readonly remarks: readonly string[];
  /** Whether nothing that is wrong is left in the store. */
  readonly passed: boolean;
  /**
   * What it means for the images, in sentences, that entries were put into quarantine, or would be
   * where `isRefused`; absent where no image is concerned.
   */
  readonly consequence?: string;
  /** Whether nothing was repaired because `acceptsPreloaded` is missing. */
  readonly isRefused: boolean;
}

export interface VerifyOptions {
  /** Whether bad entries are put into quarantine. */
  readonly repairs: boolean;
  /** Whether it is known and wanted that images whose entries are put aside then look preloaded. */
  readonly acceptsPreloaded: boolean;
  /** Told of each thing but remarks, good or bad, in the order of the store. */
  readonly onFinding: (finding: Finding) => Promise<void> | void;
  readonly signal: AbortSignal;
}

/**
 * Looks through a store. One that cannot be opened because it is damaged is itself the finding.
 *
 * @throws `INVALID_ARGUMENT` where `repairs` is asked of a store that keeps no entries apart;
 * `STORE_UNAVAILABLE`, `STORE_IN_USE`, `STORE_VERSION_UNSUPPORTED`; the signal's reason.
 */
export async function verifyStore(
  choice: StoreChoice,
  options: VerifyOptions,
): Promise<VerifyResult> {
  if (options.repairs) checkRepairable(choice);
  const tally = new Tally(options.onFinding);
  try {
    // Found out by reading only: a refused repair must not have changed what opening changes.
    if (options.repairs && !options.acceptsPreloaded && (await hasImagesToOpen(choice, options))) {
      tally.refuse();
    }
    const repairs = options.repairs && !tally.isRefused;
    await withInspectable(choice, repairs, (store) =>
      lookThrough(store, { ...options, repairs }, tally),
    );
  } catch (error) {
    await tally.add(damageOf(error, choice.label));
  }
  return tally.result();
}

/** What is unread is healthy, and needed by the kubelet that wrote it. */
const REPAIRABLE: ReadonlySet<Finding['verdict']> = new Set(['undecodable', 'misfiled', 'orphan']);

/** Whether an image is kept shut by the entry: where a lookup finds damage, the image must be pulled. */
function opensImage({ verdict }: Finding): boolean {
  return verdict === 'undecodable' || verdict === 'misfiled';
}

const CONSEQUENCE =
  'After this the image looks preloaded: under the default policy every pod may use it. Remove the ' +
  'image from the node first, or run with AlwaysVerify until it was pulled again. Of a misfiled entry ' +
  'it is the image whose key has the hash that the entry is filed under, and in the directory of a ' +
  'kubelet also the one that is named';

/** Before anything is opened, and whether or not there is anything to repair. */
function checkRepairable({ options }: StoreChoice): void {
  const kind = 'kind' in options ? options.kind : 'module';
  if (kind === 'journal') {
    const problem =
      'cannot repair a journal: its entries are bound to one another in files, and taking one out ' +
      'would hide what was acknowledged. Restore the files from a copy. In a journal that is begun ' +
      'anew every image looks preloaded, and the default policy lets every pod use it: begin anew ' +
      'only when the images are removed from the node, or with AlwaysVerify';
    throw invalidArgument('--repair', problem);
  }
  if (kind === 'module') {
    throw invalidArgument('--repair', 'cannot repair the store of a module: only it knows how');
  }
}

/** Whether a repair would make images look preloaded. */
function hasImagesToOpen(choice: StoreChoice, { signal }: VerifyOptions): Promise<boolean> {
  return withInspectable(choice, false, async (store) => {
    for await (const finding of store.inspect()) {
      signal.throwIfAborted();
      if (opensImage(finding)) return true;
    }
    return false;
  });
}

async function lookThrough(
  store: Inspectable,
  { repairs, acceptsPreloaded, signal }: VerifyOptions,
  tally: Tally,
): Promise<void> {
  const bad: Finding[] = [];
  for await (const finding of store.inspect()) {
    signal.throwIfAborted();
    // Not while the store is walked through: what is taken out would shift the rest.
    if (repairs && REPAIRABLE.has(finding.verdict)) bad.push(finding);
    else await tally.add(finding);
  }
  if (!acceptsPreloaded && bad.some(opensImage)) {
    for (const finding of bad) await tally.add(finding);
    tally.refuse();
    return;
  }
  for (const finding of bad) {
    signal.throwIfAborted();
    await tally.add(await repaired(store, finding));
  }
}

/** What became of a bad finding. */
async function repaired(store: Inspectable, finding: Finding): Promise<Finding> {
  if (store.quarantine === undefined) return finding;
  const quarantinedTo = await store.quarantine(finding);
  if (quarantinedTo !== undefined) return { ...finding, quarantinedTo };
  const { kind, verdict, location } = finding;
  const reason = `it was ${verdict}, but was replaced or removed before it could be moved`;
  return { kind, verdict: 'remark', location, reason };
}

class Tally {
  readonly #onFinding: VerifyOptions['onFinding'];
  readonly #counts = { valid: 0, undecodable: 0, misfiled: 0, orphan: 0, unread: 0 };
  readonly #left = { ...this.#counts };
  readonly #remarks: string[] = [];
  #quarantined = 0;
  #opensImages = false;
  isRefused = false;

  constructor(onFinding: VerifyOptions['onFinding']) {
    this.#onFinding = onFinding;
  }

  async add(finding: Finding): Promise<void> {
    const { verdict, location, offset, reason } = finding;
    if (verdict === 'remark') {
      const where = offset === undefined ? location : `${location} at offset ${offset}`;
      this.#remarks.push(`${where}: ${reason}`);
      return;
    }
    this.#counts[verdict]++;
    if (finding.quarantinedTo === undefined) this.#left[verdict]++;
    else {
      this.#quarantined++;
      this.#opensImages ||= opensImage(finding);
    }
    await this.#onFinding(finding);
  }

  refuse(): void {
    this.isRefused = true;
  }

  result(): VerifyResult {
    const { undecodable, misfiled, orphan, unread } = this.#left;
    const isConcerned = this.#opensImages || this.isRefused;
    return {
      counts: { ...this.#counts },
      left: { ...this.#left },
      quarantined: this.#quarantined,
      remarks: [...this.#remarks],
      passed: undecodable + misfiled + orphan + unread === 0,
      ...(isConcerned ? { consequence: CONSEQUENCE } : {}),
      isRefused: this.isRefused,
    };
  }
}
