/**
 * Runs the programs that know credentials: docker's credential helpers and the kubelet's credential
 * providers. Both read a request on their standard input and write an answer.
 *
 * They are other people's programs: they hang, leave children behind, write without end or die. Every
 * run has a limit of time and of output, and what it leaves behind is killed with its process group.
 * Their standard error goes nowhere: it may name secrets.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  abortedError,
  closedError,
  errorCode,
  PullManagerError,
  queueFull,
  quote,
} from '../errors.ts';
import { unlessAborted } from './joined-calls.ts';

/** Bytes that a program may write. */
export const PROGRAM_OUTPUT_BYTES_MAX: number = 2 ** 20;
/** Runs of one program at the same time. */
export const PROGRAM_PARALLEL_MAX = 8;
/** Runs of one program that may wait for their turn. */
export const PROGRAM_WAITING_MAX = 1024;
/** How long after the end of a program a child of it may keep the output open. */
const DRAIN_MS = 200;

/** Programs that run now. No signal to this process reaches the groups that they are in. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) killGroup(child);
});

/** What to run. */
export interface Program {
  readonly path: string;
  readonly args: readonly string[];
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly input: string;
}

/** How a program ended by itself. */
export interface ProgramEnd {
  readonly exitCode: number;
  readonly output: Buffer;
}

/** Limits of the runs of one runner. */
export interface ProgramLimits {
  /** From the call to the answer, waiting for a turn included. */
  readonly timeoutMs: number;
  /** @default PROGRAM_OUTPUT_BYTES_MAX */
  readonly outputBytesMax?: number;
}

/** Runs programs within limits, and ends them all when it is closed. */
export class ProgramRunner {
  readonly #timeoutMs: number;
  readonly #outputBytesMax: number;
  readonly #turns = new Map<string, Turns>();
  readonly #running = new Set<AbortController>();
  #isClosed = false;

  constructor(limits: ProgramLimits) {
    this.#timeoutMs = limits.timeoutMs;
    this.#outputBytesMax = limits.outputBytesMax ?? PROGRAM_OUTPUT_BYTES_MAX;
  }

  /**
   * Runs a program to its end, whatever its exit code.
   *
   * @throws `CREDENTIAL_PROVIDER_FAILED` naming the program and the reason: it cannot be started, takes
   * too long, writes too much, or is ended by a signal; `QUEUE_FULL`; `ABORTED`; `CLOSED`.
   */
  async run(program: Program, signal: AbortSignal): Promise<ProgramEnd> {
    const what = `running ${quote(program.path)}`;
    if (this.#isClosed) throw closedError(what, 'the credential lookup');
    if (signal.aborted) throw abortedError(what, signal.reason);
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(tooSlow(program, this.#timeoutMs)), this.#timeoutMs);
    const onAbort = () => limit.abort(abortedError(what, signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    this.#running.add(limit);
    const turns = this.#turnsOf(program.path);
    try {
      await turns.take(limit.signal);
      try {
        return await this.#spawned(program, limit.signal);
      } finally {
        turns.give();
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      this.#running.delete(limit);
      if (turns.isIdle) this.#turns.delete(program.path);
    }
  }

  /** Ends all programs; their calls reject with `CLOSED`. */
  close(): void {
    this.#isClosed = true;
    for (const limit of this.#running)
      limit.abort(closedError('running a credential program', 'the credential lookup'));
  }

  #turnsOf(path: string): Turns {
    let turns = this.#turns.get(path);
    if (turns === undefined) {
      turns = new Turns(path);
      this.#turns.set(path, turns);
    }
    return turns;
  }

  async #spawned(program: Program, limit: AbortSignal): Promise<ProgramEnd> {
    // The limit can have been reached since the turn was given.
    limit.throwIfAborted();
    const { path, args, env, input } = program;
    let child: ChildProcess;
    try {
      // Its own process group, so that its children can be ended with it.
      child = spawn(path, args, { env, stdio: ['pipe', 'pipe', 'ignore'], detached: true });
    } catch (cause) {
      throw cannotStart(path, cause);
    }
    running.add(child);
    return await new Promise<ProgramEnd>((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      let drain: NodeJS.Timeout | undefined;
      const settle = (end: () => void) => {
        running.delete(child);
        clearTimeout(drain);
        limit.removeEventListener('abort', onLimit);
        end();
      };
      const fail = (error: unknown) => {
        killGroup(child);
        child.stdout?.destroy();
        child.stdin?.destroy();
        settle(() => reject(error instanceof Error ? error : new Error(String(error))));
      };
      const finish = () => {
        const { exitCode, signalCode } = child;
        if (signalCode !== null) return fail(programFailed(path, `ended by ${signalCode}`));
        // Children that have closed the output are as little wanted as those that keep it open.
        killGroup(child);
        settle(() => resolve({ exitCode: exitCode ?? 0, output: Buffer.concat(chunks, size) }));
      };
      const onLimit = () => fail(limit.reason);
      limit.addEventListener('abort', onLimit, { once: true });
      child.on('error', (cause) => fail(cannotStart(path, cause)));
      // Where the process has no files left, there is no child and there are no pipes.
      // A program may answer without reading its request, and close the pipe.
      child.stdin?.on('error', () => {});
      child.stdout?.on('error', () => {});
      child.stdout?.on('data', (chunk: Buffer) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size > this.#outputBytesMax) {
          fail(programFailed(path, `wrote more than ${this.#outputBytesMax} bytes`));
        }
      });
      child.on('close', finish);
      child.on('exit', () => {
        drain = setTimeout(() => {
          killGroup(child);
          child.stdout?.destroy();
        }, DRAIN_MS);
      });
      child.stdin?.end(input);
    });
  }
}

/** Turns at running one program. */
class Turns {
  readonly #path: string;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(path: string) {
    this.#path = path;
  }

  get isIdle(): boolean {
    return this.#taken === 0 && this.#waiting.length === 0;
  }

  /** Waits for a turn; rejects with the signal's reason. */
  async take(signal: AbortSignal): Promise<void> {
    if (this.#taken < PROGRAM_PARALLEL_MAX) {
      this.#taken++;
      return;
    }
    if (this.#waiting.length >= PROGRAM_WAITING_MAX) {
      throw queueFull(`more than ${PROGRAM_WAITING_MAX} calls wait for ${quote(this.#path)}`);
    }
    let resume: (() => void) | undefined;
    const turn = new Promise<void>((resolve) => {
      resume = resolve;
      this.#waiting.push(resolve);
    });
    try {
      await unlessAborted(turn, signal, 'waiting');
    } catch {
      const index = this.#waiting.indexOf(resume!);
      if (index === -1) this.give();
      else this.#waiting.splice(index, 1);
      throw signal.reason;
    }
  }

  /** Gives the turn back: to whoever waits longest. */
  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken--;
    else next();
  }
}

/** `CREDENTIAL_PROVIDER_FAILED`; `reason` completes "the program … ". */
export function programFailed(path: string, reason: string, cause?: unknown): PullManagerError {
  const message = `the credential program ${quote(path)} ${reason}`;
  return new PullManagerError('CREDENTIAL_PROVIDER_FAILED', message, { path, reason, cause });
}

function tooSlow(program: Program, timeoutMs: number): PullManagerError {
  const reason = `did not answer within ${timeoutMs} ms`;
  const message = `the credential program ${quote(program.path)} ${reason}`;
  return new PullManagerError('CREDENTIAL_PROVIDER_FAILED', message, {
    path: program.path,
    reason,
    timeoutMs,
  });
}

/** Errors of `spawn` list the arguments, so only their code is told. */
function cannotStart(path: string, cause: unknown): PullManagerError {
  return programFailed(path, `cannot be started: ${errorCode(cause) ?? 'unknown error'}`);
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended, with all of its group.
  }
}
