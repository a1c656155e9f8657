/** The real docker-registry, with its data in a directory, as a private registry on loopback. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Certificate } from './certificate.ts';
import { Daemon, logTail } from './daemon.ts';
import { type BuiltImage, uploadImage } from './image-builder.ts';
import { type Hold, RegistryFront, type RegistryRequest } from './registry-front.ts';
import { runProgram } from './run-program.ts';
import type { TokenServer } from './token-server.ts';

/** The cheapest that bcrypt allows: what a password costs is not what is tested. */
const BCRYPT_COST = 4;
const READY_CALL_TIMEOUT_MS = 1_000;
/** The registry's own user, for uploads. */
const PUBLISHER = { name: 'publisher', password: 'publisher' };

export interface RegistryOptions {
  /** An existing one; a registry started on it again has the same images. */
  readonly directory: string;
  /** With it, who may see what is told by its tokens; without, by users and passwords. */
  readonly tokenServer?: TokenServer;
  /** Users and passwords, where there is no token server; each sees every repository. */
  readonly users?: Readonly<Record<string, string>>;
  /** With it, the registry speaks TLS. */
  readonly certificate?: Certificate;
}

/** A running registry. */
export class Registry implements AsyncDisposable {
  readonly #options: RegistryOptions;
  readonly #front: RegistryFront;
  readonly #socketPath: string;
  #daemon: Daemon | undefined;

  private constructor(options: RegistryOptions) {
    this.#options = options;
    this.#socketPath = join(options.directory, 'registry.sock');
    this.#front = new RegistryFront(this.#socketPath, options.certificate);
  }

  static async start(options: RegistryOptions): Promise<Registry> {
    const registry = new Registry(options);
    await mkdir(join(options.directory, 'data'), { recursive: true });
    if (options.tokenServer === undefined) await registry.setUsers(options.users ?? {});
    const configuration = JSON.stringify(registry.#configuration(), undefined, 2);
    await writeFile(registry.#configurationPath, configuration);
    await registry.start();
    return registry;
  }

  /** Address and port: the beginning of the names of its images. */
  get host(): string {
    return this.#front.host;
  }

  get url(): string {
    return this.#front.url;
  }

  /** Files of certificates that a client has to trust. */
  get certificatePaths(): string[] {
    const { certificate, tokenServer } = this.#options;
    return [certificate, tokenServer?.certificate].flatMap((each) => each?.certificatePath ?? []);
  }

  /** Every request so far; uploads by `push` are not among them. */
  get requests(): readonly RegistryRequest[] {
    return this.#front.requests;
  }

  get log(): string {
    return logTail(this.#logPath);
  }

  /** Holds requests back before the registry sees them. */
  hold(matches: (request: RegistryRequest) => boolean): Hold {
    return this.#front.hold(matches);
  }

  /** The name of an image in this registry. */
  imageName(repository: string, tag: string): string {
    return `${this.host}/${repository}:${tag}`;
  }

  /** Uploads an image, and answers its name. The registry has to run. */
  async push(image: BuiltImage, repository: string, tag: string): Promise<string> {
    const authorization = this.#publisherAuthorization(repository);
    await uploadImage({ socketPath: this.#socketPath, authorization }, image, repository, tag);
    return this.imageName(repository, tag);
  }

  /** Sets all users and their passwords; without a token server only. The registry may run. */
  async setUsers(users: Readonly<Record<string, string>>): Promise<void> {
    const entries = Object.entries({ ...users, [PUBLISHER.name]: PUBLISHER.password });
    const lines = entries.map(([user, password]) =>
      runProgram('htpasswd', ['-niB', '-C', String(BCRYPT_COST), user], password),
    );
    const text = (await Promise.all(lines)).map((line) => line.trim()).join('\n');
    // Read again by the registry when its time changes, and never when it is half written.
    await writeFile(`${this.#usersPath}.new`, `${text}\n`);
    await rename(`${this.#usersPath}.new`, this.#usersPath);
  }

  /** Starts it again, on the same port and data. */
  async start(): Promise<void> {
    if (this.#daemon?.running !== true) {
      await rm(this.#socketPath, { force: true });
      this.#daemon = await Daemon.start({
        command: 'docker-registry',
        args: ['serve', this.#configurationPath],
        logFile: this.#logPath,
        isReady: () => answers(this.#socketPath),
      });
    }
    await this.#front.start();
  }

  /** Connections are cut, and refused from now on. */
  async stop(): Promise<void> {
    await this.#front.stop();
    await this.#daemon?.kill();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  get #configurationPath(): string {
    return join(this.#options.directory, 'registry.json');
  }

  get #usersPath(): string {
    return join(this.#options.directory, 'htpasswd');
  }

  get #logPath(): string {
    return join(this.#options.directory, 'registry.log');
  }

  #publisherAuthorization(repository: string): string {
    const { tokenServer } = this.#options;
    if (tokenServer === undefined) {
      const { name, password } = PUBLISHER;
      return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
    }
    const access = { type: 'repository', name: repository, actions: ['pull', 'push'] };
    return `Bearer ${tokenServer.issue(PUBLISHER.name, [access])}`;
  }

  /** JSON is YAML, which is what the registry reads. */
  #configuration(): object {
    const { directory, tokenServer } = this.#options;
    const auth =
      tokenServer === undefined
        ? { htpasswd: { realm: 'registry', path: this.#usersPath } }
        : {
            token: {
              realm: tokenServer.url,
              service: tokenServer.service,
              issuer: tokenServer.issuer,
              rootcertbundle: tokenServer.certificate.certificatePath,
            },
          };
    return {
      version: 0.1,
      log: { level: 'info' },
      storage: {
        filesystem: { rootdirectory: join(directory, 'data') },
        delete: { enabled: true },
        maintenance: { uploadpurging: { enabled: false } },
      },
      // What it answers is right wherever it is reached from.
      http: { net: 'unix', addr: this.#socketPath, relativeurls: true, secret: 'loopback' },
      auth,
    };
  }
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(READY_CALL_TIMEOUT_MS);
    request({ socketPath, path: '/', signal }, (response) => {
      response.resume();
      resolve(true);
    })
      .on('error', () => resolve(false))
      .end();
  });
}
