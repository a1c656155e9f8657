/**
 * The writes of a pull: its intent, and the outcome that ends it.
 *
 * Requests are sent during the call, so those of one caller on one image take effect in call order.
 */
import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import type { Emitters } from '../events/emitter.ts';
import type { PullManagerEvents } from '../events/messages.ts';
import { REQUEST } from '../protocol/frames.ts';
import type { ImagePullCredentials } from '../records/record.ts';
import { listedCredentials, normalizeCredentials } from '../records/validate.ts';
import { textProblem } from './arguments.ts';
import type { EngineClient } from './engine-client.ts';
import type { Host } from './host.ts';
import type { RecordKeys } from './record-keys.ts';
import type { Replica } from './replica.ts';

/** Used by one thread. Every promise resolves when the write is durable. */
export class PullWriter {
  readonly #client: EngineClient;
  readonly #replica: Replica;
  readonly #recordKeys: RecordKeys;
  readonly #keepsProofTimes: boolean;
  readonly #hasServiceAccounts: boolean;
  readonly #events: Emitters<PullManagerEvents>;

  constructor({ client, decider, recordKeys, handle, events }: Host) {
    this.#client = client;
    this.#replica = decider.replica;
    this.#recordKeys = recordKeys;
    this.#events = events;
    this.#keepsProofTimes = Number.isFinite(handle.reverifyAfterMs);
    this.#hasServiceAccounts = KUBELET_BEHAVIOUR[handle.compatibility].hasServiceAccounts;
  }

  /** Notes that a pull begins. */
  recordIntent(image: string): Promise<void> {
    const written = this.#client.write(this.#client.ownerOf(image), REQUEST.INTENT, image);
    const { intent } = this.#events;
    if (intent.isWatched) intent.emitAfter(written, { image });
    return written;
  }

  /** Ends a pull that gave nothing. */
  recordFailure(image: string): Promise<void> {
    const written = this.#client.write(this.#client.ownerOf(image), REQUEST.OUTCOME, image);
    const { outcome } = this.#events;
    if (outcome.isWatched) outcome.emitAfter(written, { image, outcome: 'failed' });
    return written;
  }

  /**
   * Ends a pull that gave `imageRef` and that `credentials` opened; `null`: unknown.
   *
   * Throws as `adopt`.
   */
  recordPulled(
    image: string,
    imageRef: string,
    credentials: ImagePullCredentials | null,
  ): Promise<void> {
    const written = this.adopt(image, imageRef, credentials);
    const { outcome } = this.#events;
    if (outcome.isWatched) outcome.emitAfter(written, { image, outcome: 'pulled', imageRef });
    return written;
  }

  /**
   * Records an image and ends its pull, which need not be one of this run. The record first, then
   * the end of the pull: a crash in between leaves an intent too many.
   *
   * Throws `INVALID_ARGUMENT` and `IMAGE_NAME_INVALID` during the call, before anything is sent.
   */
  adopt(image: string, imageRef: string, credentials: ImagePullCredentials | null): Promise<void> {
    const problem = textProblem('imageRef', imageRef);
    if (problem !== undefined) throw problem;
    const proven = this.#proven(this.#known(normalizeCredentials(credentials)));
    const client = this.#client;
    const imageName = this.#recordKeys.of(image);
    const recordOwner = client.ownerOf(imageRef);
    const intentOwner = client.ownerOf(image);
    const { PULLED, OUTCOME } = REQUEST;
    // Who has decided on the image is likely to again: the answer spares that decision a trip.
    const isAsked = this.#replica.wasUsed(imageRef);
    if (recordOwner === intentOwner) {
      return client.write(recordOwner, PULLED, image, imageRef, imageName, proven, isAsked);
    }
    return client
      .write(recordOwner, PULLED, undefined, imageRef, imageName, proven, isAsked)
      .then(() => client.write(intentOwner, OUTCOME, image));
  }

  /** What a kubelet of this level knows of the credentials. */
  #known(credentials: ImagePullCredentials | null): ImagePullCredentials | null {
    if (this.#hasServiceAccounts || credentials?.kubernetesServiceAccounts === undefined) {
      return credentials;
    }
    return listedCredentials(credentials.kubernetesSecrets ?? [], []);
  }

  /** The same credentials, stamped as proven now where this engine keeps such times. */
  #proven(credentials: ImagePullCredentials | null): ImagePullCredentials | null {
    if (credentials === null || !this.#keepsProofTimes) return credentials;
    const provenAtMs = Date.now();
    const { nodePodsAccessible, kubernetesSecrets, kubernetesServiceAccounts } = credentials;
    return normalizeCredentials({
      ...(nodePodsAccessible === true ? { nodePodsAccessible, provenAtMs } : {}),
      kubernetesSecrets: kubernetesSecrets?.map((secret) => ({ ...secret, provenAtMs })),
      kubernetesServiceAccounts: kubernetesServiceAccounts?.map((account) => ({
        ...account,
        provenAtMs,
      })),
    });
  }
}
