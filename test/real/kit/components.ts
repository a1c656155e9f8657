/** Everything that an agent meets, started together in one temporary directory. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Containerd } from './containerd.ts';
import { CONTAINERD, type RuntimeProgram } from './programs.ts';
import { Registry } from './registry.ts';
import { RuntimeFront } from './runtime-front.ts';
import { TokenServer } from './token-server.ts';

/** The users of the registry with passwords; each sees every repository. */
export const PASSWORD_USERS: Readonly<Record<string, string>> = {
  alice: 'alice-secret-1',
  bob: 'bob-secret-1',
};

/**
 * A container runtime, and two private registries that it knows how to reach.
 *
 * The parts are there from `start` on; those of one instance share nothing with those of another.
 */
export class Components implements AsyncDisposable {
  containerd!: Containerd;
  /** Another way to the socket of `containerd`, on which answers can be held back. */
  runtimeFront!: RuntimeFront;
  /** Says by user and repository who may pull; without users at first. Speaks TLS. */
  tokenServer!: TokenServer;
  /** Asks `tokenServer` who may pull. Speaks TLS. */
  registry!: Registry;
  /** Knows `PASSWORD_USERS`, and speaks plain HTTP. */
  passwordRegistry!: Registry;
  readonly #program: RuntimeProgram;
  #directory: string | undefined;

  /** @param program @default the distribution's containerd */
  constructor(program: RuntimeProgram = CONTAINERD) {
    this.#program = program;
  }

  /** Starts everything, in some tenths of a second. Leaves nothing behind if it fails. */
  async start(): Promise<this> {
    this.#directory = mkdtempSync(join(tmpdir(), 'pullwarden-real-'));
    // All are waited for: one that starts late must not be left behind.
    const starts = [this.#startContainerd(), this.#startTokens(), this.#startPasswords()];
    const failed = (await Promise.allSettled(starts)).find(({ status }) => status === 'rejected');
    try {
      if (failed?.status === 'rejected') throw failed.reason;
      this.runtimeFront = await RuntimeFront.start(
        this.containerd.socket,
        join(this.directoryOf('containerd'), 'front.sock'),
      );
      await this.containerd.useRegistry(this.registry);
      await this.containerd.useRegistry(this.passwordRegistry);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
    return this;
  }

  async #startContainerd(): Promise<void> {
    const directory = this.directoryOf('containerd');
    this.containerd = await Containerd.start({ directory, binary: this.#program.binary });
  }

  async #startTokens(): Promise<void> {
    this.tokenServer = await TokenServer.start(this.directoryOf('tokens'));
    const { tokenServer } = this;
    const { certificate } = tokenServer;
    const directory = this.directoryOf('registry');
    this.registry = await Registry.start({ directory, tokenServer, certificate });
  }

  async #startPasswords(): Promise<void> {
    const directory = this.directoryOf('password');
    this.passwordRegistry = await Registry.start({ directory, users: PASSWORD_USERS });
  }

  /** A directory of that name, for whatever a test needs; it goes with the components. */
  directoryOf(name: string): string {
    if (this.#directory === undefined) throw new Error('the components are not started');
    const directory = join(this.#directory, name);
    mkdirSync(directory, { recursive: true });
    return directory;
  }

  /** The ends of all logs. */
  get logs(): string {
    const { containerd, registry, passwordRegistry } = this;
    return Object.entries({ containerd, registry, passwordRegistry })
      .map(([name, component]) => `${name}:\n${component?.log}`)
      .join('\n\n');
  }

  /** Ends everything at once, and removes all files. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { runtimeFront, containerd, registry, passwordRegistry, tokenServer } = this;
    const parts: (AsyncDisposable | undefined)[] = [
      runtimeFront,
      containerd,
      registry,
      passwordRegistry,
      tokenServer,
    ];
    await Promise.all(parts.map(async (part) => part?.[Symbol.asyncDispose]()));
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
  }
}
