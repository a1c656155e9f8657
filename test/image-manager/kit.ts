/** A runtime and a registry behind it that do as a test says, and a real pull manager. */
import type { PullCredential, RegistryAuth } from '../../src/credentials/pull-credential.ts';
import { ImageManager } from '../../src/image-manager/image-manager.ts';
import type { ImageManagerOptions } from '../../src/image-manager/options.ts';
import type { EnsureImageRequest } from '../../src/image-manager/request.ts';
import type { RuntimeImage } from '../../src/images/image-service.ts';
import type { PullManagerOptions } from '../../src/options.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { type ImageRuntime, ImageRuntimeError } from '../../src/runtime/image-runtime.ts';

export const PRIVATE = 'registry.example.com/team-a/app:1';
export const PRIVATE_ID = 'sha256:private';
export const PUBLIC = 'registry.example.com/public/tool:1';
export const PUBLIC_ID = 'sha256:public';

/** What the registry has under a name, and whom it lets in; absent: everybody. */
export interface RegistryImage {
  readonly id: string;
  readonly users?: readonly string[];
}

export class ScriptedRuntime implements ImageRuntime {
  readonly registry: Map<string, RegistryImage> = new Map<string, RegistryImage>([
    [PRIVATE, { id: PRIVATE_ID, users: ['a', 'b'] }],
    [PUBLIC, { id: PUBLIC_ID }],
  ]);
  /** By id, with the names it has here. */
  readonly images: Map<string, Set<string>> = new Map();
  /** What was asked, as `status name`, `pull name user`, `list`. */
  readonly calls: string[] = [];
  /** In place of the answer of a pull; it may call `pullNow`. */
  onPull:
    | ((image: string, auth: RegistryAuth | undefined, signal?: AbortSignal) => Promise<string>)
    | undefined;
  onStatus: ((image: string) => Promise<RuntimeImage | undefined>) | undefined;
  onList: (() => Promise<readonly RuntimeImage[]>) | undefined;

  async imageStatus(image: string): Promise<RuntimeImage | undefined> {
    this.calls.push(`status ${image}`);
    if (this.onStatus !== undefined) return this.onStatus(image);
    return this.found(image);
  }

  found(image: string): RuntimeImage | undefined {
    for (const [id, names] of this.images) {
      if (names.has(image) || id === image) return { id, repoTags: [...names], repoDigests: [] };
    }
    return undefined;
  }

  async pullImage(
    image: string,
    auth: RegistryAuth | undefined,
    signal?: AbortSignal,
  ): Promise<string> {
    this.calls.push(`pull ${image} ${auth?.username ?? '-'}`);
    if (this.onPull !== undefined) return this.onPull(image, auth, signal);
    return this.pullNow(image, auth);
  }

  /** What an honest runtime does. */
  pullNow(image: string, auth: RegistryAuth | undefined): string {
    const found = this.registry.get(image);
    if (found === undefined) throw failed('notFound', `manifest unknown: ${image}`);
    if (found.users !== undefined && !found.users.includes(auth?.username ?? '')) {
      throw failed('denied', 'pull access denied');
    }
    this.have(image, found.id);
    return found.id;
  }

  /** Puts an image on the node, as an import does. A name is of one image. */
  have(image: string, id: string): void {
    for (const names of this.images.values()) names.delete(image);
    this.images.set(id, (this.images.get(id) ?? new Set()).add(image));
  }

  async removeImage(image: string): Promise<void> {
    const found = this.found(image);
    if (found !== undefined) this.images.delete(found.id);
  }

  async listImages(): Promise<readonly RuntimeImage[]> {
    this.calls.push('list');
    if (this.onList !== undefined) return this.onList();
    return [...this.images].map(([id, names]) => ({ id, repoTags: [...names], repoDigests: [] }));
  }

  get pulls(): readonly string[] {
    return this.calls.filter((call) => call.startsWith('pull '));
  }
}

/** A failure that the runtime has answered. */
export function failed(kind: ImageRuntimeError['kind'], reason: string): ImageRuntimeError {
  return new ImageRuntimeError(kind, reason, { answered: true, reason });
}

/** A call that the runtime left unanswered. */
export function lost(): ImageRuntimeError {
  return new ImageRuntimeError('unavailable', 'connection lost', { answered: false });
}

/** What the tenant of that name presents. */
export function secretOf(user: string): PullCredential {
  return {
    auth: { username: user, password: `password-of-${user}` },
    source: { kind: 'secret', uid: `uid-${user}`, namespace: `team-${user}`, name: 'pull' },
  };
}

/** A pod of the tenant who may use the private image. */
export const ensure: EnsureImageRequest = {
  image: PRIVATE,
  pullPolicy: 'IfNotPresent',
  podUid: 'pod',
  credentials: [secretOf('a')],
};

export interface Bench extends AsyncDisposable {
  readonly runtime: ScriptedRuntime;
  readonly pullManager: PullManager;
  readonly images: ImageManager;
}

/** An image manager over a real pull manager in memory and a scripted runtime. */
export async function openBench(
  options: Partial<ImageManagerOptions> = {},
  engine: PullManagerOptions = {},
): Promise<Bench> {
  const runtime = (options.runtime as ScriptedRuntime | undefined) ?? new ScriptedRuntime();
  const pullManager = await PullManager.open({
    store: { kind: 'memory' },
    workerCount: 0,
    ...engine,
  });
  const images = new ImageManager({ pullManager, runtime, unansweredGraceMs: 50, ...options });
  return {
    runtime,
    pullManager,
    images,
    async [Symbol.asyncDispose]() {
      await images.close();
      await pullManager.close();
    },
  };
}

/** The images that have an intent. */
export async function intentsOf(pullManager: PullManager): Promise<string[]> {
  const { records } = await pullManager.listImagePullIntents();
  return records.map(({ image }) => image).sort();
}

/** Asks again and again until it is so; the test's own time limit ends it. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A promise, and who settles it. */
export function gate<T = void>(): {
  readonly promise: Promise<T>;
  readonly open: (value: T) => void;
  readonly fail: (error: unknown) => void;
} {
  let open!: (value: T) => void;
  let fail!: (error: unknown) => void;
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}
