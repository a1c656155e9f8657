/** What is moved between stores: intents and pulled records, one by one, and what could not be read. */
import { compareUtf8, type ImagePulledRecord, PulledRecord } from '../records/record.ts';
import type { RecordsReader } from './open-store.ts';

/** One thing that is moved. */
export type TransferItem =
  | { readonly kind: 'intent'; readonly image: string }
  | { readonly kind: 'pulled'; readonly record: PulledRecord }
  /** Something of the source that is present, but cannot be read; `problem` says what, and where. */
  | { readonly kind: 'damaged'; readonly problem: string };

/** Everything in a store: intents, then records, each in UTF-8 order of their keys. */
export async function* itemsOf(reader: RecordsReader): AsyncGenerator<TransferItem> {
  const intents = await reader.listImagePullIntents();
  for (const image of intents.records.map((intent) => intent.image).sort(compareUtf8)) {
    yield { kind: 'intent', image };
  }
  for (const error of intents.errors) yield { kind: 'damaged', problem: error.message };
  const pulled = await reader.listImagePulledRecords();
  for (const record of sortedRecords(pulled.records)) yield { kind: 'pulled', record };
  for (const error of pulled.errors) yield { kind: 'damaged', problem: error.message };
}

/** The records by imageRef, in UTF-8 order. */
export function sortedRecords(records: readonly ImagePulledRecord[]): PulledRecord[] {
  return records
    .map((record) => PulledRecord.from(record))
    .sort((a, b) => compareUtf8(a.imageRef, b.imageRef));
}
