/** One life of a store as a process: starts it, listens to it, ends it as planned. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LifePlan } from './life-plan.ts';

/** Ends a process, at once or in a moment. */
export type Kill = (child: ChildProcess) => unknown;

/** How a life is to be ended. */
export type LifeEnding =
  /** After this time under load. */
  | { readonly kind: 'load'; readonly afterMs: number }
  /** After this time from the start of the process, load or not. */
  | { readonly kind: 'open'; readonly afterMs: number }
  /** After this time from the beginning of its close. */
  | { readonly kind: 'close'; readonly loadMs: number; readonly afterMs: number }
  /** It closes in good order. */
  | { readonly kind: 'clean'; readonly loadMs: number }
  /** When it comes to a point; closes in good order where it does not, after so many writes. */
  | {
      readonly kind: 'point';
      readonly writes: number;
      readonly arming: Arming;
      /** The store is opened with another number of workers than it is laid out for. */
      readonly changesLayout: boolean;
    };

/** What makes a process end at a point. */
export interface Arming {
  /** A program and its arguments that run the life. */
  readonly wrapper: readonly string[];
  /** Arguments of node, before the program. */
  readonly nodeArgs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface LifeOptions {
  readonly number: number;
  readonly plan: LifePlan;
  readonly ending: LifeEnding;
  /** Its working directory. */
  readonly directory: string;
  /** The life may end in any way once it was killed. */
  readonly isPowerCut: boolean;
}

/** A life failed in a way that is no state of the store: it could not be opened, it hung, it died. */
export class LifeFailure extends Error {}

/** A life is stopped, and that is a failure, if it does not get there in this time. */
const READY_MS = 60_000;
const CLOSE_MS = 60_000;
const LIFE = fileURLToPath(new URL(`./life${extname(import.meta.url)}`, import.meta.url));
const UNARMED: Arming = { wrapper: [], nodeArgs: [], env: {} };

/** A process that lives. */
export class LifeProcess {
  readonly #options: LifeOptions;
  readonly #child: ChildProcess;
  readonly #ended: Promise<[number | null, NodeJS.Signals | null]>;
  #said = '';
  #errors = '';
  #isKilled = false;

  constructor(options: LifeOptions) {
    const { plan, ending, directory } = options;
    this.#options = options;
    const { wrapper, nodeArgs, env } = ending.kind === 'point' ? ending.arming : UNARMED;
    const words = [...wrapper, process.execPath, ...nodeArgs, LIFE, JSON.stringify(plan)];
    const [program, ...args] = words;
    const child = spawn(program!, args, {
      cwd: directory,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: a wrapper that is killed leaves what it runs.
      detached: true,
    });
    this.#child = child;
    this.#ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      child.emit('said');
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
  }

  /** Kills all of it, at once. */
  abort(): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }

  /**
   * Ends it as planned, or sees it end.
   *
   * @throws `LifeFailure` where it ends otherwise, or not at all.
   */
  async end(kill: Kill = () => this.abort()): Promise<{ wasKilled: boolean }> {
    const { ending, number, plan, isPowerCut } = this.#options;
    try {
      if (ending.kind === 'open') await this.#killAfter(ending.afterMs, kill);
      else if (await this.#says('R', READY_MS)) {
        if (ending.kind === 'load') await this.#killAfter(ending.afterMs, kill);
        if (ending.kind === 'close' && (await this.#says('C', CLOSE_MS))) {
          await this.#killAfter(ending.afterMs, kill);
        }
      }
      const end = await Promise.race([this.#ended, delay(CLOSE_MS, undefined, { ref: false })]);
      if (end === undefined) throw new LifeFailure(`life ${number} does not end`);
      const [code, signal] = end;
      const isClosed = code === 0 && plan.closeAfter !== undefined;
      const isKilled = this.#isKilled || ending.kind === 'point';
      if (!isClosed && !(isKilled && (signal === 'SIGKILL' || isPowerCut))) {
        throw new LifeFailure(
          `life ${number} ended with ${signal ?? code}: ${this.#errors.trim()}`,
        );
      }
      return { wasKilled: !isClosed };
    } finally {
      this.abort();
    }
  }

  async #says(word: string, limitMs: number): Promise<boolean> {
    const deadline = AbortSignal.timeout(limitMs);
    while (!this.#said.includes(word)) {
      const heard = once(this.#child, 'said', { signal: deadline }).then(() => true);
      const goesOn = await Promise.race([heard, this.#ended.then(() => false)]).catch(() => {
        const { number } = this.#options;
        throw new LifeFailure(`life ${number} hangs: no '${word}' in ${limitMs} ms`);
      });
      if (!goesOn && !this.#said.includes(word)) return false;
    }
    return true;
  }

  async #killAfter(ms: number, kill: Kill): Promise<void> {
    await Promise.race([delay(ms), this.#ended]);
    this.#isKilled = this.#child.exitCode === null && this.#child.signalCode === null;
    if (this.#isKilled) await kill(this.#child);
  }
}
