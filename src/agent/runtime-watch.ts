/** Whether the container runtime can be reached: asked again and again, and told where it changes. */
import { errorCode, PullManagerError, quote } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { ImageRuntimeError } from '../runtime/image-runtime.ts';
import { within } from '../util/within.ts';
import type { AgentServices } from './services.ts';

/** What is known of the runtime; `unknown` until it was asked for the first time. */
export type RuntimeState = 'unknown' | 'reachable' | 'unreachable';

/** Options of `RuntimeWatch`. */
export interface RuntimeWatchOptions {
  readonly runtime: AgentServices['runtime'];
  readonly logger: Logger;
  /** Called with the first answer, and where an answer differs from the last one. */
  readonly onChange?: ((watch: RuntimeWatch) => void) | undefined;
  /** From an answer to the next question, once started. @default 5_000, as the kubelet */
  readonly everyMs?: number;
}

const EVERY_MS = 5_000;
const ANSWER_LIMIT_MS = 5_000;

/** Used by one thread. `start` once, `stop` at any time. */
export class RuntimeWatch {
  readonly #runtime: AgentServices['runtime'];
  readonly #logger: Logger;
  readonly #onChange: (watch: RuntimeWatch) => void;
  readonly #everyMs: number;
  /** Shared by all who ask while it is under way. */
  #check: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #state: RuntimeState = 'unknown';
  #reason = '';
  #changedAtMs = performance.now();
  #isStarted = false;
  #isStopped = false;

  constructor(options: RuntimeWatchOptions) {
    this.#runtime = options.runtime;
    this.#logger = options.logger;
    this.#onChange = options.onChange ?? (() => {});
    this.#everyMs = options.everyMs ?? EVERY_MS;
  }

  /** By the last answer. */
  get state(): RuntimeState {
    return this.#state;
  }

  /** The same where the runtime is asked regularly; else the last answer may be old. */
  get watchedState(): RuntimeState | undefined {
    return this.#isStarted ? this.#state : undefined;
  }

  /** In a sentence, with the socket; without secrets. */
  get description(): string {
    const { socketPath } = this.#runtime;
    const runtime = `the container runtime${socketPath === undefined ? '' : ` at ${quote(socketPath)}`}`;
    if (this.#state === 'unknown') return `${runtime} has not been asked yet`;
    if (this.#state === 'reachable') return `${runtime} answers`;
    return `${runtime} cannot be reached: ${this.#reason}`;
  }

  /** Asks the runtime now, for 5 s at most. Never rejects: `state` has the answer. */
  check(): Promise<void> {
    this.#check ??= this.#ask().finally(() => {
      this.#check = undefined;
    });
    return this.#check;
  }

  /** Asks regularly from now on; resolves with the first answer. Does not keep the process alive. */
  async start(): Promise<void> {
    this.#isStarted = true;
    await this.check();
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.start(), this.#everyMs).unref();
  }

  /** Asks and tells nothing more. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #ask(): Promise<void> {
    const reason = await reasonAgainst(this.#runtime);
    if (this.#isStopped) return;
    const last = this.#state;
    this.#reason = reason ?? '';
    this.#state = reason === undefined ? 'reachable' : 'unreachable';
    if (this.#state === last) return;
    const seconds = Math.round((performance.now() - this.#changedAtMs) / 1_000);
    this.#changedAtMs = performance.now();
    this.#log(last, seconds);
    this.#onChange(this);
  }

  #log(last: RuntimeState, seconds: number): void {
    const { socketPath: socket } = this.#runtime;
    if (this.#state === 'unreachable') {
      const message =
        'the container runtime cannot be reached: what needs it is refused until it answers';
      this.#logger.warn(message, { socket, reason: this.#reason });
    } else if (last === 'unreachable') {
      this.#logger.info('the container runtime can be reached again', { socket, seconds });
    }
  }
}

/** Why the runtime cannot be reached; `undefined` where it answers. */
async function reasonAgainst(runtime: AgentServices['runtime']): Promise<string | undefined> {
  const limit = new AbortController();
  const ask = async (): Promise<unknown> =>
    runtime.version === undefined
      ? runtime.listImages(limit.signal)
      : runtime.version(limit.signal);
  try {
    if (await within(ANSWER_LIMIT_MS, ask())) return undefined;
  } catch (error) {
    return reasonOf(error);
  } finally {
    limit.abort();
  }
  return `it has not answered for ${ANSWER_LIMIT_MS} ms`;
}

/** What the usual failures of `connect` mean, and what to look at. */
const REASON_OF_CONNECT: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket; does the runtime run, and is this its socket?',
  ECONNREFUSED: 'nobody listens on the socket; does the runtime run?',
  EACCES: 'the user of the agent may not connect to the socket',
  ENOTDIR: 'something above the socket is a file and no directory',
};

function reasonOf(error: unknown): string {
  if (!(error instanceof ImageRuntimeError)) {
    // The text of others may have anything in it.
    return error instanceof PullManagerError
      ? error.message
      : (errorCode(error) ?? 'unknown error');
  }
  const { kind, reason, message } = error;
  const told = reason ?? message;
  const code = /\bconnect (E[A-Z]+)\b/.exec(told)?.[1];
  const known = code === undefined ? undefined : REASON_OF_CONNECT[code];
  if (known !== undefined) return `${known} (${code})`;
  return kind === 'protocol' ? `what listens there does not speak CRI v1: ${told}` : told;
}
