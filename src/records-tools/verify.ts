/** Stores looked through piece by piece: what is valid, what is not, and what is put aside. */
import { damageOf, type Finding, type Inspectable } from '../accessors/inspection.ts';
import { invalidArgument } from '../errors.ts';
import { withInspectable } from './open-store.ts';
import type { StoreChoice } from './store-choice.ts';

/** How a store was found. */
export interface VerifyResult {
  readonly counts: Readonly<Record<Exclude<Finding['verdict'], 'remark'>, number>>;
  /** Entries that were taken out of the store. */
  readonly quarantined: number;
  /** What is unusual, but neither wrong nor lost, in sentences. */
  readonly remarks: readonly string[];
  /** Whether nothing that is wrong is left in the store. */
  readonly passed: boolean;
}

export interface VerifyOptions {
  /** Whether bad entries are put into quarantine. */
  readonly repairs: boolean;
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
    await withInspectable(choice, options.repairs, (store) => lookThrough(store, options, tally));
  } catch (error) {
    await tally.add(damageOf(error, choice.label));
  }
  return tally.result();
}

/** Before anything is opened, and whether or not there is anything to repair. */
function checkRepairable({ options }: StoreChoice): void {
  const kind = 'kind' in options ? options.kind : 'module';
  if (kind === 'journal') {
    const problem =
      'cannot repair a journal: its entries are bound to one another in files, and taking one out ' +
      'would hide what was acknowledged. Restore the files from a copy, or set the directory aside ' +
      'and begin anew: every image is then proven again';
    throw invalidArgument('--repair', problem);
  }
  if (kind === 'module') {
    throw invalidArgument('--repair', 'cannot repair the store of a module: only it knows how');
  }
}

async function lookThrough(
  store: Inspectable,
  { repairs, signal }: VerifyOptions,
  tally: Tally,
): Promise<void> {
  const bad: Finding[] = [];
  for await (const finding of store.inspect()) {
    signal.throwIfAborted();
    const isBad = finding.verdict !== 'valid' && finding.verdict !== 'remark';
    // Not while the store is walked through: what is taken out would shift the rest.
    if (repairs && isBad) bad.push(finding);
    else await tally.add(finding);
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
  readonly #counts = { valid: 0, undecodable: 0, misfiled: 0, orphan: 0 };
  readonly #remarks: string[] = [];
  #quarantined = 0;

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
    if (finding.quarantinedTo !== undefined) this.#quarantined++;
    await this.#onFinding(finding);
  }

  result(): VerifyResult {
    const { undecodable, misfiled, orphan } = this.#counts;
    const wrong = undecodable + misfiled + orphan;
    return {
      counts: { ...this.#counts },
      quarantined: this.#quarantined,
      remarks: [...this.#remarks],
      passed: wrong === this.#quarantined,
    };
  }
}
