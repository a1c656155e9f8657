/** What is moved between stores: intents and pulled records, one by one, and what could not be read. */
import type { PullManagerError } from '../errors.ts';
import { compareUtf8, type ImagePulledRecord, PulledRecord } from '../records/record.ts';
import { lookedUpIntents, lookedUpRecords } from './looked-up.ts';
import type { RecordsReader } from './open-store.ts';

/** What went wrong with one entry, in one sentence that says what and where. */
export interface Problem {
  /** As errors have it; absent where there is none for it. */
  readonly code?: string;
  readonly message: string;
}

/** The problem that an error of a store is. */
export function problemOf({ code, message }: PullManagerError): Problem {
  return { code, message };
}

/** One thing that is moved. */
export type TransferItem =
  | { readonly kind: 'intent'; readonly image: string }
  | { readonly kind: 'pulled'; readonly record: PulledRecord }
  /** Something of the source that is present, but cannot be read. */
  | { readonly kind: 'damaged'; readonly problem: Problem };

/**
 * Everything in a store: intents, then records, each in UTF-8 order of their keys. What is not under
 * its own key is damaged.
 */
export async function* itemsOf(reader: RecordsReader): AsyncGenerator<TransferItem> {
  const intents = await lookedUpIntents(reader);
  for (const image of intents.records) yield { kind: 'intent', image };
  for (const error of intents.errors) yield { kind: 'damaged', problem: problemOf(error) };
  const pulled = await lookedUpRecords(reader);
  for (const record of pulled.records) yield { kind: 'pulled', record };
  for (const error of pulled.errors) yield { kind: 'damaged', problem: problemOf(error) };
}

/** The records by imageRef, in UTF-8 order. */
export function sortedRecords(records: readonly ImagePulledRecord[]): PulledRecord[] {
  return records
    .map((record) => PulledRecord.from(record))
    .sort((a, b) => compareUtf8(a.imageRef, b.imageRef));
}
