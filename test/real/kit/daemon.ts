/** A program that runs beside a test: started, waited for, ended, with its output in a file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const READY_TIMEOUT_MS = 20_000;
const READY_POLL_MS = 5;
/** A program that does not end on SIGTERM in this time is killed. */
const STOP_TIMEOUT_MS = 10_000;
const LOG_TAIL_LINES = 30;

export interface DaemonOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Standard output and error are appended here. */
  readonly logFile: string;
  /** Asked until it answers `true`; what it throws counts as `false`. */
  readonly isReady: () => Promise<boolean>;
}

/** A running program. Ends with the process that started it, however that one ends. */
export class Daemon {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, 'exit');
    // A program that cannot be started has `error` in place of `exit`.
    this.#exited.catch(() => {});
  }

  /** Starts a program and waits until it is ready. Fails with the end of its log. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const log = openSync(options.logFile, 'a');
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', '--', options.command, ...options.args],
      { stdio: ['ignore', log, log] },
    );
    closeSync(log);
    const daemon = new Daemon(child);
    try {
      await daemon.#waitUntilReady(options);
    } catch (error) {
      await daemon.kill();
      throw error;
    }
    return daemon;
  }

  /** Whether it has not ended. */
  get running(): boolean {
    return (
      this.#child.pid !== undefined && this.#child.exitCode === null && !this.#child.signalCode
    );
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async #waitUntilReady({ command, logFile, isReady }: DaemonOptions): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    const failure = (what: string) =>
      new Error(`${command} ${what}; its log ends:\n${logTail(logFile)}`);
    while (!(await isReady().catch(() => false))) {
      if (!this.running) throw failure('ended while it was starting');
      if (Date.now() > deadline) throw failure(`was not ready after ${READY_TIMEOUT_MS} ms`);
      await delay(READY_POLL_MS);
    }
  }

  /** Asks it to end, and sees to it that it does. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGTERM');
    const patience = new AbortController();
    const late = delay(STOP_TIMEOUT_MS, true, { signal: patience.signal }).catch(() => false);
    await Promise.race([this.#exited, late]);
    patience.abort();
    await this.kill();
  }

  /** Takes the processor away from it meanwhile: it keeps its connections, and does not answer. */
  async whilePaused<T>(run: () => Promise<T>): Promise<T> {
    try {
      this.#child.kill('SIGSTOP');
      // The signal is only a request: each thread stops when it gets to it.
      const deadline = Date.now() + STOP_TIMEOUT_MS;
      while (!(await isStopped(this.pid).catch(() => false))) {
        if (Date.now() > deadline) throw new Error(`process ${this.pid} does not stop`);
        await delay(READY_POLL_MS);
      }
      return await run();
    } finally {
      this.#child.kill('SIGCONT');
    }
  }

  /** Ends it with SIGKILL, paused or not. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

/** Whether all threads of a process are stopped by a signal. */
async function isStopped(pid: number): Promise<boolean> {
  const threads = await readdir(`/proc/${pid}/task`);
  const states = threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8'));
  // The state follows the name, which may have any characters in it.
  return (await Promise.all(states)).every((stat) => stat.replace(/^.*\) /s, '').startsWith('T '));
}

/** The last lines of a log file. */
export function logTail(logFile: string, lines: number = LOG_TAIL_LINES): string {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
