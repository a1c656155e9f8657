/**
 * The reference's five operations as one would write them down: synchronous, for one thread, over a
 * store of whole records. Both baselines run this same code; they differ in where the store is and
 * how calls get to it.
 *
 * Compatibility v1.35, policy `NeverVerifyPreloadedImages`. Being single-threaded it needs no locks.
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go.
 */
import { parseImageName } from '../../src/images/image-name.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
} from '../../src/records/record.ts';

/** Where records are kept; every call takes effect before it returns. */
export interface PlainStore {
  intentExists(image: string): boolean;
  writeIntent(image: string): void;
  /** Absent: no error. */
  deleteIntent(image: string): void;
  readPulled(imageRef: string): ImagePulledRecord | undefined;
  writePulled(record: ImagePulledRecord): void;
  deletePulled(imageRef: string): void;
  listPulled(): ImagePulledRecord[];
}

/** The reference does not remember more proofs than this while it answers a decision. */
const MATCH_WRITE_LIMIT = 100;

export class PlainPullManager {
  readonly #store: PlainStore;
  readonly #now: () => Date;
  readonly #inFlight = new Map<string, number>();

  constructor(store: PlainStore, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#now = now;
  }

  recordPullIntent(image: string): void {
    this.#store.writeIntent(image);
    this.#inFlight.set(image, (this.#inFlight.get(image) ?? 0) + 1);
  }

  recordImagePulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): void {
    // If this throws the intent stays: the image still counts as pulled by the node.
    this.#writePulledIfChanged(image, imageRef, credentials);
    this.#decrement(image);
  }

  recordImagePullFailed(image: string): void {
    this.#decrement(image);
  }

  mustAttemptImagePull(image: string, imageRef: string, pod: PodCredentials = {}): boolean {
    if (imageRef === '') return true;
    let record: ImagePulledRecord | undefined;
    let pulledHere: boolean;
    try {
      record = this.#store.readPulled(imageRef);
      pulledHere =
        record !== undefined || this.#inFlight.has(image) || this.#store.intentExists(image);
    } catch {
      return true;
    }
    if (!pulledHere) return false;
    if (record === undefined) return true;
    const key = recordKey(image);
    const proofs = key === undefined ? undefined : record.credentialMapping[key];
    if (proofs === undefined) return true;
    if (proofs.nodePodsAccessible) return false;
    return !this.#isProven(image, imageRef, proofs, pod);
  }

  /** Deletes records of images that are not in `imageRefs`, last updated before `until`. */
  pruneUnknownRecords(imageRefs: Iterable<string>, until: Date): number {
    const known = new Set(imageRefs);
    let pruned = 0;
    for (const { imageRef, lastUpdatedTime } of this.#store.listPulled()) {
      if (lastUpdatedTime.getTime() >= until.getTime() || known.has(imageRef)) continue;
      this.#store.deletePulled(imageRef);
      pruned++;
    }
    return pruned;
  }

  #decrement(image: string): void {
    const count = this.#inFlight.get(image) ?? 0;
    if (count > 1) {
      this.#inFlight.set(image, count - 1);
      return;
    }
    this.#store.deleteIntent(image);
    this.#inFlight.delete(image);
  }

  #isProven(
    image: string,
    imageRef: string,
    proofs: ImagePullCredentials,
    pod: PodCredentials,
  ): boolean {
    const recorded = proofs.kubernetesSecrets ?? [];
    for (const presented of pod.secrets ?? []) {
      for (const proof of recorded) {
        const sameHash =
          proof.credentialHash !== '' && proof.credentialHash === presented.credentialHash;
        const sameCoordinates = coordinates(proof) === coordinates(presented);
        if (!sameHash && !sameCoordinates) continue;
        const mayWrite = recorded.length < MATCH_WRITE_LIMIT;
        if (!sameHash && !mayWrite) continue;
        if (mayWrite && sameHash !== sameCoordinates) this.#remember(image, imageRef, presented);
        return true;
      }
    }
    const account = pod.serviceAccount;
    if (account === undefined) return false;
    const accounts = proofs.kubernetesServiceAccounts ?? [];
    return accounts.some((proof) => coordinates(proof) === coordinates(account));
  }

  /** Adds the proof that a pod presented; the decision stands even if that fails. */
  #remember(image: string, imageRef: string, secret: ImagePullSecret): void {
    try {
      this.#writePulledIfChanged(image, imageRef, { kubernetesSecrets: [secret] });
    } catch {
      // As in the reference: only logged there.
    }
  }

  #writePulledIfChanged(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): void {
    const key = recordKey(image);
    if (key === undefined) throw new Error('invalid image name');
    const record = this.#store.readPulled(imageRef);
    const stored = record?.credentialMapping[key];
    const merged = merge(stored, credentials, record === undefined);
    if (record !== undefined && merged === stored) return;
    const credentialMapping: Record<string, ImagePullCredentials> = Object.assign(
      Object.create(null),
      record?.credentialMapping,
    );
    if (merged !== undefined) credentialMapping[key] = merged;
    this.#store.writePulled({ imageRef, lastUpdatedTime: this.#now(), credentialMapping });
  }
}

function recordKey(image: string): string | undefined {
  try {
    return parseImageName(image).name;
  } catch {
    return undefined;
  }
}

function coordinates({ namespace, name, uid }: ImagePullServiceAccount): string {
  return `${namespace}\0${name}\0${uid}`;
}

/** The merged credentials; the very object `stored` where nothing changes. */
function merge(
  stored: ImagePullCredentials | undefined,
  added: ImagePullCredentials | null,
  isNewRecord: boolean,
): ImagePullCredentials | undefined {
  if (added === null) return stored;
  const secrets = added.kubernetesSecrets ?? [];
  const accounts = added.kubernetesServiceAccounts ?? [];
  const isEmpty = !added.nodePodsAccessible && secrets.length === 0 && accounts.length === 0;
  if (stored === undefined) return isEmpty && !isNewRecord ? undefined : added;
  if (isEmpty || stored.nodePodsAccessible) return stored;
  if (added.nodePodsAccessible) return { nodePodsAccessible: true };
  if (secrets.length > 0) {
    const kubernetesSecrets = mergeLists(stored.kubernetesSecrets ?? [], secrets);
    return kubernetesSecrets === undefined ? stored : { ...stored, kubernetesSecrets };
  }
  const kubernetesServiceAccounts = mergeLists(stored.kubernetesServiceAccounts ?? [], accounts);
  return kubernetesServiceAccounts === undefined
    ? stored
    : { ...stored, kubernetesServiceAccounts };
}

/** The union by coordinates, sorted by their bytes; `undefined` where nothing is new. */
function mergeLists<T extends ImagePullServiceAccount & { credentialHash?: string }>(
  stored: readonly T[],
  added: readonly T[],
): T[] | undefined {
  const merged = new Map(stored.map((item) => [coordinates(item), item]));
  let changed = false;
  for (const item of added) {
    const previous = merged.get(coordinates(item));
    if (previous !== undefined && previous.credentialHash === item.credentialHash) continue;
    merged.set(coordinates(item), item);
    changed = true;
  }
  if (!changed) return undefined;
  // A NUL between the parts sorts before every other byte, so this is namespace, name, uid.
  const byBytes = ([a]: [string, T], [b]: [string, T]): number =>
    Buffer.compare(Buffer.from(a), Buffer.from(b));
  return [...merged].sort(byBytes).map(([, item]) => item);
}
