/** The agent: the routes of its services behind a server, counted and logged. */
import type { Logger } from '../logger.ts';
import { AgentMetrics } from './agent-metrics.ts';
import type { ServerLimits } from './limits.ts';
import { agentRoutes } from './routes.ts';
import { RuntimeWatch } from './runtime-watch.ts';
import { AgentServer } from './server.ts';
import type { AgentServices } from './services.ts';

/** Options of `Agent`. */
export interface AgentOptions {
  /** Not closed by the agent. */
  readonly services: AgentServices;
  readonly logger: Logger;
  /** @default `SERVER_LIMITS` */
  readonly limits?: Partial<ServerLimits>;
  /** Called where it is found out that the runtime can be reached, or cannot. */
  readonly onRuntimeChange?: (watch: RuntimeWatch) => void;
}

/** Used by one thread. `listen` once, `drain` once. */
export class Agent {
  /** To be started by who wants to hear of changes; ends with `drain`. */
  readonly runtime: RuntimeWatch;
  readonly #server: AgentServer;

  constructor({ services, logger, limits = {}, onRuntimeChange }: AgentOptions) {
    const metrics = new AgentMetrics();
    const { runtime } = services;
    const watch = new RuntimeWatch({ runtime, logger, onChange: onRuntimeChange });
    const server: AgentServer = new AgentServer({
      routes: agentRoutes(services, watch, () => metrics.exposition(server, watch.watchedState)),
      logger,
      limits,
      onServed: (served) => {
        metrics.served(served);
        const { method, route, status, durationMs } = served;
        logger.debug('request', { method, route, status, durationMs: Math.round(durationMs) });
      },
    });
    this.runtime = watch;
    this.#server = server;
  }

  /** Serves on a unix socket, which is the owner's alone. Errors: as `listenOn`. */
  listen(path: string): Promise<void> {
    return this.#server.listen(path);
  }

  /**
   * Takes no more requests, finishes what is being served within `limitMs`, aborts what is left, and
   * removes the socket. Never rejects.
   */
  drain(limitMs: number): Promise<void> {
    this.runtime.stop();
    return this.#server.drain(limitMs);
  }
}
