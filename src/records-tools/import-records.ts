/** Brings intents and records into a store, in batches, so that it can be broken off and repeated. */
import type { OwnedAccessor, RecordWrite } from '../accessors/accessor.ts';
import { inexpressible } from '../accessors/kubelet/record-format.ts';
import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import { errorCode, PULL_MANAGER_ERROR_CODES, type PullManagerError, quote } from '../errors.ts';
import { PulledRecord } from '../records/record.ts';
import type { Problem, TransferItem } from './items.ts';
import { type ConflictMode, isSameRecord, mergeRecords } from './merge-records.ts';
import type { StoreChoice } from './store-choice.ts';

/** What an import did. `unchanged`: the target had the very same already. */
export interface ImportResult {
  readonly intents: { readonly added: number; readonly unchanged: number };
  readonly records: {
    readonly added: number;
    readonly merged: number;
    readonly replaced: number;
    /** The target's own was left alone. */
    readonly kept: number;
    readonly unchanged: number;
  };
  /** Entries of the source that could not be read, and cut or miscounted files. */
  readonly damaged: number;
  /** Entries that the target refused. */
  readonly refused: number;
  /** Records of which the target cannot keep everything. */
  readonly lossy: number;
}

/** Says in words what would be lost of a record; empty where nothing is. Never names a hash. */
export type Losses = (record: PulledRecord) => readonly string[];

/**
 * What the store would lose. Our own stores keep everything; a module is given everything. The
 * kubelet's files cannot say everything, and its format knows what.
 */
export function lossesOf({ options, compatibility }: StoreChoice): Losses {
  if (!('kind' in options) || options.kind !== 'kubelet') return () => [];
  const behaviour = KUBELET_BEHAVIOUR[compatibility];
  return (record) => inexpressible(record, behaviour);
}

export interface ImportOptions {
  readonly onConflict: ConflictMode;
  readonly losses: Losses;
  /** Told of each entry that is damaged or refused. */
  readonly onProblem: (problem: Problem) => void;
  /** Told of each record of which the target cannot keep everything, and what. */
  readonly onLosses: (imageRef: string, losses: readonly string[]) => void;
  /** Told after each batch how many entries are done. */
  readonly onProgress: (done: number) => void;
  readonly signal: AbortSignal;
}

const BATCH_WRITES_MAX = 1_000;
/** Names and proofs: a single record may have 100,000. */
const BATCH_PROOFS_MAX = 20_000;

/**
 * Imports `items` into `target`. What is done in batches before an error stays done, and doing it
 * again changes nothing.
 *
 * @throws the target's storage errors; the signal's reason.
 */
export async function importRecords(
  items: AsyncIterable<TransferItem>,
  target: OwnedAccessor,
  options: ImportOptions,
): Promise<ImportResult> {
  const importer = new Importer(target, options);
  for await (const item of items) await importer.add(item);
  await importer.flush();
  return importer.result();
}

interface PendingWrite {
  readonly write: RecordWrite;
  /** Counts it, once it is durable. */
  readonly count: () => void;
}

class Importer {
  readonly #target: OwnedAccessor;
  readonly #options: ImportOptions;
  readonly #intents = { added: 0, unchanged: 0 };
  readonly #records = { added: 0, merged: 0, replaced: 0, kept: 0, unchanged: 0 };
  #damaged = 0;
  #refused = 0;
  #lossy = 0;
  #done = 0;
  #batch: PendingWrite[] = [];
  #proofs = 0;
  /** What the batch makes of the keys in it: a source may name one twice. */
  #intentsInBatch = new Set<string>();
  #recordsInBatch = new Map<string, PulledRecord>();

  constructor(target: OwnedAccessor, options: ImportOptions) {
    this.#target = target;
    this.#options = options;
  }

  async add(item: TransferItem): Promise<void> {
    this.#options.signal.throwIfAborted();
    this.#done++;
    if (item.kind === 'damaged') {
      this.#damaged++;
      this.#options.onProblem(item.problem);
    } else if (item.kind === 'intent') await this.#addIntent(item.image);
    else await this.#addRecord(item.record);
    if (this.#batch.length >= BATCH_WRITES_MAX || this.#proofs >= BATCH_PROOFS_MAX) {
      await this.flush();
    }
  }

  async flush(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#proofs = 0;
    this.#intentsInBatch = new Set();
    this.#recordsInBatch = new Map();
    if (batch.length > 0) await this.#commit(batch);
    this.#options.onProgress(this.#done);
  }

  result(): ImportResult {
    return {
      intents: { ...this.#intents },
      records: { ...this.#records },
      damaged: this.#damaged,
      refused: this.#refused,
      lossy: this.#lossy,
    };
  }

  async #commit(batch: readonly PendingWrite[]): Promise<void> {
    try {
      await this.#target.commit(batch.map(({ write }) => write));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (batch.length > 1) {
        // One of them: the others are welcome.
        for (const one of batch) await this.#commit([one]);
      } else this.#refuse(batch[0]!.write, error);
      return;
    }
    for (const { count } of batch) count();
  }

  #refuse(write: RecordWrite, error: PullManagerError): void {
    this.#refused++;
    const key =
      write.op === 'writePulled' ? write.record.imageRef : 'image' in write ? write.image : '';
    const message = `${quote(key)} cannot be stored: ${error.message}`;
    this.#options.onProblem({ code: error.code, message });
  }

  async #addIntent(image: string): Promise<void> {
    let exists = this.#intentsInBatch.has(image);
    try {
      exists ||= await this.#target.imagePullIntentExists(image);
    } catch (error) {
      // A damaged intent is written anew: it says nothing but that it is there.
      if (!isDamage(error)) throw error;
    }
    if (exists) {
      this.#intents.unchanged++;
      return;
    }
    this.#intentsInBatch.add(image);
    const write: RecordWrite = { op: 'writeIntent', image };
    this.#batch.push({ write, count: () => void this.#intents.added++ });
  }

  async #addRecord(record: PulledRecord): Promise<void> {
    const { imageRef } = record;
    let existing: PulledRecord | undefined;
    try {
      existing = this.#recordsInBatch.get(imageRef) ?? (await this.#find(imageRef));
    } catch (error) {
      if (!isDamage(error)) throw error;
      if (this.#options.onConflict !== 'replace') {
        this.#refused++;
        const message = `${quote(imageRef)} is damaged in the target, and is left as it is`;
        this.#options.onProblem({ code: error.code, message });
        return;
      }
      this.#write(record, 'replaced');
      return;
    }
    if (existing === undefined) this.#write(record, 'added');
    else this.#resolve(existing, record);
  }

  #resolve(existing: PulledRecord, record: PulledRecord): void {
    const { onConflict } = this.#options;
    const outcome = onConflict === 'merge' ? mergeRecords(existing, record) : record;
    if (isSameRecord(existing, outcome)) this.#records.unchanged++;
    else if (onConflict === 'keep') this.#records.kept++;
    else this.#write(outcome, onConflict === 'merge' ? 'merged' : 'replaced');
  }

  #write(record: PulledRecord, outcome: 'added' | 'merged' | 'replaced'): void {
    const losses = this.#options.losses(record);
    if (losses.length > 0) {
      this.#lossy++;
      this.#options.onLosses(record.imageRef, losses);
    }
    this.#recordsInBatch.set(record.imageRef, record);
    this.#proofs += sizeOf(record);
    const write: RecordWrite = { op: 'writePulled', record };
    this.#batch.push({ write, count: () => void this.#records[outcome]++ });
  }

  async #find(imageRef: string): Promise<PulledRecord | undefined> {
    const found = await this.#target.getImagePulledRecord(imageRef);
    return found === undefined ? undefined : PulledRecord.from(found);
  }
}

function sizeOf({ proofs }: PulledRecord): number {
  return proofs.reduce(
    (sum, { credentials }) =>
      sum +
      1 +
      (credentials.kubernetesSecrets?.length ?? 0) +
      (credentials.kubernetesServiceAccounts?.length ?? 0),
    0,
  );
}

function isRefusal(error: unknown): error is PullManagerError {
  return errorCode(error) === PULL_MANAGER_ERROR_CODES.INVALID_ARGUMENT;
}

function isDamage(error: unknown): error is PullManagerError {
  return errorCode(error) === PULL_MANAGER_ERROR_CODES.RECORD_CORRUPT;
}
