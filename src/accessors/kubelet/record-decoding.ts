/**
 * Reads record files as strictly as the kubelet of one version.
 *
 * Source: sigs.k8s.io/json (UnmarshalStrict), apimachinery runtime/serializer/json.
 */
import type { RecordVersion } from '../../compatibility.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
  type NameProof,
  PulledRecord,
  ZERO_TIME_MS,
} from '../../records/record.ts';
import { suggestion } from '../../util/suggest.ts';
import { parseGoTime } from './go-time.ts';
import { API_GROUP, INTENT_KIND, PULLED_KIND, RECORD_BYTES_MAX, type Read } from './record-file.ts';
import { RecordFormatError, UnreadVersionError } from './record-format-error.ts';
import { StrictJsonReader } from './strict-json.ts';

const VERSIONS: readonly RecordVersion[] = ['v1alpha1', 'v1beta1'];
/** Also of versions that are to come. */
const VERSION_OF_GROUP = /^kubelet\.config\.k8s\.io\/v\d{1,3}(?:(?:alpha|beta)\d{1,3})?$/;

const INTENT_FIELDS: readonly string[] = ['kind', 'apiVersion', 'image'];
const PULLED_FIELDS: readonly string[] = [
  'kind',
  'apiVersion',
  'lastUpdatedTime',
  'imageRef',
  'credentialMapping',
];
const V1_33_CREDENTIAL_FIELDS: readonly string[] = ['kubernetesSecrets', 'nodePodsAccessible'];
const CREDENTIAL_FIELDS: readonly string[] = [
  'kubernetesSecrets',
  'kubernetesServiceAccounts',
  'nodePodsAccessible',
];
const ACCOUNT_FIELDS: readonly string[] = ['uid', 'namespace', 'name'];
const SECRET_FIELDS: readonly string[] = [...ACCOUNT_FIELDS, 'credentialHash'];
/** What may be quoted of an unknown field: letters only, so never a hash. */
const QUOTABLE = /^[A-Za-z]{1,64}$/;

/**
 * The image of an intent's file; empty if the file has none.
 *
 * @throws `RecordFormatError` for anything but an intent of a version that is read;
 * `UnreadVersionError` where only the version is to blame.
 */
export function decodeIntent(
  bytes: Uint8Array,
  from: Read,
): { image: string; version: RecordVersion } {
  let image = '';
  const version = decodeFile(bytes, INTENT_KIND, INTENT_FIELDS, from, (json) => {
    image = json.string('image');
  });
  return { image, version };
}

/**
 * The record in a pulled record's file, with frozen credentials and strings of their own memory.
 *
 * Lists stay as stored, in order and with duplicates, and also beside node-wide access: matching
 * works on any order, the limit of 100 counts what the reference counts, and merging brings an entry
 * into normal form when it changes it. So nothing is opened here that the reference keeps shut.
 * What is empty, false or `null` is left out. A missing time is `ZERO_TIME_MS`; fractions are cut to
 * milliseconds.
 *
 * @throws `RecordFormatError` for anything but a pulled record of a version that is read;
 * `UnreadVersionError` where only its version, or a field that came later, is to blame.
 */
export function decodePulled(
  bytes: Uint8Array,
  from: Read,
): { record: PulledRecord; version: RecordVersion } {
  let imageRef = '';
  let updatedAtMs = ZERO_TIME_MS;
  let proofs: readonly NameProof[] = [];
  const version = decodeFile(bytes, PULLED_KIND, PULLED_FIELDS, from, (json, field) => {
    if (field === 'imageRef') imageRef = json.string('imageRef');
    else if (field === 'lastUpdatedTime') updatedAtMs = decodeTime(json);
    else proofs = decodeMapping(json, from);
  });
  return { record: new PulledRecord(imageRef, updatedAtMs, proofs), version };
}

/** Reads a file of one kind; `readField` reads the fields beyond kind and version. */
function decodeFile(
  bytes: Uint8Array,
  kind: string,
  fields: readonly string[],
  from: Read,
  readField: (json: StrictJsonReader, field: string) => void,
): RecordVersion {
  if (bytes.length > RECORD_BYTES_MAX) {
    throw new RecordFormatError(`the file has more than ${RECORD_BYTES_MAX} bytes`);
  }
  const json = new StrictJsonReader(bytes);
  if (json.peek() === -1) throw new RecordFormatError('the file is empty');
  let hasKind = false;
  let version: RecordVersion | undefined;
  readFields(json, 'the record', fields, (field) => {
    if (field === 'apiVersion') version = decodeVersion(json, from);
    else if (field !== 'kind') readField(json, field);
    else hasKind = checkKind(json, kind);
  });
  json.end();
  if (!hasKind) throw new RecordFormatError('kind is missing');
  if (version === undefined) throw new RecordFormatError('apiVersion is missing');
  return version;
}

function checkKind(json: StrictJsonReader, kind: string): true {
  const { offset } = json;
  if (json.string('kind') === kind) return true;
  throw new RecordFormatError(`kind is not ${kind}`, offset);
}

function decodeVersion(json: StrictJsonReader, from: Read): RecordVersion {
  const { offset } = json;
  const text = json.string('apiVersion');
  const version = VERSIONS.find((known) => text === API_GROUP + known);
  if (version === undefined) {
    const unknown = VERSION_OF_GROUP.test(text) ? UnreadVersionError : RecordFormatError;
    throw new unknown('apiVersion is not a known one', offset);
  }
  if (from.readsVersions.includes(version)) return version;
  const read = from.readsVersions.join(' and ');
  throw new UnreadVersionError(`apiVersion is ${version}, but only ${read} is read`, offset);
}

function decodeTime(json: StrictJsonReader): number {
  const { offset } = json;
  if (json.null()) return ZERO_TIME_MS;
  const timeMs = parseGoTime(json.string('lastUpdatedTime'));
  if (timeMs !== undefined) return timeMs;
  throw new RecordFormatError('lastUpdatedTime is not an RFC 3339 time', offset);
}

function decodeMapping(json: StrictJsonReader, from: Read): readonly NameProof[] {
  if (!json.openObject('credentialMapping')) return [];
  const proofs: NameProof[] = [];
  const names = new Set<string>();
  for (let isFirst = true; json.hasField(isFirst); isFirst = false) {
    const { offset } = json;
    const imageName = json.fieldName();
    if (names.has(imageName)) {
      throw new RecordFormatError('credentialMapping has the same name twice', offset);
    }
    names.add(imageName);
    proofs.push({ imageName, credentials: decodeCredentials(json, from) });
  }
  // Any order may be stored; the kubelet itself writes this one.
  return proofs.sort((a, b) => compareUtf8(a.imageName, b.imageName));
}

function decodeCredentials(json: StrictJsonReader, from: Read): ImagePullCredentials {
  const credentials: ImagePullCredentials = {};
  const fields = from.hasServiceAccounts ? CREDENTIAL_FIELDS : V1_33_CREDENTIAL_FIELDS;
  readFields(json, 'credentials', fields, (field) => {
    if (field === 'nodePodsAccessible') {
      if (json.boolean(field)) credentials.nodePodsAccessible = true;
    } else if (field === 'kubernetesSecrets') {
      const secrets = decodeList(json, field, decodeSecret);
      if (secrets.length > 0) credentials.kubernetesSecrets = secrets;
    } else {
      const accounts = decodeList(json, field, decodeAccount);
      if (accounts.length > 0) credentials.kubernetesServiceAccounts = accounts;
    }
  });
  return Object.freeze(credentials);
}

/** A frozen list without the room that a growing array keeps in reserve. */
function decodeList<T>(
  json: StrictJsonReader,
  what: string,
  decodeItem: (json: StrictJsonReader) => T,
): T[] {
  const list: T[] = [];
  if (!json.openArray(what)) return list;
  for (let isFirst = true; json.hasItem(isFirst); isFirst = false) list.push(decodeItem(json));
  const copy = list.slice();
  Object.freeze(copy);
  return copy;
}

function decodeSecret(json: StrictJsonReader): ImagePullSecret {
  const secret: ImagePullSecret = { uid: '', namespace: '', name: '', credentialHash: '' };
  readFields(json, 'a secret', SECRET_FIELDS, (field) => {
    secret[field as 'uid'] = json.string(field);
  });
  return Object.freeze(secret);
}

function decodeAccount(json: StrictJsonReader): ImagePullServiceAccount {
  const account: ImagePullServiceAccount = { uid: '', namespace: '', name: '' };
  readFields(json, 'a service account', ACCOUNT_FIELDS, (field) => {
    account[field as 'uid'] = json.string(field);
  });
  return Object.freeze(account);
}

/** Reads an object of known fields, each at most once; `null` stands for one without any. */
function readFields(
  json: StrictJsonReader,
  what: string,
  fields: readonly string[],
  readField: (field: string) => void,
): void {
  if (!json.openObject(what)) return;
  let seen = 0;
  for (let isFirst = true; json.hasField(isFirst); isFirst = false) {
    const { offset } = json;
    const field = json.fieldName();
    const index = fields.indexOf(field);
    if (index < 0) throw unknownField(what, field, fields, offset);
    const bit = 1 << index;
    if ((seen & bit) !== 0) throw new RecordFormatError(`${what}: ${field} is there twice`, offset);
    seen |= bit;
    readField(field);
  }
}

function unknownField(
  what: string,
  field: string,
  fields: readonly string[],
  offset: number,
): RecordFormatError {
  // Of the known fields, only what a later level brought is not among those read.
  const isLater = fields === V1_33_CREDENTIAL_FIELDS && CREDENTIAL_FIELDS.includes(field);
  const name = QUOTABLE.test(field) ? ` "${field}"${suggestion(field, fields)}` : '';
  const error = isLater ? UnreadVersionError : RecordFormatError;
  return new error(`${what}: unknown field${name}`, offset);
}
