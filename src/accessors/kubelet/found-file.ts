/** Reads one file of the kubelet's, whatever it turns out to be. */
import * as fs from 'node:fs';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { KubeletBehaviour, RecordVersion } from '../../compatibility.ts';
import {
  errorCode,
  PULL_MANAGER_ERROR_CODES,
  PullManagerError,
  quote,
  storeError,
} from '../../errors.ts';
import type { PulledRecord } from '../../records/record.ts';
import { type FileState, stateOf } from './file-state.ts';
import { distrusted, isRecordName, type RecordKind } from './layout.ts';
import {
  decodeIntent,
  decodePulled,
  RECORD_BYTES_MAX,
  RecordFormatError,
  recordFileName,
  UnreadVersionError,
} from './record-format.ts';

/** What a record is in memory: an intent is nothing but its key. */
export type Value = true | PulledRecord;

/** A record as a file has it. */
export interface FiledRecord {
  readonly key: string;
  readonly value: Value;
  readonly version: RecordVersion;
}

/** A file as it was found. */
export interface FoundFile {
  readonly name: string;
  readonly state: FileState;
  /** The record in it, also where it belongs under another name. */
  readonly record: FiledRecord | undefined;
  /** A listing passes it over; a lookup cannot. */
  readonly isDirectory: boolean;
  /** Whether it is not damaged, but of a newer kubelet than the claimed one, and so not read. */
  readonly isUnread: boolean;
  /**
   * `RECORD_CORRUPT`, where the file is no record, must not be read, or is another key's.
   * `STORE_UNAVAILABLE`, where it could not be read: it may be as good as ever (`isUnavailable`).
   */
  readonly error: PullManagerError | undefined;
}

/** Whether a file could not be read for a reason that may pass. Nothing may take its place. */
export function isUnavailable(error: PullManagerError | undefined): boolean {
  return error?.code === PULL_MANAGER_ERROR_CODES.STORE_UNAVAILABLE;
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** A FIFO or device does not keep us waiting, a link is not followed. */
const READ_FLAGS = O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0);

/** The names in a directory that a kubelet would look up, in their order. Blocks. */
export function recordNames(directory: string): string[] {
  const names: string[] = [];
  for (const name of readdirSync(directory)) if (isRecordName(name)) names.push(name);
  return names.sort();
}

/**
 * Reads the file of that name and what record it has. Blocks for as long as reading takes, never for
 * a writer. Undefined: there is none.
 */
export function readRecordFile(
  directory: string,
  kind: RecordKind,
  name: string,
  behaviour: KubeletBehaviour,
): FoundFile | undefined {
  const path = join(directory, name);
  const read = readBytes(path);
  if (read === undefined) return undefined;
  const { state } = read;
  const bad = (reason: string, fields: { offset?: number | undefined; cause?: unknown }) => ({
    name,
    state,
    record: undefined,
    isDirectory: 'problem' in read && read.isDirectory === true,
    isUnread: false,
    error: damaged(path, reason, fields),
  });
  if ('trouble' in read) {
    const error = storeError(`the record file ${quote(path)} cannot be read`, read.trouble, path);
    return { ...bad('', {}), error };
  }
  if ('problem' in read) return bad(read.problem, { cause: read.cause });
  let record: FiledRecord;
  try {
    record = decode(kind, read.bytes, behaviour);
  } catch (cause) {
    if (!(cause instanceof RecordFormatError)) throw cause;
    const found = bad(cause.reason, { offset: cause.offset });
    return { ...found, isUnread: cause instanceof UnreadVersionError };
  }
  if (recordFileName(record.key) === name) {
    return { name, state, record, isDirectory: false, isUnread: false, error: undefined };
  }
  const misfiled = bad('it holds the record of another key, which belongs under another name', {});
  return { ...misfiled, record };
}

function decode(kind: RecordKind, bytes: Buffer, behaviour: KubeletBehaviour): FiledRecord {
  if (kind === 'intent') {
    const { image, version } = decodeIntent(bytes, behaviour);
    return { key: image, value: true, version };
  }
  const { record, version } = decodePulled(bytes, behaviour);
  return { key: record.imageRef, value: record, version };
}

type Read =
  | { readonly state: FileState; readonly bytes: Buffer }
  | { readonly state: FileState; readonly trouble: unknown }
  | {
      readonly state: FileState;
      readonly problem: string;
      readonly isDirectory?: boolean;
      readonly cause?: unknown;
    };

function readBytes(path: string): Read | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, READ_FLAGS);
  } catch (cause) {
    return unopened(path, cause);
  }
  try {
    const stats = fs.fstatSync(fd);
    const state = stateOf(stats);
    if (stats.isDirectory()) return { state, problem: 'it is a directory', isDirectory: true };
    if (!stats.isFile()) return { state, problem: 'it is not a regular file' };
    if (stats.size > RECORD_BYTES_MAX) {
      return { state, problem: `it has ${stats.size} bytes, more than ${RECORD_BYTES_MAX}` };
    }
    const untrusted = distrusted(stats);
    if (untrusted !== undefined) return { state, problem: `it ${untrusted}` };
    const bytes = Buffer.allocUnsafe(stats.size);
    let length = 0;
    while (length < bytes.length) {
      const count = fs.readSync(fd, bytes, length, bytes.length - length, length);
      if (count === 0) break;
      length += count;
    }
    return { state, bytes: bytes.subarray(0, length) };
  } catch (trouble) {
    return { state: stateOf(fs.fstatSync(fd)), trouble };
  } finally {
    fs.closeSync(fd);
  }
}

function unopened(path: string, cause: unknown): Read | undefined {
  const code = errorCode(cause);
  if (code === 'ENOENT') return undefined;
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  const state = stateOf(stats);
  if (stats.isSymbolicLink()) return { state, problem: 'it is a symbolic link', cause };
  if (!stats.isFile()) return { state, problem: 'it is not a regular file', cause };
  // What the file itself is, not what the disk or the process lacks.
  const isForbidden = code === 'EACCES' || code === 'EPERM';
  return isForbidden
    ? { state, problem: `it cannot be read: ${code}`, cause }
    : { state, trouble: cause };
}

function damaged(
  path: string,
  reason: string,
  fields: { offset?: number | undefined; cause?: unknown },
): PullManagerError {
  const where = fields.offset === undefined ? '' : ` at offset ${fields.offset}`;
  const message = `the record file ${quote(path)} is damaged${where}: ${reason}`;
  return new PullManagerError('RECORD_CORRUPT', message, { path, reason, ...fields });
}
