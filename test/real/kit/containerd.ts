/** The real containerd, with its root, state, socket and configuration in a directory of a test. */
import { mkdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Daemon, logTail } from './daemon.ts';
import { type BuiltImage, imageArchive, type NamedImage } from './image-builder.ts';
import { RawCri } from './raw-cri.ts';
import { runProgram } from './run-program.ts';

/** The namespace of the images that CRI sees. */
const NAMESPACE = 'k8s.io';
const CRI_PLUGIN = 'io.containerd.grpc.v1.cri';
/** Plugins that want what a test has no use for: file systems, helpers, places outside its directory. */
const DISABLED_PLUGINS = [
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.restart',
  'io.containerd.internal.v1.tracing',
  'io.containerd.nri.v1.nri',
  'io.containerd.tracing.processor.v1.otlp',
];
/** `f_type` of a directory on which overlayfs cannot put its own, as in most containers. */
const OVERLAYFS_MAGIC = 0x794c7630;
const IMPORT_TIMEOUT_MS = 10_000;
const IMPORT_POLL_MS = 5;

export interface ContainerdOptions {
  /** An existing one, with a short path: a socket's may have 107 bytes. */
  readonly directory: string;
  /** Path or name of the program; `ctr` is looked for beside it. @default 'containerd' */
  readonly binary?: string;
}

/** A registry as containerd is to see it. */
export interface RegistryHost {
  /** What the names of images begin with: a name, or address and port. */
  readonly host: string;
  readonly url: string;
  /** @default none */
  readonly certificatePaths?: readonly string[];
}

/** A containerd: running, or stopped or killed to be started again on what it holds. */
export class Containerd implements AsyncDisposable {
  readonly #directory: string;
  readonly #binary: string;
  /** Kept open: a call must not pay for a connection. */
  readonly #cri: RawCri;
  #daemon: Daemon | undefined;

  private constructor({ directory, binary = 'containerd' }: ContainerdOptions) {
    this.#directory = directory;
    this.#binary = binary;
    this.#cri = new RawCri(this.socket);
  }

  static async start(options: ContainerdOptions): Promise<Containerd> {
    const containerd = new Containerd(options);
    await Promise.all(
      ['root', 'state', 'temp', 'cni', 'certs'].map((name) =>
        mkdir(join(options.directory, name), { recursive: true }),
      ),
    );
    const { type } = await statfs(options.directory);
    const snapshotter = type === OVERLAYFS_MAGIC ? 'native' : 'overlayfs';
    await writeFile(containerd.#configurationPath, containerd.#configuration(snapshotter));
    await containerd.start();
    return containerd;
  }

  /** Path of the CRI socket. */
  get socket(): string {
    return join(this.#directory, 'containerd.sock');
  }

  /** Bare CRI calls, of the kit's own. */
  get cri(): RawCri {
    return this.#cri;
  }

  get pid(): number {
    return this.#daemon!.pid;
  }

  get log(): string {
    return logTail(this.#logPath);
  }

  /** Says how a registry is reached. Takes effect at the next pull. */
  async useRegistry({ host, url, certificatePaths = [] }: RegistryHost): Promise<void> {
    const directory = join(this.#directory, 'certs', host);
    await mkdir(directory, { recursive: true });
    const lines = [
      `server = ${quoted(url)}`,
      // The server is one more host: not to be asked again after "not found".
      'capabilities = ["push"]',
      `[host.${quoted(url)}]`,
      'capabilities = ["pull", "resolve"]',
      ...(certificatePaths.length > 0 ? [`ca = [${certificatePaths.map(quoted).join(', ')}]`] : []),
    ];
    await writeFile(join(directory, 'hosts.toml'), `${lines.join('\n')}\n`);
  }

  /** Starts it again, on what it holds; ready when this resolves. */
  async start(): Promise<void> {
    if (this.#daemon?.running === true) return;
    this.#daemon = await Daemon.start({
      command: this.#binary,
      args: ['--config', this.#configurationPath, '--log-level', 'info'],
      logFile: this.#logPath,
      isReady: async () => {
        await this.#cri.listImages();
        return true;
      },
    });
  }

  /** Ends it in order, which takes it one to two seconds. */
  async stop(): Promise<void> {
    await this.#daemon?.stop();
  }

  /** Ends it with SIGKILL. Its socket stays, and refuses. */
  async kill(): Promise<void> {
    await this.#daemon?.kill();
  }

  /** Makes it hang meanwhile: the kernel accepts connections, and nothing is answered. It has to run. */
  whilePaused<T>(run: () => Promise<T>): Promise<T> {
    return this.#daemon!.whilePaused(run);
  }

  /** Ends it with SIGKILL, and starts it again on what it holds. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Runs `ctr` on the images that CRI sees, and answers what it prints. */
  ctr(args: readonly string[], input?: Buffer): Promise<string> {
    const directory = dirname(this.#binary);
    const program = directory === '.' ? 'ctr' : join(directory, 'ctr');
    return runProgram(program, ['-a', this.socket, '-n', NAMESPACE, ...args], input);
  }

  /** Brings an image in as a preloaded one, under these names; resolves when CRI shows it. */
  importImage(image: BuiltImage, names: readonly string[]): Promise<void> {
    return this.importImages([{ image, names }]);
  }

  /** The same for many. */
  async importImages(images: readonly NamedImage[]): Promise<void> {
    await this.ctr(['images', 'import', '-'], imageArchive(images));
    // CRI learns of it by an event.
    const deadline = Date.now() + IMPORT_TIMEOUT_MS;
    for (const { image, names } of images) {
      for (const name of names) {
        while ((await this.#cri.imageStatus(name))?.id !== image.id) {
          if (Date.now() > deadline) throw new Error(`${name} was imported and does not appear`);
          await delay(IMPORT_POLL_MS);
        }
      }
    }
  }

  /** Ends it and removes what it has left: its mounts and its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#cri.close();
    await this.kill();
    for (const mount of await mountsBelow(this.#directory)) {
      await runProgram('umount', ['--lazy', mount]);
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  get #configurationPath(): string {
    return join(this.#directory, 'config.toml');
  }

  get #logPath(): string {
    return join(this.#directory, 'containerd.log');
  }

  #configuration(snapshotter: string): string {
    const within = (name: string) => quoted(join(this.#directory, name));
    return `
version = 2
root = ${within('root')}
state = ${within('state')}
temp = ${within('temp')}
disabled_plugins = [${DISABLED_PLUGINS.map(quoted).join(', ')}]
[grpc]
address = ${within('containerd.sock')}
[ttrpc]
address = ${within('containerd.ttrpc.sock')}
[plugins.${quoted(CRI_PLUGIN)}]
disable_tcp_service = true
[plugins.${quoted(CRI_PLUGIN)}.containerd]
snapshotter = ${quoted(snapshotter)}
[plugins.${quoted(CRI_PLUGIN)}.cni]
bin_dir = ${within('cni')}
conf_dir = ${within('cni')}
[plugins.${quoted(CRI_PLUGIN)}.registry]
config_path = ${within('certs')}
`;
  }
}

/** A basic string of TOML. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Mount points below a directory, the innermost first. */
async function mountsBelow(directory: string): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return lines
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mount) => mount.startsWith(`${directory}/`))
    .toReversed();
}
