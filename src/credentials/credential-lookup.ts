/**
 * Which credentials a pod has for an image: those of its pull secrets, then those of the node.
 *
 * Source: kubernetes pkg/credentialprovider, pkg/kubelet/images/image_manager.go.
 */
import type { Logger } from '../options.ts';
import type { PodServiceAccount, PullSecret } from './pod-identity.ts';
import type { PullCredential } from './pull-credential.ts';

/** Where the node's own credentials come from. Without any, a pod has those of its secrets. */
export interface CredentialLookupOptions {
  /**
   * Docker `config.json` or `.dockercfg` files, in the order in which they count. A file that is not
   * there holds nothing; files are read again when they change. @default none
   */
  readonly nodeConfigFiles?: readonly string[];
  /** A kubelet's `CredentialProviderConfig`, as JSON. Goes with `providerBinDir`. @default none */
  readonly providerConfigFile?: string;
  /** The directory of the programs that `providerConfigFile` names. */
  readonly providerBinDir?: string;
  /**
   * Where programs `docker-credential-*` are searched, directories separated by `:`.
   * @default the `PATH` of the process
   */
  readonly helperPath?: string;
  /** How long one helper or provider program may take, waiting for its turn included. @default 60_000 */
  readonly programTimeoutMs?: number;
  /** How long an answer of a docker credential helper is used; 0: never again. @default 60_000 */
  readonly helperCacheMs?: number;
  /** Told of programs that failed where other credentials were found. @default silent */
  readonly logger?: Logger;
  /** A clock in milliseconds that never goes back. @default performance.now */
  readonly now?: () => number;
}

/** Which image, and what the pod brings along. */
export interface CredentialRequest {
  /** As the pod has it. */
  readonly image: string;
  /** In the order of the pod's `imagePullSecrets`. @default none */
  readonly secrets?: readonly PullSecret[];
  /** @default none */
  readonly serviceAccount?: PodServiceAccount;
}

/**
 * Looks up credentials for images: `CredentialLookup.open` once, `pullCredentials` for each pull.
 *
 * ```ts
 * const lookup = await CredentialLookup.open({ nodeConfigFiles: ['/root/.docker/config.json'] });
 * const credentials = await lookup.pullCredentials({ image, secrets });
 * await lookup.close();
 * ```
 */
export class CredentialLookup implements AsyncDisposable {
  private constructor(options: CredentialLookupOptions) {
    void options;
  }

  /**
   * Checks the options and reads the configured files once, so that mistakes show at the start.
   *
   * @throws `INVALID_ARGUMENT` for an option; `CREDENTIALS_INVALID` for a file that is not what it
   * should be; `ABORTED`.
   */
  static async open(
    options: CredentialLookupOptions = {},
    signal?: AbortSignal,
  ): Promise<CredentialLookup> {
    signal?.throwIfAborted();
    await Promise.resolve();
    return new CredentialLookup(options);
  }

  /**
   * The credentials for an image, in the order in which they are to be tried; none: anonymously.
   *
   * First the pod's secrets, then docker config files and their helpers, then credential providers.
   * A program that fails is passed over, and reported to the logger, where something else was found;
   * where nothing was, the lookup rejects with its failure.
   *
   * @throws `IMAGE_NAME_INVALID`; `INVALID_ARGUMENT` for a secret or account of the wrong shape;
   * `CREDENTIALS_INVALID` naming the secret or file and the place in it, for any malformed entry;
   * `CREDENTIAL_PROVIDER_FAILED` naming the program; `ABORTED`; `CLOSED`.
   */
  async pullCredentials(
    request: CredentialRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<readonly PullCredential[]> {
    options.signal?.throwIfAborted();
    await Promise.resolve(request);
    return [];
  }

  /** Ends running programs and forgets every secret. Idempotent. */
  async close(): Promise<void> {
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
