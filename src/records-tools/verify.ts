/** Stores looked through piece by piece: what is valid, what is not, and what is put aside. */
import type { InspectedEntry } from '../accessors/inspection.ts';
import type { JournalSight } from '../accessors/journal/journal-reader.ts';
import {
  errorCode,
  invalidArgument,
  PULL_MANAGER_ERROR_CODES,
  type PullManagerError,
} from '../errors.ts';
import { type Inspected, type RecordsReader, withInspected } from './open-store.ts';
import type { StoreChoice } from './store-choice.ts';

/** One thing that was looked at: an entry of the store, or a file because of which it is damaged. */
export interface Finding extends Omit<InspectedEntry, 'kind'> {
  readonly kind: InspectedEntry['kind'] | 'store';
  /** Where the entry was put by `repairs`. */
  readonly quarantinedTo?: string;
}

/** How a store was found. */
export interface VerifyResult {
  readonly counts: Readonly<Record<Finding['verdict'], number>>;
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
  /** Told of each thing, good or bad, in the order of the store. */
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
    await withInspected(choice, async (inspected) => {
      if (inspected.how === 'entries') await verifyEntries(inspected, options, tally);
      else if (inspected.how === 'journal') await verifyJournal(inspected, options, tally, choice);
      else await verifyListings(inspected.reader, tally, choice);
    });
  } catch (error) {
    if (errorCode(error) !== PULL_MANAGER_ERROR_CODES.STORE_CORRUPT) throw error;
    const { path = choice.label, reason, message, offset } = error as PullManagerError;
    await tally.add(damaged(path, reason ?? message, offset));
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

async function verifyEntries(
  { store }: Extract<Inspected, { how: 'entries' }>,
  { repairs, signal }: VerifyOptions,
  tally: Tally,
): Promise<void> {
  const bad: InspectedEntry[] = [];
  for await (const entry of store.inspect()) {
    signal.throwIfAborted();
    // Not while the store is walked through: what is taken out would shift the rest.
    if (repairs && entry.verdict !== 'valid') bad.push(entry);
    else await tally.add(entry);
  }
  for (const entry of bad) {
    signal.throwIfAborted();
    const quarantinedTo = await store.quarantine(entry);
    // Replaced by a good one meanwhile, or gone.
    if (quarantinedTo === undefined) continue;
    await tally.add({ ...entry, quarantinedTo });
  }
}

async function verifyJournal(
  { sights }: Extract<Inspected, { how: 'journal' }>,
  { signal }: VerifyOptions,
  tally: Tally,
  { label }: StoreChoice,
): Promise<void> {
  for await (const sight of sights) {
    signal.throwIfAborted();
    if (sight.kind === 'remark') tally.remark(remarkOf(sight));
    else if (sight.kind === 'damage') {
      await tally.add(damaged(sight.path, sight.reason, sight.offset));
    } else {
      const { kind, key, isMisfiled } = sight;
      const reason = 'it is in the files of a partition that is not its own';
      const fault = isMisfiled ? ({ verdict: 'misfiled', reason } as const) : undefined;
      await tally.add({ kind, verdict: 'valid', location: label, key, ...fault });
    }
  }
}

function remarkOf({ path, offset, reason }: Extract<JournalSight, { kind: 'remark' }>): string {
  const where = offset === undefined ? path : `${path} at offset ${offset}`;
  return `${where}: ${reason}`;
}

/** The user's own store shows nothing but its listings. */
async function verifyListings(
  reader: RecordsReader,
  tally: Tally,
  { label: location }: StoreChoice,
): Promise<void> {
  const intents = await reader.listImagePullIntents();
  for (const { image } of intents.records) {
    await tally.add({ kind: 'intent', verdict: 'valid', location, key: image });
  }
  for (const error of intents.errors) await tally.add(unreadable('intent', error, location));
  const pulled = await reader.listImagePulledRecords();
  for (const { imageRef } of pulled.records) {
    const found = await lookUp(reader, imageRef);
    if (found === undefined) {
      await tally.add({ kind: 'pulled', verdict: 'valid', location, key: imageRef });
    } else await tally.add({ kind: 'pulled', location, key: imageRef, ...found });
  }
  for (const error of pulled.errors) await tally.add(unreadable('pulled', error, location));
}

/** What is wrong with asking for a listed record by its key. */
async function lookUp(
  reader: RecordsReader,
  imageRef: string,
): Promise<Pick<Finding, 'verdict' | 'reason'> | undefined> {
  try {
    const record = await reader.getImagePulledRecord(imageRef);
    if (record !== undefined) return undefined;
    return { verdict: 'misfiled', reason: 'it is listed, but not found under its imageRef' };
  } catch (error) {
    const { reason, message } = error as PullManagerError;
    return { verdict: 'undecodable', reason: reason ?? message };
  }
}

function unreadable(
  kind: InspectedEntry['kind'],
  { image, imageRef, reason, message }: PullManagerError,
  location: string,
): Finding {
  const key = kind === 'intent' ? image : imageRef;
  const named = key === undefined ? {} : { key };
  return { kind, verdict: 'undecodable', location, ...named, reason: reason ?? message };
}

function damaged(location: string, reason: string, offset: number | undefined): Finding {
  const where = offset === undefined ? {} : { offset };
  return { kind: 'store', verdict: 'undecodable', location, reason, ...where };
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
    this.#counts[finding.verdict]++;
    if (finding.quarantinedTo !== undefined) this.#quarantined++;
    await this.#onFinding(finding);
  }

  remark(text: string): void {
    this.#remarks.push(text);
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
