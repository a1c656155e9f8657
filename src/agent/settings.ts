/** How an agent is set up. */
import type { CredentialLookupOptions } from '../credentials/credential-lookup.ts';
import type { ImageManagerOptions } from '../image-manager/options.ts';
import type { PullManagerOptions } from '../options.ts';
import type { CriRuntimeOptions } from '../runtime/cri/cri-runtime.ts';
import type { LogLevel } from './log.ts';

/** What `runAgent` takes. */
export interface AgentSettings {
  /** Path of the socket to serve on. */
  readonly socket: string;
  readonly runtime: CriRuntimeOptions;
  readonly pullManager: Omit<
    PullManagerOptions,
    'imageService' | 'listeners' | 'logger' | 'signal'
  >;
  readonly imageManager: Omit<ImageManagerOptions, 'pullManager' | 'runtime' | 'logger'>;
  readonly credentials: Omit<CredentialLookupOptions, 'logger' | 'now'>;
  /** File that takes a trace of what the pull manager is asked. @default nothing is recorded */
  readonly record?: string;
  readonly logLevel: LogLevel;
  /** How long requests may go on after the agent was told to end. */
  readonly drainMs: number;
}
