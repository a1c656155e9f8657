/** Whether the agent can do its work now. */
import { within } from '../util/within.ts';
import { HttpError } from './http-error.ts';
import type { AgentServices } from './services.ts';

const LIMIT_MS = 5_000;

/** Used by one thread. */
export class Readiness {
  readonly #runtime: AgentServices['runtime'];
  /** Shared by all who ask while it is under way. */
  #check: Promise<void> | undefined;

  constructor(runtime: AgentServices['runtime']) {
    this.#runtime = runtime;
  }

  /** Resolves where the runtime answers. Errors: `HttpError` `ERR_AGENT_NOT_READY`. */
  async check(): Promise<void> {
    this.#check ??= this.#ask().finally(() => {
      this.#check = undefined;
    });
    return this.#check;
  }

  async #ask(): Promise<void> {
    const limit = new AbortController();
    const runtime = this.#runtime;
    const ask = async (): Promise<unknown> =>
      runtime.version === undefined
        ? runtime.listImages(limit.signal)
        : runtime.version(limit.signal);
    try {
      if (await within(LIMIT_MS, ask())) return;
    } catch {
      throw new HttpError('ERR_AGENT_NOT_READY', 'the container runtime cannot be reached');
    } finally {
      limit.abort();
    }
    const message = `the container runtime has not answered for ${LIMIT_MS} ms`;
    throw new HttpError('ERR_AGENT_NOT_READY', message);
  }
}
