/**
 * The file in which records leave a store and come into another: one JSON object a line.
 * Format: docs/records-format.md.
 */
import { invalidArgument, PullManagerError, quote } from '../errors.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type NameProof,
  PulledRecord,
} from '../records/record.ts';
import { normalizeCredentials } from '../records/validate.ts';
import { type Line, linesOf } from '../util/lines.ts';
import type { TransferItem } from './items.ts';

/** Version of the format. */
export const EXPORT_FORMAT_VERSION = 1;

const FORMAT = 'pullwarden-records';
/** The range of `Date`. */
const TIME_MS_MAX = 8.64e15;

/** How many lines of each kind are in a file. */
export interface ExportCounts {
  readonly intents: number;
  readonly records: number;
  /** Entries of the source that could not be read and are missing. */
  readonly damaged: number;
}

/** The first line of a file. */
export function headerLine(): string {
  return `${JSON.stringify({ format: FORMAT, version: EXPORT_FORMAT_VERSION })}\n`;
}

/** The line of an intent or a record. */
export function itemLine(item: Exclude<TransferItem, { kind: 'damaged' }>): string {
  if (item.kind === 'intent') return `${JSON.stringify(item)}\n`;
  const { imageRef, updatedAtMs, credentialMapping } = item.record;
  const fields = { kind: 'pulled', imageRef, lastUpdatedTimeMs: updatedAtMs, credentialMapping };
  return `${JSON.stringify(fields)}\n`;
}

/** The last line of a file: without it, the file was cut. */
export function endLine({ intents, records, damaged }: ExportCounts): string {
  return `${JSON.stringify({ kind: 'end', intents, records, damaged })}\n`;
}

/**
 * Reads a file of records. Resolves once its first line is read and is the header; a line that is
 * damaged comes as an item, so that the others can still be used.
 *
 * @param name - of the file, for messages.
 * @throws `INVALID_ARGUMENT` where it is no such file, `STORE_VERSION_UNSUPPORTED` where it is of a
 * newer version.
 */
export async function readExport(
  stream: AsyncIterable<Uint8Array>,
  name: string,
): Promise<AsyncIterable<TransferItem>> {
  const lines = linesOf(stream);
  const first = await lines.next();
  checkHeader(first.done === true ? undefined : first.value.text, name);
  return items(lines, name);
}

async function* items(lines: AsyncIterable<Line>, name: string): AsyncGenerator<TransferItem> {
  let end: ExportCounts | undefined;
  let count = 0;
  for await (const { number, text } of lines) {
    if (text === '') continue;
    try {
      if (end !== undefined) throw badLine('follows the end of the file');
      const parsed = parseLine(text);
      if (parsed.kind === 'end') end = parsed;
      else {
        count++;
        yield parsed;
      }
    } catch (error) {
      count++;
      const { code, message } = error as PullManagerError;
      yield { kind: 'damaged', problem: { code, message: `${name}: line ${number}: ${message}` } };
    }
  }
  const problem = problemOfEnd(end, count);
  if (problem !== undefined) {
    yield { kind: 'damaged', problem: { message: `${name}: ${problem}` } };
  }
}

/** What the end of a file with `count` lines says that is wrong with it. */
function problemOfEnd(end: ExportCounts | undefined, count: number): string | undefined {
  if (end === undefined) return 'the file was cut: it has no end';
  const { intents, records, damaged } = end;
  if (intents + records !== count) {
    return `the end counts ${intents + records} lines, there are ${count}`;
  }
  if (damaged === 0) return undefined;
  return `${damaged} entries of its source could not be read, and are missing`;
}

function checkHeader(text: string | undefined, name: string): void {
  let fields: Fields | undefined;
  try {
    fields = text === undefined ? undefined : parseObject(text);
  } catch {
    // Judged below, like anything else that is no header.
  }
  if (fields?.format !== FORMAT) {
    throw invalidArgument(name, 'line 1: is not the header of a file of records');
  }
  const { version } = fields;
  if (version === EXPORT_FORMAT_VERSION) return;
  if (typeof version === 'number' && version > EXPORT_FORMAT_VERSION) {
    const message = `${name} has format version ${version}, this version reads ${EXPORT_FORMAT_VERSION}`;
    throw new PullManagerError('STORE_VERSION_UNSUPPORTED', message);
  }
  throw invalidArgument(name, 'line 1: has no version that is known');
}

type Fields = Readonly<Record<string, unknown>>;
type ParsedLine =
  | Exclude<TransferItem, { kind: 'damaged' }>
  | ({ readonly kind: 'end' } & ExportCounts);

const FIELDS_OF_KIND: Readonly<Record<string, readonly string[]>> = {
  intent: ['kind', 'image'],
  pulled: ['kind', 'imageRef', 'lastUpdatedTimeMs', 'credentialMapping'],
  end: ['kind', 'intents', 'records', 'damaged'],
};

function parseLine(text: string | undefined): ParsedLine {
  if (text === undefined) throw badLine('is not UTF-8');
  const fields = parseObject(text);
  const { kind } = fields;
  const known =
    typeof kind === 'string' && Object.hasOwn(FIELDS_OF_KIND, kind)
      ? FIELDS_OF_KIND[kind]
      : undefined;
  if (known === undefined) throw badLine('kind must be intent, pulled or end');
  for (const field of Object.keys(fields)) {
    if (!known.includes(field)) throw badLine(`${quote(field)} is not a known field`);
  }
  if (kind === 'intent') return { kind, image: textOf(fields, 'image') };
  if (kind === 'pulled') return { kind, record: recordOf(fields) };
  return {
    kind: 'end',
    intents: countOf(fields, 'intents'),
    records: countOf(fields, 'records'),
    damaged: countOf(fields, 'damaged'),
  };
}

function recordOf(fields: Fields): PulledRecord {
  const imageRef = textOf(fields, 'imageRef');
  const { lastUpdatedTimeMs: time, credentialMapping } = fields;
  if (typeof time !== 'number' || !(Math.abs(time) <= TIME_MS_MAX)) {
    throw badLine('lastUpdatedTimeMs must be milliseconds in the range of dates');
  }
  if (!isObject(credentialMapping)) throw badLine('credentialMapping must be an object');
  const proofs: NameProof[] = Object.entries(credentialMapping)
    .map(([imageName, credentials]) => ({
      imageName,
      credentials: checked(credentials, imageName),
    }))
    .sort((a, b) => compareUtf8(a.imageName, b.imageName));
  return new PulledRecord(imageRef, time, proofs);
}

/** Checked as strictly as what callers give, but kept as it is: order and duplicates are data. */
function checked(credentials: unknown, imageName: string): ImagePullCredentials {
  try {
    if (normalizeCredentials(credentials) === null) throw badLine('credentials must be an object');
  } catch (error) {
    throw badLine(`credentialMapping[${quote(imageName)}]: ${(error as Error).message}`);
  }
  const copy = { ...(credentials as ImagePullCredentials) };
  // What the check lets pass as absent.
  for (const field of ['kubernetesSecrets', 'kubernetesServiceAccounts'] as const) {
    if (copy[field] === null) delete copy[field];
  }
  return Object.freeze(copy);
}

function parseObject(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not what the parser says: it repeats the text, and with it a hash.
    throw badLine('is not JSON');
  }
  if (!isObject(value)) throw badLine('is not an object');
  return value;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(fields: Fields, field: string): string {
  const value = fields[field];
  if (typeof value !== 'string') throw badLine(`${field} must be a string`);
  return value;
}

function countOf(fields: Fields, field: string): number {
  const value = fields[field];
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw badLine(`${field} must be a whole number from 0`);
  }
  return value as number;
}

function badLine(problem: string): PullManagerError {
  return new PullManagerError('RECORD_CORRUPT', problem, { reason: problem });
}
