/** What the agent is made of, as its routes see it. */
import type { CredentialLookup } from '../credentials/credential-lookup.ts';
import type { ImageManager } from '../image-manager/image-manager.ts';
import type { PullManager } from '../pull-manager.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';

/** The parts of managers that routes use. */
export interface AgentServices {
  readonly imageManager: Pick<ImageManager, 'check' | 'collect' | 'ensureImage' | 'metrics'>;
  readonly pullManager: Pick<
    PullManager,
    'listImagePulledRecords' | 'listImagePullIntents' | 'metrics' | 'stats'
  >;
  readonly lookup: Pick<CredentialLookup, 'pullCredentials'>;
  readonly runtime: ImageRuntime & {
    /** Where it is, for messages. */
    readonly socketPath?: string;
    /** Asks the runtime who it is: a check that it answers. */
    version?(signal?: AbortSignal): Promise<unknown>;
  };
}
