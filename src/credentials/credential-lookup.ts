/**
 * Which credentials a pod has for an image: those of its pull secrets, then those of the node.
 *
 * Source: kubernetes pkg/credentialprovider, pkg/kubelet/images/image_manager.go.
 */
import { setMaxListeners } from 'node:events';
import {
  abortedError,
  closedError,
  invalidArgument,
  PULL_MANAGER_ERROR_CODES,
  PullManagerError,
  quote,
} from '../errors.ts';
import { normalizedImageName } from '../images/image-name.ts';
import { type Logger, resolveLogger } from '../logger.ts';
import { DockerHelpers } from './docker-helper.ts';
import type { Provided } from './exec-provider.ts';
import { Keyring } from './keyring.ts';
import { NodeKeyring } from './node-keyring.ts';
import type { PodServiceAccount, PullSecret } from './pod-identity.ts';
import { ProviderSet } from './provider-set.ts';
import type { PullCredential, RegistryAuth } from './pull-credential.ts';
import { ProgramRunner } from './run-program.ts';
import { secretCredentials } from './secret-keyring.ts';

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
  readonly #runner: ProgramRunner;
  readonly #helpers: DockerHelpers;
  readonly #nodeKeyring: NodeKeyring;
  readonly #providers: ProviderSet | undefined;
  readonly #logger: Logger;
  #isClosed = false;

  private constructor(options: CredentialLookupOptions) {
    const { nodeConfigFiles = [], providerConfigFile, providerBinDir, logger } = options;
    const { programTimeoutMs = PROGRAM_TIMEOUT_MS, helperCacheMs = HELPER_CACHE_MS } = options;
    const { helperPath = process.env.PATH ?? '', now = () => performance.now() } = options;
    this.#runner = new ProgramRunner({ timeoutMs: programTimeoutMs });
    this.#helpers = new DockerHelpers(this.#runner, helperPath, { cacheMs: helperCacheMs, now });
    this.#nodeKeyring = new NodeKeyring(nodeConfigFiles);
    this.#logger = resolveLogger(logger);
    if (providerConfigFile !== undefined && providerBinDir !== undefined) {
      this.#providers = new ProviderSet({
        configFile: providerConfigFile,
        binDir: providerBinDir,
        runner: this.#runner,
        tokenTimeoutMs: programTimeoutMs,
        now,
      });
    }
  }

  /**
   * Checks the options and reads the configured files once, so that mistakes show at the start.
   *
   * @throws `INVALID_ARGUMENT` for an option; `CREDENTIALS_INVALID` for a file that is not what it
   * should be, or names a program that is not there; `ABORTED`.
   */
  static async open(
    options: CredentialLookupOptions = {},
    signal?: AbortSignal,
  ): Promise<CredentialLookup> {
    const what = 'opening the credential lookup';
    if (signal?.aborted) throw abortedError(what, signal.reason);
    checkOptions(options);
    const lookup = new CredentialLookup(options);
    await lookup.#nodeKeyring.check();
    await lookup.#providers?.check();
    if (signal?.aborted) throw abortedError(what, signal.reason);
    return lookup;
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
   * `CREDENTIAL_PROVIDER_FAILED` naming the program; `QUEUE_FULL`; `ABORTED`; `CLOSED`.
   */
  async pullCredentials(
    request: CredentialRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<readonly PullCredential[]> {
    this.#checkGoingOn(options.signal);
    const { image, secrets = [], serviceAccount } = request;
    checkRequest(secrets, serviceAccount);
    const imageName = normalizedImageName(image);
    const fromSecrets = secretCredentials(secrets, imageName);
    const [node, provided] = await withOwnSignal(options.signal, (signal) =>
      Promise.all([
        this.#fromNode(imageName, signal),
        this.#providers?.provide(imageName, serviceAccount, signal) ?? [],
      ]),
    );
    this.#checkGoingOn(options.signal);
    const found = [
      ...fromSecrets,
      ...node.auths.map((auth): PullCredential => ({ auth, source: { kind: 'node' } })),
      ...fromProviders(provided, imageName),
    ];
    const failures = [...node.failures, ...provided.flatMap(failureOf)];
    this.#report(failures, found);
    return found;
  }

  /** Ends running programs and forgets every secret. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#runner.close();
    this.#helpers.clear();
    this.#nodeKeyring.clear();
    this.#providers?.clear();
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What the node's files hold, what their helpers say before it. */
  async #fromNode(imageName: string, signal: AbortSignal): Promise<NodeFindings> {
    const host = imageName.split('/', 1)[0]!;
    const { helpers, auths } = await this.#nodeKeyring.lookup(imageName, host);
    const answers = await Promise.allSettled(
      helpers.map((helper) => this.#helpers.get(helper, host, signal)),
    );
    const answered = answers.flatMap((answer) =>
      answer.status === 'fulfilled' && answer.value !== undefined ? [answer.value] : [],
    );
    return { auths: [...answered, ...auths], failures: answers.flatMap(failureOf) };
  }

  #checkGoingOn(signal: AbortSignal | undefined): void {
    const what = 'looking up credentials';
    if (signal?.aborted) throw abortedError(what, signal.reason);
    if (this.#isClosed) throw closedError(what, 'the credential lookup');
  }

  /** Throws a failure that nothing makes up for: an anonymous pull would only hide it. */
  #report(failures: readonly unknown[], found: readonly PullCredential[]): void {
    const fatal = failures.find((failure) => !isOfProgram(failure));
    if (fatal !== undefined) throw fatal;
    const hasOther = found.some(({ auth }) => Object.keys(auth).length > 0);
    if (failures.length > 0 && !hasOther) throw failures[0];
    for (const failure of failures) {
      const { code, path, message } = failure as PullManagerError;
      this.#logger.warn(message, { code, path });
    }
  }
}

const PROGRAM_TIMEOUT_MS = 60_000;
const HELPER_CACHE_MS = 60_000;

interface NodeFindings {
  readonly auths: readonly RegistryAuth[];
  readonly failures: readonly unknown[];
}

/**
 * Runs something with a signal of its own that follows the caller's, so that one call has one listener
 * there; aborted at the end, so that nothing outlives a call that fails half-way.
 */
async function withOwnSignal<T>(
  signal: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const own = new AbortController();
  setMaxListeners(0, own.signal);
  const follow = () => own.abort(signal?.reason);
  signal?.addEventListener('abort', follow, { once: true });
  try {
    return await run(own.signal);
  } finally {
    signal?.removeEventListener('abort', follow);
    own.abort();
  }
}

/** The answers of all providers make one keyring, as in the kubelet. */
function fromProviders(
  settled: readonly PromiseSettledResult<Provided>[],
  imageName: string,
): readonly PullCredential[] {
  const keyring = new Keyring<PullCredential>();
  for (const answer of settled) {
    if (answer.status === 'rejected') continue;
    const { entries, source } = answer.value;
    for (const [location, auth] of entries) keyring.add(location, { auth, source });
  }
  return keyring.lookup(imageName);
}

function failureOf(settled: PromiseSettledResult<unknown>): readonly unknown[] {
  return settled.status === 'rejected' ? [settled.reason] : [];
}

const CODES_OF_PROGRAMS: ReadonlySet<string> = new Set([
  PULL_MANAGER_ERROR_CODES.CREDENTIAL_PROVIDER_FAILED,
  PULL_MANAGER_ERROR_CODES.QUEUE_FULL,
]);

function isOfProgram(failure: unknown): boolean {
  return failure instanceof PullManagerError && CODES_OF_PROGRAMS.has(failure.code);
}

function checkRequest(
  secrets: readonly PullSecret[],
  account: PodServiceAccount | undefined,
): void {
  if (!Array.isArray(secrets)) throw invalidArgument('secrets', 'must be an array');
  if (account === undefined) return;
  if (typeof account !== 'object' || account === null) {
    throw invalidArgument('serviceAccount', 'must be an object');
  }
  for (const field of ['uid', 'namespace', 'name'] as const) {
    if (typeof account[field] !== 'string' || account[field] === '') {
      throw invalidArgument(`serviceAccount.${field}`, 'must be a string that is not empty');
    }
  }
  if (typeof account.token !== 'function') {
    throw invalidArgument('serviceAccount.token', 'must be a function');
  }
  for (const [key, value] of Object.entries(account.annotations ?? {})) {
    if (typeof value !== 'string') {
      throw invalidArgument(`serviceAccount.annotations[${quote(key)}]`, 'must be a string');
    }
  }
}

function checkOptions(options: CredentialLookupOptions): void {
  const { nodeConfigFiles = [], providerConfigFile, providerBinDir, helperPath } = options;
  if (!Array.isArray(nodeConfigFiles) || !nodeConfigFiles.every(isPath)) {
    throw invalidArgument('nodeConfigFiles', 'must be an array of paths');
  }
  for (const [argument, value] of Object.entries({ providerConfigFile, providerBinDir })) {
    if (value !== undefined && !isPath(value)) throw invalidArgument(argument, 'must be a path');
  }
  if ((providerConfigFile === undefined) !== (providerBinDir === undefined)) {
    const missing = providerBinDir === undefined ? 'providerBinDir' : 'providerConfigFile';
    throw invalidArgument(missing, 'is missing: the two go together');
  }
  if (helperPath !== undefined && typeof helperPath !== 'string') {
    throw invalidArgument('helperPath', 'must be directories separated by ":"');
  }
  checkMs(options.programTimeoutMs, 'programTimeoutMs', 1);
  checkMs(options.helperCacheMs, 'helperCacheMs', 0);
}

function isPath(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

/** Timers take no longer delays. */
const MS_MAX = 2 ** 31 - 1;

function checkMs(value: number | undefined, argument: string, min: number): void {
  if (value === undefined) return;
  if (typeof value === 'number' && value >= min && value <= MS_MAX) return;
  throw invalidArgument(argument, `must be milliseconds from ${min} to ${MS_MAX}`);
}
