/**
 * Bytes and plain arrays for pulled records: the one form in which they are stored and sent.
 *
 * Arrays rather than maps: smaller, faster, and a key named `__proto__` is a text like any other.
 * What is packed can always be unpacked again; what is unpacked is never trusted, not even after a
 * checksum: any shape but the documented one raises `RECORD_CORRUPT`.
 *
 * | Value | Packed as |
 * | --- | --- |
 * | record | `[1, imageRef, updatedAtMs, imageName, credentials, imageName, credentials, …]` |
 * | credentials | `[node, secrets, accounts, provenAtMs]`; node: 0 absent, 1 true, 2 false |
 * | secrets | `null` if absent, else flat: `uid, namespace, name, credentialHash, provenAtMs` each |
 * | accounts | `null` if absent, else flat: `uid, namespace, name, provenAtMs` each |
 * | text | a string; if it has a lone surrogate, which UTF-8 cannot carry: its UTF-16LE bytes |
 * | `provenAtMs` | a number, `null` if absent |
 */
import { Packr } from 'msgpackr';
import { invalidArgument, PullManagerError } from '../errors.ts';
import { isWellFormed } from '../util/well-formed.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
  type NameProof,
  PulledRecord,
} from './record.ts';

/** Version of the packed form; the first element of a packed record. */
export const RECORD_FORMAT_VERSION = 1;

const NODE_ABSENT = 0;
const NODE_TRUE = 1;
const NODE_FALSE = 2;
const SECRET_STRIDE = 5;
const ACCOUNT_STRIDE = 4;
const PROOFS_START = 3;
const PROOF_STRIDE = 2;
/** The range of `Date`. */
const TIME_MS_MAX = 8.64e15;
/** V8 makes no slices of strings below this length: such a string pins no other. */
const SLICE_LENGTH_MIN = 13;

const packr = new Packr({ useRecords: false });

/**
 * The packed form of a record, for msgpack, structured clone or JSON-like carriers.
 *
 * @param credentialsOf - for carriers with a dictionary of credentials. @default packCredentials
 * @throws `INVALID_ARGUMENT` for a record that could not be read back, naming the field.
 */
export function packRecord(
  record: PulledRecord,
  credentialsOf: (credentials: ImagePullCredentials) => unknown = packAll,
): unknown[] {
  const packed: unknown[] = [
    RECORD_FORMAT_VERSION,
    packText(record.imageRef, 'imageRef'),
    packTime(record.updatedAtMs, 'updatedAtMs'),
  ];
  let previous: string | undefined;
  for (const { imageName, credentials } of record.proofs) {
    packed.push(packText(imageName, 'imageName'), credentialsOf(credentials));
    if (previous !== undefined && compareUtf8(previous, imageName) >= 0) {
      throw invalidArgument('proofs', 'must be sorted by image name, each name once');
    }
    previous = imageName;
  }
  return packed;
}

/**
 * The record that a packed form stands for; its strings share no memory with the source, its
 * credentials are frozen.
 *
 * @param credentialsOf - the counterpart of the one given to `packRecord`.
 * @throws `RECORD_CORRUPT` for any other shape.
 */
export function unpackRecord(
  value: unknown,
  credentialsOf: (value: unknown) => ImagePullCredentials = unpackAll,
): PulledRecord {
  if (!Array.isArray(value)) throw corrupt('a record is not an array');
  if (value[0] !== RECORD_FORMAT_VERSION) throw corrupt('a record has an unknown version');
  if (value.length < PROOFS_START || (value.length - PROOFS_START) % PROOF_STRIDE !== 0) {
    throw corrupt('a record has a wrong number of fields');
  }
  const imageRef = unpackText(value[1]);
  const updatedAtMs = unpackTime(value[2]);
  const proofs: NameProof[] = [];
  let previous: string | undefined;
  for (let i = PROOFS_START; i < value.length; i += PROOF_STRIDE) {
    const imageName = unpackText(value[i]);
    if (previous !== undefined && compareUtf8(previous, imageName) >= 0) {
      throw corrupt('the names of a record are not in order');
    }
    previous = imageName;
    proofs.push({ imageName, credentials: credentialsOf(value[i + 1]) });
  }
  return new PulledRecord(imageRef, updatedAtMs, proofs.slice());
}

/** A record as msgpack bytes. Throws as `packRecord` does. */
export function encodeRecord(record: PulledRecord): Uint8Array {
  return packr.pack(packRecord(record));
}

/**
 * The record in msgpack bytes of ordinary (not shared) memory; any others raise `RECORD_CORRUPT`.
 *
 * @param credentialsOf - as of `unpackRecord`.
 * @param length - how many of the bytes are the record's. @default all
 */
export function decodeRecord(
  bytes: Uint8Array,
  credentialsOf?: (value: unknown) => ImagePullCredentials,
  length: number = bytes.length,
): PulledRecord {
  let value: unknown;
  try {
    value = packr.unpack(bytes, length);
  } catch (cause) {
    throw corrupt('a record is not msgpack', cause);
  }
  return unpackRecord(value, credentialsOf);
}

/** Gives the packed form of a text; `argument` names the text. */
export type TextPacker = (text: string, argument: string) => unknown;
/** Gives the text of a packed form, or throws `RECORD_CORRUPT`. */
export type TextUnpacker = (value: unknown) => string;

/**
 * The packed form of credentials. Throws as `packRecord` does.
 *
 * @param text - for carriers with a dictionary of texts. @default packText
 */
export function packCredentials(
  credentials: ImagePullCredentials,
  text: TextPacker = packText,
): unknown[] {
  const { nodePodsAccessible: node, kubernetesSecrets, kubernetesServiceAccounts } = credentials;
  return [
    node === undefined ? NODE_ABSENT : node ? NODE_TRUE : NODE_FALSE,
    kubernetesSecrets === undefined ? null : packSecrets(kubernetesSecrets, text),
    kubernetesServiceAccounts === undefined ? null : packAccounts(kubernetesServiceAccounts, text),
    packProvenAt(credentials.provenAtMs),
  ];
}

/**
 * The frozen credentials of a packed form. Throws as `unpackRecord` does.
 *
 * @param text - the counterpart of the one given to `packCredentials`. @default unpackText
 */
export function unpackCredentials(
  value: unknown,
  text: TextUnpacker = unpackText,
): ImagePullCredentials {
  if (!Array.isArray(value) || value.length !== 4) throw corrupt('credentials have a wrong shape');
  const [node, secrets, accounts, provenAt] = value;
  const credentials: ImagePullCredentials = {};
  if (node === NODE_TRUE) credentials.nodePodsAccessible = true;
  else if (node === NODE_FALSE) credentials.nodePodsAccessible = false;
  else if (node !== NODE_ABSENT) throw corrupt('credentials have an unknown kind of access');
  if (secrets !== null) credentials.kubernetesSecrets = unpackSecrets(secrets, text);
  if (accounts !== null) credentials.kubernetesServiceAccounts = unpackAccounts(accounts, text);
  if (provenAt !== null) credentials.provenAtMs = unpackTime(provenAt);
  return Object.freeze(credentials);
}

/** The packed form of a text; `argument` names it should it not be one. */
export function packText(text: string, argument: string): string | Uint8Array {
  if (typeof text !== 'string') throw invalidArgument(argument, 'must be a string');
  return isWellFormed(text) ? text : Buffer.from(text, 'utf16le');
}

/** The text of a packed form, as a string that shares no memory with the one it was cut from. */
export function unpackText(value: unknown): string {
  if (typeof value === 'string') return flatCopy(value);
  if (!(value instanceof Uint8Array) || value.byteLength % 2 !== 0) {
    throw corrupt('a text is not a string');
  }
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf16le');
  if (isWellFormed(text)) throw corrupt('a text is in bytes without need');
  return text;
}

/** The time in milliseconds of a packed form. */
export function unpackTime(value: unknown): number {
  if (typeof value !== 'number' || !(Math.abs(value) <= TIME_MS_MAX)) {
    throw corrupt('a time is not a number in the range of dates');
  }
  return value;
}

/** A time, proven to be readable again; `argument` names it should it not be. */
export function packTime(value: number, argument: string): number {
  if (typeof value !== 'number' || !(Math.abs(value) <= TIME_MS_MAX)) {
    throw invalidArgument(argument, 'must be milliseconds in the range of dates');
  }
  return value;
}

function packAll(credentials: ImagePullCredentials): unknown[] {
  return packCredentials(credentials);
}

function unpackAll(value: unknown): ImagePullCredentials {
  return unpackCredentials(value);
}

function packProvenAt(value: number | undefined): number | null {
  return value === undefined ? null : packTime(value, 'provenAtMs');
}

function packSecrets(secrets: readonly ImagePullSecret[], text: TextPacker): unknown[] {
  const packed: unknown[] = [];
  for (const secret of secrets) {
    packed.push(
      text(secret.uid, 'kubernetesSecrets.uid'),
      text(secret.namespace, 'kubernetesSecrets.namespace'),
      text(secret.name, 'kubernetesSecrets.name'),
      text(secret.credentialHash, 'kubernetesSecrets.credentialHash'),
      packProvenAt(secret.provenAtMs),
    );
  }
  return packed;
}

function packAccounts(accounts: readonly ImagePullServiceAccount[], text: TextPacker): unknown[] {
  const packed: unknown[] = [];
  for (const account of accounts) {
    packed.push(
      text(account.uid, 'kubernetesServiceAccounts.uid'),
      text(account.namespace, 'kubernetesServiceAccounts.namespace'),
      text(account.name, 'kubernetesServiceAccounts.name'),
      packProvenAt(account.provenAtMs),
    );
  }
  return packed;
}

function unpackSecrets(value: unknown, text: TextUnpacker): ImagePullSecret[] {
  if (!Array.isArray(value) || value.length % SECRET_STRIDE !== 0) {
    throw corrupt('a list of secrets has a wrong shape');
  }
  const secrets: ImagePullSecret[] = [];
  for (let i = 0; i < value.length; i += SECRET_STRIDE) {
    const secret: ImagePullSecret = {
      uid: text(value[i]),
      namespace: text(value[i + 1]),
      name: text(value[i + 2]),
      credentialHash: text(value[i + 3]),
    };
    if (value[i + 4] !== null) secret.provenAtMs = unpackTime(value[i + 4]);
    secrets.push(Object.freeze(secret));
  }
  return frozenList(secrets);
}

function unpackAccounts(value: unknown, text: TextUnpacker): ImagePullServiceAccount[] {
  if (!Array.isArray(value) || value.length % ACCOUNT_STRIDE !== 0) {
    throw corrupt('a list of service accounts has a wrong shape');
  }
  const accounts: ImagePullServiceAccount[] = [];
  for (let i = 0; i < value.length; i += ACCOUNT_STRIDE) {
    const account: ImagePullServiceAccount = {
      uid: text(value[i]),
      namespace: text(value[i + 1]),
      name: text(value[i + 2]),
    };
    if (value[i + 3] !== null) account.provenAtMs = unpackTime(value[i + 3]);
    accounts.push(Object.freeze(account));
  }
  return frozenList(accounts);
}

/** Without the room that a growing array keeps in reserve: several times what it holds. */
function frozenList<T>(list: readonly T[]): T[] {
  const copy = list.slice();
  Object.freeze(copy);
  return copy;
}

function corrupt(problem: string, cause?: unknown): PullManagerError {
  return new PullManagerError('RECORD_CORRUPT', `stored value is damaged: ${problem}`, {
    reason: problem,
    cause,
  });
}

const COPY_BYTES = 4096;
/** At most three UTF-8 bytes a UTF-16 unit. */
const COPY_LENGTH_MAX = Math.floor(COPY_BYTES / 3);
const copyBuffer = Buffer.allocUnsafeSlow(COPY_BYTES);

/**
 * A copy of `text` in memory of its own. Decoders hand out slices of one long string per buffer,
 * and one kept slice keeps the whole buffer: a factor of four in the memory of a large store.
 */
function flatCopy(text: string): string {
  const { length } = text;
  if (length < SLICE_LENGTH_MIN) return text;
  if (length > COPY_LENGTH_MAX) return Buffer.from(text, 'utf8').toString('utf8');
  const written = copyBuffer.write(text, 0, 'utf8');
  return copyBuffer.toString('utf8', 0, written);
}
