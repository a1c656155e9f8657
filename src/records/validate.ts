/**
 * Credentials given by callers: checked strictly, then brought into normal form.
 *
 * Normal form: node-wide access alone or sorted lists without duplicates, nothing empty, frozen.
 * The reference stores first entries as they are given [W4]; here equal sets of proofs are equal
 * values, whatever way they came about. Messages name paths and types, never a value.
 *
 * Source: kubernetes/kubelet config/v1beta1 types, and the merging of the pull manager.
 */
import { invalidArgument, type PullManagerError, quote } from '../errors.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
} from './record.ts';

/** What tells proofs of one kind apart. */
export interface Coordinates {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** The range of `Date`, on both sides of 1970. */
const TIME_MS_MAX = 8.64e15;

const CREDENTIALS = 'credentials';
const CREDENTIAL_FIELDS: readonly string[] = [
  'nodePodsAccessible',
  'kubernetesSecrets',
  'kubernetesServiceAccounts',
  'provenAtMs',
];
const ACCOUNT_FIELDS: readonly string[] = ['uid', 'namespace', 'name', 'provenAtMs'];
const SECRET_FIELDS: readonly string[] = [...ACCOUNT_FIELDS, 'credentialHash'];

/**
 * The normal form of what a pull succeeded with; `null` stays `null`. The value is not kept.
 *
 * Known fields only, on plain objects; of duplicates the last one wins. An optional field may be
 * `undefined`, a list also `null`. A `provenAtMs` beside lists says nothing and is left out.
 *
 * @throws `INVALID_ARGUMENT` naming the path, for example `credentials.kubernetesSecrets[0].uid`.
 */
export function normalizeCredentials(value: unknown): ImagePullCredentials | null {
  if (value === null) return null;
  const given = checkedFields(value, CREDENTIALS, CREDENTIAL_FIELDS, 'must be an object or null');
  const nodePodsAccessible = own(given, 'nodePodsAccessible');
  if (nodePodsAccessible !== undefined && typeof nodePodsAccessible !== 'boolean') {
    throw invalidArgument(`${CREDENTIALS}.nodePodsAccessible`, 'must be a boolean');
  }
  const secretsPath = `${CREDENTIALS}.kubernetesSecrets`;
  const secrets = checkedList(own(given, 'kubernetesSecrets'), secretsPath, checkedSecret);
  const accountsPath = `${CREDENTIALS}.kubernetesServiceAccounts`;
  const accounts = checkedList(
    own(given, 'kubernetesServiceAccounts'),
    accountsPath,
    checkedAccount,
  );
  const provenAtMs = checkedTime(own(given, 'provenAtMs'), CREDENTIALS);
  if (nodePodsAccessible === true) return nodeWideCredentials(provenAtMs);
  return listedCredentials(normalList(secrets), normalList(accounts));
}

function nodeWideCredentials(provenAtMs: number | undefined): ImagePullCredentials {
  if (provenAtMs === undefined) return Object.freeze({ nodePodsAccessible: true });
  return Object.freeze({ nodePodsAccessible: true, provenAtMs });
}

/** Frozen credentials of one secret, which is frozen as well. */
export function secretCredentials(secret: ImagePullSecret): ImagePullCredentials {
  return listedCredentials(Object.freeze([Object.freeze(secret)]), []);
}

/** Frozen credentials of two frozen lists in normal form; an empty list is left out. */
export function listedCredentials(
  secrets: readonly ImagePullSecret[],
  accounts: readonly ImagePullServiceAccount[],
): ImagePullCredentials {
  const credentials: ImagePullCredentials = {};
  // Frozen, in spite of the mutable type: records share them.
  if (secrets.length > 0) credentials.kubernetesSecrets = secrets as ImagePullSecret[];
  if (accounts.length > 0) {
    credentials.kubernetesServiceAccounts = accounts as ImagePullServiceAccount[];
  }
  return Object.freeze(credentials);
}

/**
 * The list sorted and without duplicates, of which the last one wins; frozen if it is a new one.
 * The same list where it is so already.
 */
export function normalList<T extends Coordinates>(list: readonly T[]): readonly T[] {
  if (isNormalList(list)) return list;
  const sorted = list.toSorted(compareCoordinates);
  // Sorting is stable, so the last of equal ones is the last one given.
  return Object.freeze(
    sorted.filter((item, i) => {
      const next = sorted[i + 1];
      return next === undefined || compareCoordinates(item, next) !== 0;
    }),
  );
}

function isNormalList(list: readonly Coordinates[]): boolean {
  for (let i = 1; i < list.length; i++) {
    if (compareCoordinates(list[i - 1]!, list[i]!) >= 0) return false;
  }
  return true;
}

/** Orders by namespace, name and uid, by UTF-8 bytes; 0 exactly where all three are equal. */
export function compareCoordinates(a: Coordinates, b: Coordinates): number {
  if (a.namespace !== b.namespace) return compareUtf8(a.namespace, b.namespace);
  if (a.name !== b.name) return compareUtf8(a.name, b.name);
  return a.uid === b.uid ? 0 : compareUtf8(a.uid, b.uid);
}

type Fields = Readonly<Record<string, unknown>>;

/** A plain object, whose fields `own` reads; throws where it has any but the known ones. */
function checkedFields(
  value: unknown,
  path: string,
  known: readonly string[],
  problem: string,
): Fields {
  if (!isPlainObject(value)) throw invalidArgument(path, problem);
  for (const key of Object.keys(value)) {
    if (!known.includes(key))
      throw invalidArgument(`${path}${member(key)}`, 'is not a known field');
  }
  return value;
}

/** A field, if it is an own enumerable one: the prototype of all objects may have any. Read each once. */
function own(fields: Fields, field: string): unknown {
  return Object.prototype.propertyIsEnumerable.call(fields, field) ? fields[field] : undefined;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // A root prototype, of this realm or another.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function member(key: string): string {
  return /^[A-Za-z_$][\w$]{0,63}$/.test(key) ? `.${key}` : `[${quote(key)}]`;
}

/** A frozen list of checked items. */
function checkedList<T>(
  value: unknown,
  path: string,
  checkedItem: (item: unknown, path: string) => T,
): readonly T[] {
  const list: T[] = [];
  if (value === undefined || value === null) return list;
  if (!Array.isArray(value)) throw invalidArgument(path, 'must be an array');
  // By index: holes must not pass as absent.
  for (let i = 0; i < value.length; i++) list.push(checkedItem(value[i], `${path}[${i}]`));
  return Object.freeze(list);
}

function checkedSecret(value: unknown, path: string): ImagePullSecret {
  const given = checkedFields(value, path, SECRET_FIELDS, 'must be an object');
  const secret: ImagePullSecret = {
    uid: checkedString(given, 'uid', path),
    namespace: checkedString(given, 'namespace', path),
    name: checkedString(given, 'name', path),
    credentialHash: checkedString(given, 'credentialHash', path),
  };
  const provenAtMs = checkedTime(own(given, 'provenAtMs'), path);
  if (provenAtMs !== undefined) secret.provenAtMs = provenAtMs;
  return Object.freeze(secret);
}

function checkedAccount(value: unknown, path: string): ImagePullServiceAccount {
  const given = checkedFields(value, path, ACCOUNT_FIELDS, 'must be an object');
  const account: ImagePullServiceAccount = {
    uid: checkedString(given, 'uid', path),
    namespace: checkedString(given, 'namespace', path),
    name: checkedString(given, 'name', path),
  };
  const provenAtMs = checkedTime(own(given, 'provenAtMs'), path);
  if (provenAtMs !== undefined) account.provenAtMs = provenAtMs;
  return Object.freeze(account);
}

function checkedString(fields: Fields, field: string, path: string): string {
  const value = own(fields, field);
  if (typeof value !== 'string') throw invalidArgument(`${path}.${field}`, 'must be a string');
  return value;
}

function checkedTime(value: unknown, path: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Math.abs(value) <= TIME_MS_MAX) return value;
  throw invalidArgument(`${path}.provenAtMs`, 'must be milliseconds in the range of dates');
}

/**
 * What is wrong with what a pod presents, if anything: `{ secrets?: array, serviceAccount?: object }`.
 *
 * Fields that are not needed are ignored. Allocates nothing where all is well.
 */
export function checkPodCredentials(value: unknown): PullManagerError | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalidArgument(CREDENTIALS, 'must be an object');
  }
  const { secrets, serviceAccount } = value as { secrets?: unknown; serviceAccount?: unknown };
  if (secrets !== undefined) {
    if (!Array.isArray(secrets))
      return invalidArgument(`${CREDENTIALS}.secrets`, 'must be an array');
    for (let i = 0; i < secrets.length; i++) {
      const problem = checkProof(secrets[i], true);
      if (problem !== '') return proofError(`${CREDENTIALS}.secrets[${i}]`, problem);
    }
  }
  if (serviceAccount === undefined) return undefined;
  const problem = checkProof(serviceAccount, false);
  return problem === '' ? undefined : proofError(`${CREDENTIALS}.serviceAccount`, problem);
}

/** The first field that is no string; `object` where there are no fields at all, empty if fine. */
function checkProof(value: unknown, isSecret: boolean): '' | 'object' | keyof ImagePullSecret {
  if (typeof value !== 'object' || value === null) return 'object';
  const proof = value as Partial<Record<keyof ImagePullSecret, unknown>>;
  if (typeof proof.uid !== 'string') return 'uid';
  if (typeof proof.namespace !== 'string') return 'namespace';
  if (typeof proof.name !== 'string') return 'name';
  if (isSecret && typeof proof.credentialHash !== 'string') return 'credentialHash';
  return '';
}

function proofError(path: string, problem: string): PullManagerError {
  if (problem === 'object') return invalidArgument(path, 'must be an object');
  return invalidArgument(`${path}.${problem}`, 'must be a string');
}
