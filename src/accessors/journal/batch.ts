/**
 * The payload of a batch: one flat array, each write its number followed by its fields.
 *
 * | Write | Fields |
 * | --- | --- |
 * | 1 intent written | image |
 * | 2 intent deleted | image |
 * | 3 record written | packed record |
 * | 4 record changed | imageRef, updatedAtMs, imageName, credentials |
 * | 5 record deleted | imageRef |
 *
 * Credentials, also those within a packed record, are packed where they occur first in the batch,
 * and after that are their number, counted from 0 in order of first occurrence: a storm brings the
 * same ones many times.
 */
import { invalidArgument, PullManagerError } from '../../errors.ts';
import {
  packCredentials,
  packRecord,
  packText,
  packTime,
  unpackRecord,
  unpackText,
  unpackTime,
} from '../../records/codec.ts';
import {
  type ImagePullCredentials,
  type ImagePulledRecord,
  PulledRecord,
  type RecordChange,
} from '../../records/record.ts';
import type { RecordWrite } from '../accessor.ts';
import type { JournalState, RecordPool } from './state.ts';

const INTENT_WRITTEN = 1;
const INTENT_DELETED = 2;
const RECORD_WRITTEN = 3;
const RECORD_CHANGED = 4;
const RECORD_DELETED = 5;

/**
 * The payload of a batch, to be encoded.
 *
 * @throws `INVALID_ARGUMENT` for what could not be read back; then nothing has happened.
 */
export function packBatch(batch: readonly RecordWrite[]): unknown[] {
  const fields: unknown[] = [];
  let numbers: Map<ImagePullCredentials, number> | undefined;
  const credentialsOf = (credentials: ImagePullCredentials): unknown => {
    numbers ??= new Map();
    const number = numbers.get(credentials);
    if (number !== undefined) return number;
    numbers.set(credentials, numbers.size);
    return packCredentials(credentials);
  };
  for (const write of batch) {
    switch (write.op) {
      case 'writeIntent':
        fields.push(INTENT_WRITTEN, packText(write.image, 'image'));
        break;
      case 'deleteIntent':
        fields.push(INTENT_DELETED, packText(write.image, 'image'));
        break;
      case 'deletePulled':
        fields.push(RECORD_DELETED, packText(write.imageRef, 'imageRef'));
        break;
      case 'writePulled': {
        const record = PulledRecord.from(write.record);
        if (write.change === undefined) {
          fields.push(RECORD_WRITTEN, packRecord(record, credentialsOf));
          break;
        }
        const { imageName, credentials } = write.change;
        fields.push(
          RECORD_CHANGED,
          packText(record.imageRef, 'imageRef'),
          packTime(record.updatedAtMs, 'updatedAtMs'),
          packText(imageName, 'imageName'),
          credentialsOf(credentials),
        );
        break;
      }
      default:
        throw invalidArgument('op', 'is not a known write');
    }
  }
  return fields;
}

/** Applies a batch that is durable to the state it was made for. */
export function applyBatch(state: JournalState, batch: readonly RecordWrite[]): void {
  for (const write of batch) {
    switch (write.op) {
      case 'writeIntent':
        state.writeIntent(write.image);
        break;
      case 'deleteIntent':
        state.deleteIntent(write.image);
        break;
      case 'deletePulled':
        state.deletePulled(write.imageRef);
        break;
      case 'writePulled':
        state.writePulled(ownRecord(write.record));
        break;
    }
  }
}

/** The engine's records are immutable; those of other callers are copied, as their owner may go on. */
export function ownRecord(record: ImagePulledRecord): PulledRecord {
  if (record instanceof PulledRecord) return record;
  return unpackRecord(packRecord(PulledRecord.from(record)));
}

/** What logged writes are replayed into, in their order. */
export interface ReplayTarget {
  writeIntent(image: string): void;
  deleteIntent(image: string): void;
  writePulled(record: PulledRecord): void;
  /** Merges a change into what the key has, and sets the time, changed or not (`applyChange`). */
  changePulled(imageRef: string, change: RecordChange, updatedAtMs: number): void;
  deletePulled(imageRef: string): void;
}

/** Replays a logged batch. Throws `RECORD_CORRUPT` for any shape but the documented one. */
export function replayBatch(target: ReplayTarget, fields: unknown[], pool: RecordPool): void {
  const known: ImagePullCredentials[] = [];
  const credentialsOf = (value: unknown): ImagePullCredentials => {
    if (typeof value !== 'number') {
      const credentials = pool.credentials(value);
      known.push(credentials);
      return credentials;
    }
    const credentials = known[value];
    if (credentials === undefined) throw damaged('a batch refers to unknown credentials');
    return credentials;
  };
  let at = 0;
  while (at < fields.length) {
    switch (fields[at]) {
      case INTENT_WRITTEN:
        target.writeIntent(unpackText(fields[at + 1]));
        at += 2;
        break;
      case INTENT_DELETED:
        target.deleteIntent(unpackText(fields[at + 1]));
        at += 2;
        break;
      case RECORD_WRITTEN:
        target.writePulled(unpackRecord(fields[at + 1], credentialsOf));
        at += 2;
        break;
      case RECORD_CHANGED:
        target.changePulled(
          unpackText(fields[at + 1]),
          {
            imageName: pool.name(unpackText(fields[at + 3])),
            credentials: credentialsOf(fields[at + 4]),
          },
          unpackTime(fields[at + 2]),
        );
        at += 5;
        break;
      case RECORD_DELETED:
        target.deletePulled(unpackText(fields[at + 1]));
        at += 2;
        break;
      default:
        throw damaged('a batch holds an unknown write');
    }
  }
}

function damaged(problem: string): PullManagerError {
  return new PullManagerError('RECORD_CORRUPT', problem, { reason: problem });
}
