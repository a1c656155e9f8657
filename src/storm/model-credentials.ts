/**
 * Credentials in the model: merged, and in the one form in which they are stored.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go at v1.35, with the
 * deviations W3 (secrets and accounts are both merged) and W4 (always normalised).
 */
import type {
  ImagePullCredentials,
  ImagePullSecret,
  ImagePullServiceAccount,
} from '../records/record.ts';

/** The entry after merging; undefined where the merge changes nothing. */
export function mergeModelCredentials(
  entry: ImagePullCredentials | undefined,
  credentials: ImagePullCredentials | null,
): ImagePullCredentials | undefined {
  if (credentials === null || isEmpty(credentials)) return undefined;
  if (entry === undefined) return normalized(credentials);
  if (entry.nodePodsAccessible === true) return undefined;
  if (credentials.nodePodsAccessible === true) return { nodePodsAccessible: true };
  const secrets = byPlace(entry.kubernetesSecrets);
  const accounts = byPlace(entry.kubernetesServiceAccounts);
  let isChanged = false;
  for (const secret of credentials.kubernetesSecrets ?? []) {
    const place = coordinates(secret);
    if (secrets.get(place)?.credentialHash !== secret.credentialHash) isChanged = true;
    secrets.set(place, secret);
  }
  for (const account of credentials.kubernetesServiceAccounts ?? []) {
    const place = coordinates(account);
    if (!accounts.has(place)) isChanged = true;
    accounts.set(place, account);
  }
  return isChanged ? entryOf(secrets, accounts) : undefined;
}

/** Credentials as they are stored: without duplicates, sorted, node-wide or lists but never both. */
export function normalized(credentials: ImagePullCredentials): ImagePullCredentials {
  if (credentials.nodePodsAccessible === true) return { nodePodsAccessible: true };
  return entryOf(
    byPlace(credentials.kubernetesSecrets),
    byPlace(credentials.kubernetesServiceAccounts),
  );
}

type Place = Pick<ImagePullServiceAccount, 'uid' | 'namespace' | 'name'>;

/** Where a secret or account is, as one text. */
export function coordinates(place: Place): string {
  return JSON.stringify([place.namespace, place.name, place.uid]);
}

function byPlace<T extends Place>(list: readonly T[] | undefined): Map<string, T> {
  return new Map((list ?? []).map((item) => [coordinates(item), item]));
}

function entryOf(
  secrets: ReadonlyMap<string, ImagePullSecret>,
  accounts: ReadonlyMap<string, ImagePullServiceAccount>,
): ImagePullCredentials {
  const entry: ImagePullCredentials = {};
  if (secrets.size > 0) {
    entry.kubernetesSecrets = sorted(secrets).map(({ uid, namespace, name, credentialHash }) => ({
      uid,
      namespace,
      name,
      credentialHash,
    }));
  }
  if (accounts.size > 0) {
    entry.kubernetesServiceAccounts = sorted(accounts).map(({ uid, namespace, name }) => ({
      uid,
      namespace,
      name,
    }));
  }
  return entry;
}

function sorted<T extends Place>(places: ReadonlyMap<string, T>): T[] {
  return [...places.values()].sort(
    (a, b) =>
      compareBytes(a.namespace, b.namespace) ||
      compareBytes(a.name, b.name) ||
      compareBytes(a.uid, b.uid),
  );
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function isEmpty(credentials: ImagePullCredentials): boolean {
  return (
    credentials.nodePodsAccessible !== true &&
    (credentials.kubernetesSecrets?.length ?? 0) === 0 &&
    (credentials.kubernetesServiceAccounts?.length ?? 0) === 0
  );
}
