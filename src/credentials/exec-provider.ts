/**
 * Exec credential providers, the kubelet's plug-ins: programs that are asked for an image and answer
 * with credentials by location, and with how long these hold.
 *
 * Source: kubernetes pkg/credentialprovider/plugin/plugin.go; kubelet credentialprovider API.
 */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { abortedError, quote } from '../errors.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { JoinedCalls, unlessAborted } from './joined-calls.ts';
import { JsonInputError } from './json-input.ts';
import { locationMatches } from './keyring.ts';
import type { PodServiceAccount } from './pod-identity.ts';
import type { ProviderSettings, TokenAttributes } from './provider-config.ts';
import {
  type ProvidedEntries,
  type ProviderResponse,
  parseProviderResponse,
} from './provider-response.ts';
import type { CredentialSourceIdentity } from './pull-credential.ts';
import { parseLocation } from './registry-location.ts';
import { type ProgramRunner, programFailed } from './run-program.ts';

/** Answers of one provider that are kept. */
export const PROVIDER_ANSWERS_MAX = 1024;

/** What a provider has for an image, and on whose behalf. */
export interface Provided {
  readonly entries: ProvidedEntries;
  readonly source: CredentialSourceIdentity;
}

/** What a provider is told of a service account. */
interface AccountProof {
  readonly account: PodServiceAccount;
  readonly token: string;
  readonly tokenHash: string;
  /** Sorted by name. */
  readonly annotations: readonly (readonly [string, string])[];
}

const WAITING = 'waiting for a token';
const NODE: CredentialSourceIdentity = { kind: 'node' };
const NOTHING: Provided = { entries: [], source: NODE };

/** One configured provider, with its answers. */
export class ExecProvider {
  readonly #settings: ProviderSettings;
  readonly #path: string;
  readonly #runner: ProgramRunner;
  readonly #tokenTimeoutMs: number;
  readonly #answers: ExpiringCache<ProvidedEntries>;
  readonly #calls = new JoinedCalls<ProviderResponse>();

  constructor(
    settings: ProviderSettings,
    options: {
      readonly binDir: string;
      readonly runner: ProgramRunner;
      /** How long the pod may take to give a token. */
      readonly tokenTimeoutMs: number;
      readonly now: () => number;
    },
  ) {
    this.#settings = settings;
    this.#path = resolve(options.binDir, settings.name);
    this.#runner = options.runner;
    this.#tokenTimeoutMs = options.tokenTimeoutMs;
    this.#answers = new ExpiringCache(PROVIDER_ANSWERS_MAX, options.now);
  }

  /** The program. */
  get path(): string {
    return this.#path;
  }

  /**
   * What the provider has for an image; nothing where it is not meant for the image or the account.
   *
   * @param imageName Normalised, without tag and digest, as the kubelet gives it.
   * @throws `CREDENTIAL_PROVIDER_FAILED`; `QUEUE_FULL`; `ABORTED`; `CLOSED`.
   */
  async provide(
    imageName: string,
    account: PodServiceAccount | undefined,
    signal: AbortSignal,
  ): Promise<Provided> {
    if (!this.#isMeantFor(imageName)) return NOTHING;
    const { tokenAttributes } = this.#settings;
    if (tokenAttributes === undefined) {
      return { entries: await this.#entries(imageName, undefined, signal), source: NODE };
    }
    if (account === undefined) {
      if (tokenAttributes.requireServiceAccount) return NOTHING;
      return { entries: await this.#entries(imageName, undefined, signal), source: NODE };
    }
    const annotations = chosenAnnotations(account, tokenAttributes);
    if (annotations === undefined) return NOTHING;
    const token = await this.#tokenOf(account, tokenAttributes, signal);
    const proof = { account, token, tokenHash: sha256(token), annotations };
    const { uid, namespace, name } = account;
    return {
      entries: await this.#entries(imageName, proof, signal),
      source: { kind: 'serviceAccount', uid, namespace, name },
    };
  }

  /** Forgets all answers. */
  clear(): void {
    this.#answers.clear();
  }

  #isMeantFor(imageName: string): boolean {
    const target = parseLocation(imageName);
    if (target === undefined) return false;
    return this.#settings.matchImages.some((pattern) => locationMatches(pattern, target));
  }

  async #tokenOf(
    account: PodServiceAccount,
    { audience }: TokenAttributes,
    signal: AbortSignal,
  ): Promise<string> {
    const limit = AbortSignal.timeout(this.#tokenTimeoutMs);
    let token: unknown;
    try {
      const asked = async () => await account.token(audience, limit);
      token = await unlessAborted(unlessAborted(asked(), limit, WAITING), signal, WAITING);
    } catch (cause) {
      if (signal.aborted) throw abortedError(WAITING, signal.reason);
      const reason = limit.aborted
        ? `was not run: there was no token within ${this.#tokenTimeoutMs} ms`
        : 'was not run: the token source of the account failed';
      throw programFailed(this.#path, reason, limit.aborted ? undefined : cause);
    }
    if (typeof token === 'string' && token !== '') return token;
    throw programFailed(this.#path, `was not run: there is no token for ${quote(audience)}`);
  }

  async #entries(
    imageName: string,
    proof: AccountProof | undefined,
    signal: AbortSignal,
  ): Promise<ProvidedEntries> {
    const owner = this.#cacheOwner(proof);
    const registry = imageName.split('/', 1)[0]!;
    const keys = {
      Image: JSON.stringify(['Image', imageName, owner]),
      Registry: JSON.stringify(['Registry', registry, owner]),
      Global: JSON.stringify(['Global', owner]),
    };
    for (const key of Object.values(keys)) {
      const known = this.#answers.get(key);
      if (known !== undefined) return known;
    }
    const call = JSON.stringify([imageName, owner, proof?.tokenHash]);
    const response = await this.#calls.run(
      call,
      (shared) => this.#ask(imageName, proof, shared),
      signal,
      'asking a credential provider',
    );
    const { entries, cacheKeyType } = response;
    const key = Object.entries(keys).find(([type]) => type === cacheKeyType)?.[1];
    if (key === undefined) {
      const known = Object.keys(keys).join(', ');
      throw programFailed(this.#path, `gave an answer whose cacheKeyType is none of ${known}`);
    }
    this.#answers.set(key, entries, response.cacheMs ?? this.#settings.defaultCacheMs);
    return entries;
  }

  /** For whom an answer holds: for everybody, for an account, or for the bearer of a token. */
  #cacheOwner(proof: AccountProof | undefined): readonly unknown[] {
    if (proof === undefined) return [];
    const { account, annotations, tokenHash } = proof;
    const owner = [account.namespace, account.name, account.uid, annotations];
    return this.#settings.tokenAttributes?.cacheType === 'Token' ? [...owner, tokenHash] : owner;
  }

  async #ask(
    imageName: string,
    proof: AccountProof | undefined,
    signal: AbortSignal,
  ): Promise<ProviderResponse> {
    const { apiVersion, args, env } = this.#settings;
    const request = {
      kind: 'CredentialProviderRequest',
      apiVersion,
      image: imageName,
      ...(proof === undefined ? {} : { serviceAccountToken: proof.token }),
      ...(proof === undefined || proof.annotations.length === 0
        ? {}
        : { serviceAccountAnnotations: Object.fromEntries(proof.annotations) }),
    };
    const { exitCode, output } = await this.#runner.run(
      {
        path: this.#path,
        args,
        env: { ...process.env, ...Object.fromEntries(env) },
        input: `${JSON.stringify(request)}\n`,
      },
      signal,
    );
    if (exitCode !== 0) throw programFailed(this.#path, `ended with exit code ${exitCode}`);
    try {
      const response = parseProviderResponse(output, apiVersion);
      this.#checkNoEcho(response, proof);
      return response;
    } catch (error) {
      if (!(error instanceof JsonInputError)) throw error;
      throw programFailed(this.#path, `gave an answer that cannot be used: ${error.reason}`);
    }
  }

  /** A token that is given back as the password holds for its pod alone. */
  #checkNoEcho({ entries }: ProviderResponse, proof: AccountProof | undefined): void {
    if (proof === undefined || this.#settings.tokenAttributes?.cacheType === 'Token') return;
    if (entries.some(([, { password }]) => password === proof.token)) {
      throw new JsonInputError('the token itself is a password only where cacheType is "Token"');
    }
  }
}

/** The annotations that the provider is told; `undefined` where the account lacks one. */
function chosenAnnotations(
  account: PodServiceAccount,
  { requiredAnnotationKeys, optionalAnnotationKeys }: TokenAttributes,
): readonly (readonly [string, string])[] | undefined {
  const given = new Map(Object.entries(account.annotations ?? {}));
  if (!requiredAnnotationKeys.every((key) => given.has(key))) return undefined;
  return [...requiredAnnotationKeys, ...optionalAnnotationKeys]
    .filter((key) => given.has(key))
    .sort()
    .map((key) => [key, given.get(key)!] as const);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
