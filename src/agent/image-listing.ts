/** What is on the node and who has proven access to it, without a hash: `GET /v1/images`. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PullManagerError } from '../errors.ts';
import type { RuntimeImage } from '../images/image-service.ts';
import type { ImagePullCredentials, ImagePulledRecord } from '../records/record.ts';
import type { AgentServices } from './services.ts';

/** Coordinates of a secret or service account. */
interface Coordinates {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** Who may use an image under one name without asking the registry. */
interface ListedProof {
  readonly everyPod: boolean;
  readonly secrets: readonly Coordinates[];
  readonly serviceAccounts: readonly Coordinates[];
}

/** A record, as it is listed. */
interface ListedRecord {
  readonly imageRef: string;
  readonly lastUpdatedTime: Date;
  /** By image name, without tag and digest. */
  readonly proofs: Readonly<Record<string, ListedProof>>;
}

/** Items that are written without letting other requests have a turn. */
const ITEMS_PER_TURN = 500;

/**
 * The listing as JSON, in pieces:
 *
 * - `images`: what the runtime has, each with its `record`, or `null`;
 * - `recordsWithoutImage`: of images that the runtime no longer has;
 * - `intents`: images whose pull is under way or was interrupted;
 * - `errors`: records and intents that cannot be read.
 *
 * Rejects before the first piece where the runtime or the store does not answer.
 */
export async function listImages(
  { pullManager, runtime }: Pick<AgentServices, 'pullManager' | 'runtime'>,
  signal: AbortSignal,
): Promise<AsyncIterable<string>> {
  const [images, pulled, intents] = await Promise.all([
    runtime.listImages(signal),
    pullManager.listImagePulledRecords(),
    pullManager.listImagePullIntents(),
  ]);
  const left = new Map(pulled.records.map((record) => [record.imageRef, record]));
  const listed = images.map((image) => {
    const record = left.get(image.id);
    left.delete(image.id);
    return { image, record };
  });
  return pieces({
    images: map(listed, ({ image, record }) => listedImage(image, record)),
    recordsWithoutImage: map(left.values(), listedRecord),
    intents: map(intents.records, ({ image }) => image),
    errors: map([...pulled.errors, ...intents.errors], listedError),
  });
}

function listedImage(
  { id, repoTags, repoDigests, sizeBytes, pinned }: RuntimeImage,
  record: ImagePulledRecord | undefined,
): object {
  const listed = record === undefined ? null : listedRecord(record);
  return { imageRef: id, repoTags, repoDigests, sizeBytes, pinned, record: listed };
}

function listedRecord({
  imageRef,
  lastUpdatedTime,
  credentialMapping,
}: ImagePulledRecord): ListedRecord {
  const proofs = Object.entries(credentialMapping).map(([name, credentials]) => [
    name,
    listedProof(credentials),
  ]);
  return { imageRef, lastUpdatedTime, proofs: Object.fromEntries(proofs) };
}

/** Field by field: hashes must not get out. */
function listedProof(credentials: ImagePullCredentials): ListedProof {
  return {
    everyPod: credentials.nodePodsAccessible === true,
    secrets: (credentials.kubernetesSecrets ?? []).map(coordinatesOf),
    serviceAccounts: (credentials.kubernetesServiceAccounts ?? []).map(coordinatesOf),
  };
}

function coordinatesOf({ uid, namespace, name }: Coordinates): Coordinates {
  return { uid, namespace, name };
}

function listedError({ code, message }: PullManagerError): object {
  return { code, message };
}

function* map<From, To>(items: Iterable<From>, change: (item: From) => To): Generator<To> {
  for (const item of items) yield change(item);
}

/** An object of arrays as JSON. */
async function* pieces(lists: Readonly<Record<string, Iterable<unknown>>>): AsyncGenerator<string> {
  let piece = '{';
  let itemCount = 0;
  for (const [listIndex, [name, items]] of Object.entries(lists).entries()) {
    piece += `${listIndex === 0 ? '' : ','}${JSON.stringify(name)}:[`;
    let separator = '';
    for (const item of items) {
      piece += separator + JSON.stringify(item);
      separator = ',';
      if (++itemCount % ITEMS_PER_TURN !== 0) continue;
      yield piece;
      piece = '';
      await nextTurn();
    }
    piece += ']';
  }
  yield `${piece}}\n`;
}
