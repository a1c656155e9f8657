/** The configured exec credential providers, read again when their configuration changes. */
import { join } from 'node:path';
import { quote } from '../errors.ts';
import { isExecutableFile } from './docker-helper.ts';
import { ExecProvider, type Provided } from './exec-provider.ts';
import { credentialsInvalid } from './json-input.ts';
import type { PodServiceAccount } from './pod-identity.ts';
import {
  PROVIDER_CONFIG_BYTES_MAX,
  type ProviderSettings,
  parseProviderConfig,
} from './provider-config.ts';
import type { ProgramRunner } from './run-program.ts';
import { WatchedFile } from './watched-file.ts';

/** What the providers of one configuration share. */
export interface ProviderSetOptions {
  readonly configFile: string;
  readonly binDir: string;
  readonly runner: ProgramRunner;
  readonly tokenTimeoutMs: number;
  readonly now: () => number;
}

/** Providers in the order of their configuration. */
export class ProviderSet {
  readonly #options: ProviderSetOptions;
  readonly #file: WatchedFile<readonly ProviderSettings[]>;
  #settings: readonly ProviderSettings[] = [];
  #providers: readonly ExecProvider[] = [];

  constructor(options: ProviderSetOptions) {
    this.#options = options;
    this.#file = new WatchedFile(options.configFile, {
      what: 'credential provider configuration',
      bytesMax: PROVIDER_CONFIG_BYTES_MAX,
      parse: parseProviderConfig,
    });
  }

  /**
   * Reads the configuration and looks for the programs.
   *
   * @throws `CREDENTIALS_INVALID` naming the file.
   */
  async check(): Promise<void> {
    await this.#current();
    for (const { name } of this.#settings) {
      const path = join(this.#options.binDir, name);
      if (!(await isExecutableFile(path))) throw this.#invalid(`${quote(path)} is not a program`);
    }
  }

  /**
   * Asks all providers that are meant for an image, at the same time; answers and failures in the
   * order of the configuration.
   *
   * @throws `CREDENTIALS_INVALID` naming the configuration.
   */
  async provide(
    imageName: string,
    account: PodServiceAccount | undefined,
    signal: AbortSignal,
  ): Promise<readonly PromiseSettledResult<Provided>[]> {
    const providers = await this.#current();
    return await Promise.allSettled(
      providers.map((provider) => provider.provide(imageName, account, signal)),
    );
  }

  /** Forgets the configuration and all answers. */
  clear(): void {
    this.#file.clear();
    this.#replace([]);
  }

  async #current(): Promise<readonly ExecProvider[]> {
    const settings = await this.#file.read();
    if (settings === undefined) throw this.#invalid('there is no such file');
    if (settings !== this.#settings) this.#replace(settings);
    return this.#providers;
  }

  #replace(settings: readonly ProviderSettings[]): void {
    for (const provider of this.#providers) provider.clear();
    this.#settings = settings;
    this.#providers = settings.map((one) => new ExecProvider(one, this.#options));
  }

  #invalid(reason: string): Error {
    const { configFile } = this.#options;
    const what = `the credential provider configuration ${quote(configFile)}`;
    return credentialsInvalid(what, reason, { path: configFile });
  }
}
