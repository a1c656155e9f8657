/** What an agent is made of, over the real programs, and the tenants who use it. */
import type { PullCredential } from '../../src/credentials/pull-credential.ts';
import { ImageManager } from '../../src/image-manager/image-manager.ts';
import type { ImageManagerOptions } from '../../src/image-manager/options.ts';
import type { EnsuredImage, EnsureImageRequest } from '../../src/image-manager/request.ts';
import type { PullPolicy } from '../../src/images/pull-policy.ts';
import type { PullManagerOptions } from '../../src/options.ts';
import { PullManager } from '../../src/pull-manager.ts';
import {
  type CriRuntime,
  type CriRuntimeOptions,
  criRuntime,
} from '../../src/runtime/cri/cri-runtime.ts';

/** Of a user of the registry: the pull secret of the namespace of that name. */
export function secretOf(user: string, password: string = passwordOf(user)): PullCredential {
  return {
    auth: { username: user, password },
    source: { kind: 'secret', uid: `uid-${user}`, namespace: user, name: 'pull' },
  };
}

export function passwordOf(user: string): string {
  return `${user}-password-1`;
}

export class Agent implements AsyncDisposable {
  readonly runtime: CriRuntime;
  readonly pullManager: PullManager;
  readonly images: ImageManager;
  #pods = 0;

  private constructor(runtime: CriRuntime, pullManager: PullManager, images: ImageManager) {
    this.runtime = runtime;
    this.pullManager = pullManager;
    this.images = images;
  }

  static async open(
    socket: string,
    engine: PullManagerOptions = {},
    options: Partial<ImageManagerOptions> = {},
    connection: Partial<CriRuntimeOptions> = {},
  ): Promise<Agent> {
    const runtime = criRuntime({ socket: `unix://${socket}`, ...connection });
    const pullManager = await PullManager.open({
      store: { kind: 'memory' },
      imageService: runtime,
      ...engine,
    });
    const images = new ImageManager({ pullManager, runtime, ...options });
    return new Agent(runtime, pullManager, images);
  }

  /** A new pod asks, with the secrets given. */
  ensure(
    image: string,
    pullPolicy: PullPolicy,
    credentials: EnsureImageRequest['credentials'] = [],
  ): Promise<EnsuredImage> {
    const podUid = `pod-${this.#pods++}`;
    return this.images.ensureImage({ image, pullPolicy, podUid, credentials });
  }

  /** `used`, `pulled`, or the code of the error. */
  async outcome(...asked: Parameters<Agent['ensure']>): Promise<string> {
    try {
      const { pulled } = await this.ensure(...asked);
      return pulled ? 'pulled' : 'used';
    } catch (error) {
      const { code } = error as { code?: string };
      return code ?? String(error);
    }
  }

  async intents(): Promise<string[]> {
    const { records } = await this.pullManager.listImagePullIntents();
    return records.map(({ image }) => image);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.images.close();
    await this.pullManager.close();
    await this.runtime.close();
  }
}
