/**
 * The credentials of one request: looked up once at most and as late as possible, and what they are
 * for the records.
 */
import { credentialHash } from '../credentials/credential-hash.ts';
import type { PullCredential, PullCredentialsSource } from '../credentials/pull-credential.ts';
import { redactedAuth } from '../credentials/redacted-auth.ts';
import { PullManagerError } from '../errors.ts';
import type {
  ImagePullCredentials,
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
  PodCredentialsSource,
} from '../records/record.ts';
import { checkPullCredentials } from './check-request.ts';
import { unlessEnded } from './unless-ended.ts';

/** Anybody on the node may use what was pulled without credentials, or with the node's own. */
const NODE_WIDE: ImagePullCredentials = Object.freeze({ nodePodsAccessible: true });

/** Used by one request. */
export class PresentedCredentials {
  readonly #source: PullCredentialsSource;
  #found: Promise<readonly PullCredential[]> | undefined;

  /** @param source Checked, where it is a list. */
  constructor(source: PullCredentialsSource) {
    this.#source = source;
  }

  /**
   * As the pull manager compares them: without those of the node, and one service account at most.
   * Given credentials are there at once, which spares the decision a wait; others are looked up.
   *
   * @param signal Ends the wait for them: they may never come, and decisions wait for so many only.
   */
  ofPod(signal: AbortSignal): PodCredentialsSource {
    const source = this.#source;
    if (typeof source !== 'function') return podCredentials(source);
    return async () => podCredentials(await unlessEnded(() => this.all(), signal));
  }

  /**
   * In the order in which they are to be tried. Copies: a caller that changes its own during a pull
   * must not change what is recorded as having opened the image.
   *
   * Errors: `CREDENTIALS_SOURCE_FAILED` with what the source threw as `cause`; `INVALID_ARGUMENT` for
   * what is no list of credentials.
   */
  all(): Promise<readonly PullCredential[]> {
    this.#found ??= this.#lookUp();
    return this.#found;
  }

  async #lookUp(): Promise<readonly PullCredential[]> {
    if (typeof this.#source !== 'function') return this.#source.map(copyOf);
    let found: unknown;
    try {
      found = await this.#source();
    } catch (cause) {
      const what = 'the credentials could not be looked up';
      throw new PullManagerError('CREDENTIALS_SOURCE_FAILED', what, { cause });
    }
    return checkPullCredentials(found).map(copyOf);
  }
}

function copyOf({ auth, source }: PullCredential): PullCredential {
  const { kind } = source;
  const copied = kind === 'node' ? { kind } : { kind, ...coordinatesOf(source) };
  return { auth: redactedAuth(auth), source: copied };
}

function podCredentials(credentials: readonly PullCredential[]): PodCredentials {
  const [first] = credentials;
  // What most pods present, without an array that is made to grow.
  if (credentials.length === 1 && first?.source.kind === 'secret') {
    return { secrets: [secretOf(first, first.source)] };
  }
  const secrets: ImagePullSecret[] = [];
  let serviceAccount: ImagePullServiceAccount | undefined;
  for (const credential of credentials) {
    const { source } = credential;
    if (source.kind === 'secret') secrets.push(secretOf(credential, source));
    else if (source.kind === 'serviceAccount') serviceAccount ??= coordinatesOf(source);
  }
  return serviceAccount === undefined ? { secrets } : { secrets, serviceAccount };
}

/**
 * What is recorded of the one credential that opened an image; `undefined`: it was pulled
 * anonymously.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, trackedToImagePullCreds.
 */
export function recordedCredentials(credential: PullCredential | undefined): ImagePullCredentials {
  if (credential === undefined) return NODE_WIDE;
  const { source } = credential;
  if (source.kind === 'node') return NODE_WIDE;
  return source.kind === 'secret'
    ? { kubernetesSecrets: [secretOf(credential, source)] }
    : { kubernetesServiceAccounts: [coordinatesOf(source)] };
}

function secretOf({ auth }: PullCredential, source: ImagePullServiceAccount): ImagePullSecret {
  // Field by field: a spread takes a tenth of the time of a request.
  const { uid, namespace, name } = source;
  return { uid, namespace, name, credentialHash: credentialHash(auth) };
}

function coordinatesOf({ uid, namespace, name }: ImagePullServiceAccount): ImagePullServiceAccount {
  return { uid, namespace, name };
}
