/**
 * What stores answer that are not the project's own: nothing of it is believed unseen. What is
 * malformed or belongs to another key counts as damaged, never as absent.
 */
import { types } from 'node:util';
import { PullManagerError } from '../errors.ts';
import {
  type ImagePullCredentials,
  type ImagePullIntent,
  PulledRecord,
} from '../records/record.ts';
import { normalizeCredentials } from '../records/validate.ts';
import type { PullRecordsAccessor, RecordListing } from './accessor.ts';

const METHODS = [
  'listImagePullIntents',
  'imagePullIntentExists',
  'writeImagePullIntent',
  'deleteImagePullIntent',
  'listImagePulledRecords',
  'getImagePulledRecord',
  'writeImagePulledRecord',
  'deleteImagePulledRecord',
  'commit',
  'close',
] as const satisfies readonly (keyof PullRecordsAccessor)[];

/** The first method of the contract that the value lacks; undefined if it is an accessor. */
export function missingMethod(value: object): keyof PullRecordsAccessor | undefined {
  const methods = value as Record<string, unknown>;
  return METHODS.find((method) => typeof methods[method] !== 'function');
}

/** The intent that a store answered; throws `RECORD_CORRUPT` if it is none. */
export function checkIntent(value: unknown): ImagePullIntent {
  const image = asObject(value)?.image;
  if (typeof image !== 'string') throw damaged('an intent has no image');
  return { image };
}

/**
 * The record that a store answered, as a copy in normal form; throws `RECORD_CORRUPT` if it is none.
 * The compact form is only ever made of checked values, so it is returned as it is.
 */
export function checkRecord(value: unknown): PulledRecord {
  if (value instanceof PulledRecord) return value;
  const given = asObject(value);
  if (given === undefined) throw damaged(`a record is ${nameOf(value)}; "absent" is undefined`);
  const { imageRef, lastUpdatedTime, credentialMapping } = given;
  if (typeof imageRef !== 'string') throw damaged('a record has no imageRef');
  if (!types.isDate(lastUpdatedTime) || Number.isNaN(lastUpdatedTime.getTime())) {
    throw damaged('lastUpdatedTime of a record is not a valid Date', { imageRef });
  }
  const mapping = asObject(credentialMapping);
  if (mapping === undefined) throw damaged('a record has no credentialMapping', { imageRef });
  const checked: Record<string, ImagePullCredentials> = Object.create(null);
  for (const [imageName, credentials] of Object.entries(mapping)) {
    checked[imageName] = checkCredentials(credentials, imageRef);
  }
  return PulledRecord.from({ imageRef, lastUpdatedTime, credentialMapping: checked });
}

/** The same for what a store answered for one key; undefined if that is what it answered. */
export function checkRecordOf(imageRef: string, value: unknown): PulledRecord | undefined {
  if (value === undefined) return undefined;
  const record = checkRecord(value);
  if (record.imageRef === imageRef) return record;
  throw damaged('the record is that of another imageRef', { imageRef });
}

/**
 * A listing whose records are all sound: those that are not are among its errors.
 *
 * @param toError Makes one of the project's errors of whatever the store listed as one.
 * @returns Undefined if it is no listing at all.
 */
export function checkListing<T>(
  listing: unknown,
  check: (record: unknown) => T,
  toError: (cause: unknown) => PullManagerError,
): RecordListing<T> | undefined {
  const given = asObject(listing);
  if (!Array.isArray(given?.records) || !Array.isArray(given.errors)) return undefined;
  const checked: RecordListing<T> = { records: [], errors: given.errors.map(toError) };
  for (const record of given.records) {
    try {
      checked.records.push(check(record));
    } catch (cause) {
      checked.errors.push(toError(cause));
    }
  }
  return checked;
}

/** What kind of value it is, for a message that must not show it. */
export function nameOf(value: unknown): string {
  return value === null ? 'null' : `a value of type ${typeof value}`;
}

/** In normal form, as the engine keeps them; anything merely truthy opens no image to everybody. */
function checkCredentials(value: unknown, imageRef: string): ImagePullCredentials {
  let problem = 'the credentials of a name are null';
  try {
    const credentials = normalizeCredentials(value);
    if (credentials !== null) return credentials;
  } catch (cause) {
    if (!(cause instanceof PullManagerError)) throw cause;
    problem = cause.message;
  }
  throw damaged(problem, { imageRef });
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)
    : undefined;
}

function damaged(problem: string, fields: { imageRef?: string } = {}): PullManagerError {
  return new PullManagerError('RECORD_CORRUPT', `stored value is damaged: ${problem}`, {
    ...fields,
    reason: problem,
  });
}
