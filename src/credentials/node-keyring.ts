/** The node's own docker config files: what they hold for an image, and which helpers they name. */
import { basename } from 'node:path';
import { quote } from '../errors.ts';
import {
  checkUsable,
  DOCKER_CONFIG_BYTES_MAX,
  type DockerConfig,
  parseDockerConfig,
} from './docker-config.ts';
import { readingCredentials } from './json-input.ts';
import { DEFAULT_REGISTRY_KEY, Keyring } from './keyring.ts';
import type { RegistryAuth } from './pull-credential.ts';
import { locationKey } from './registry-location.ts';
import { WatchedFile } from './watched-file.ts';

/** A file name that ends so holds the older form. */
const OLDER_FORM = '.dockercfg';

interface Entry {
  readonly auth: RegistryAuth;
  readonly file: string;
  readonly path: () => string;
}

interface Contents {
  /** What the files said; compared by identity to see whether they have changed. */
  readonly configs: readonly (DockerConfig | undefined)[];
  readonly keyring: Keyring<Entry>;
  /** By file: helpers by registry host, and the one for all others. */
  readonly helpers: readonly (readonly [ReadonlyMap<string, string>, string])[];
}

/** Docker config files, read again when they change. */
export class NodeKeyring {
  readonly #files: readonly WatchedFile<DockerConfig>[];
  #contents: Contents | undefined;

  constructor(paths: readonly string[]) {
    this.#files = paths.map(
      (path) =>
        new WatchedFile(path, {
          what: 'docker config file',
          bytesMax: DOCKER_CONFIG_BYTES_MAX,
          parse: (bytes) => {
            const form = basename(path).endsWith(OLDER_FORM) ? 'dockercfg' : 'config.json';
            return parseDockerConfig(bytes, form, { isTrusted: true });
          },
        }),
    );
  }

  /**
   * What the files have for an image: the names of helpers to ask for its registry, each once, and
   * credentials, both in order.
   *
   * @throws `CREDENTIALS_INVALID` naming the file.
   */
  async lookup(
    imageName: string,
    host: string,
  ): Promise<{ readonly helpers: readonly string[]; readonly auths: readonly RegistryAuth[] }> {
    const configs = await Promise.all(this.#files.map((file) => file.read()));
    const { keyring, helpers } = this.#contentsOf(configs);
    const named = helpers.map(([byHost, other]) => byHost.get(host) ?? other);
    const auths = keyring.lookup(imageName).map(({ auth, file, path }) => {
      const what = `the docker config file ${quote(file)}`;
      readingCredentials(what, { path: file }, () => checkUsable(auth, path()));
      return auth;
    });
    return { helpers: [...new Set(named)].filter((name) => name !== ''), auths };
  }

  /** Reads the files. @throws `CREDENTIALS_INVALID` naming the file. */
  async check(): Promise<void> {
    for (const file of this.#files) await file.read();
  }

  /** Forgets what the files said. */
  clear(): void {
    for (const file of this.#files) file.clear();
    this.#contents = undefined;
  }

  #contentsOf(configs: readonly (DockerConfig | undefined)[]): Contents {
    const known = this.#contents;
    if (known !== undefined && configs.every((config, i) => config === known.configs[i])) {
      return known;
    }
    const keyring = new Keyring<Entry>();
    for (const [i, config] of configs.entries()) {
      for (const { location, auth, path } of config?.entries ?? []) {
        keyring.add(location, { auth, file: this.#files[i]!.path, path });
      }
    }
    const helpers = configs.map((config) => {
      const byHost = (config?.helpers ?? []).map(
        ([registry, helper]) => [hostOf(registry), helper] as const,
      );
      return [new Map(byHost), config?.defaultHelper ?? ''] as const;
    });
    const contents = { configs, keyring, helpers };
    this.#contents = contents;
    return contents;
  }
}

/** The host of image names that is meant by a registry in `credHelpers`. */
function hostOf(registry: string): string {
  const key = locationKey(registry) ?? registry;
  return key === DEFAULT_REGISTRY_KEY ? 'docker.io' : key;
}
