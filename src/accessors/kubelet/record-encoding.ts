/**
 * Writes record files, byte for byte as the kubelet of one version.
 *
 * Source: kubernetes/kubelet config/v1alpha1 and v1beta1 types, Go encoding/json.
 */
import { invalidArgument } from '../../errors.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
  type NameProof,
  type PulledRecord,
} from '../../records/record.ts';
import { goString } from '../../util/go-json.ts';
import { wellFormed } from '../../util/well-formed.ts';
import { goTime } from './go-time.ts';
import {
  API_GROUP,
  INTENT_KIND,
  PULLED_KIND,
  RECORD_BYTES_MAX,
  type Written,
} from './record-file.ts';

/** The file of an intent: compact JSON and a newline. */
export function encodeIntent(image: string, to: Written): Buffer {
  return fileOf(`${header(INTENT_KIND, to)},"image":${goString(image)}}`);
}

/**
 * The file of a pulled record: compact JSON and a newline.
 *
 * Leaves out what the format cannot hold: see `inexpressible`. Lists are written in their order.
 *
 * @throws `INVALID_ARGUMENT` for a time outside the years 0 to 9999, for two names that are one as
 * UTF-8, and for more than `RECORD_BYTES_MAX` bytes: what is written can be read again.
 */
export function encodePulled(record: PulledRecord, to: Written): Buffer {
  const time = goTime(record.updatedAtMs);
  if (time === undefined) {
    throw invalidArgument('lastUpdatedTime', 'must be in the years 0 to 9999 to be written');
  }
  const ref = goString(record.imageRef);
  const mapping = encodeMapping(record.proofs, to);
  return fileOf(
    `${header(PULLED_KIND, to)},"lastUpdatedTime":${time},"imageRef":${ref}${mapping}}`,
  );
}

/**
 * What `encodePulled` would leave out or change of a record, in words; empty if nothing.
 *
 * Differences without a meaning, such as an empty list for an absent one, do not count.
 */
export function inexpressible(record: PulledRecord, to: Written): string[] {
  const credentials = record.proofs.map((proof) => proof.credentials);
  const secrets = credentials.flatMap((entry) => entry.kubernetesSecrets ?? []);
  const accounts = credentials.flatMap((entry) => entry.kubernetesServiceAccounts ?? []);
  const timed = [...credentials, ...secrets, ...accounts];
  const texts = [
    record.imageRef,
    ...record.proofs.map((proof) => proof.imageName),
    ...accounts.flatMap(textsOf),
    ...secrets.flatMap((secret) => [...textsOf(secret), secret.credentialHash]),
  ];
  const losses: string[] = [];
  if (record.updatedAtMs % 1000 !== 0) losses.push('the milliseconds of the time of the record');
  if (timed.some((proof) => proof.provenAtMs !== undefined)) {
    losses.push('the times at which proofs were given (provenAtMs)');
  }
  if (!to.hasServiceAccounts && accounts.length > 0) {
    losses.push('service accounts');
  }
  if (texts.some((text) => wellFormed(text) !== text)) {
    losses.push('lone surrogates of texts, which become U+FFFD');
  }
  return losses;
}

function textsOf(account: ImagePullServiceAccount): string[] {
  return [account.uid, account.namespace, account.name];
}

function header(kind: string, to: Written): string {
  return `{"kind":"${kind}","apiVersion":"${API_GROUP}${to.writesVersion}"`;
}

function fileOf(json: string): Buffer {
  const file = Buffer.from(`${json}\n`, 'utf8');
  if (file.length <= RECORD_BYTES_MAX) return file;
  throw invalidArgument('record', `must take at most ${RECORD_BYTES_MAX} bytes as a file`);
}

function encodeMapping(proofs: readonly NameProof[], to: Written): string {
  if (proofs.length === 0) return '';
  const entries = proofs
    .map(({ imageName, credentials }) => ({ name: wellFormed(imageName), credentials }))
    .sort((a, b) => compareUtf8(a.name, b.name));
  const fields = entries.map(({ name, credentials }, i) => {
    if (name === entries[i + 1]?.name) {
      throw invalidArgument('credentialMapping', 'has two names that are one as UTF-8');
    }
    return `${goString(name)}:${encodeCredentials(credentials, to)}`;
  });
  return `,"credentialMapping":{${fields.join(',')}}`;
}

function encodeCredentials(credentials: ImagePullCredentials, to: Written): string {
  const secrets = credentials.kubernetesSecrets ?? [];
  const accounts = to.hasServiceAccounts ? (credentials.kubernetesServiceAccounts ?? []) : [];
  const fields: string[] = [];
  if (secrets.length > 0) {
    fields.push(`"kubernetesSecrets":[${secrets.map(encodeSecret).join(',')}]`);
  } else if (to.writesVersion === 'v1alpha1') {
    fields.push('"kubernetesSecrets":null');
  }
  if (accounts.length > 0) {
    fields.push(`"kubernetesServiceAccounts":[${accounts.map(encodeAccount).join(',')}]`);
  }
  if (credentials.nodePodsAccessible === true) fields.push('"nodePodsAccessible":true');
  return `{${fields.join(',')}}`;
}

function encodeSecret(secret: ImagePullSecret): string {
  return `{${coordinates(secret)},"credentialHash":${goString(secret.credentialHash)}}`;
}

function encodeAccount(account: ImagePullServiceAccount): string {
  return `{${coordinates(account)}}`;
}

function coordinates({ uid, namespace, name }: ImagePullServiceAccount): string {
  return `"uid":${goString(uid)},"namespace":${goString(namespace)},"name":${goString(name)}`;
}
