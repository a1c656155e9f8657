/** Processes that run jobs side by side: one that hangs or dies takes nothing with it. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Job } from './lane.ts';
import type { LifeReport } from './life.ts';

/** How a job ended. */
export type Outcome =
  | { readonly report: LifeReport }
  /** The process died, gave no answer, or the harness itself broke. */
  | { readonly broken: string };

/** Longest time for a job; what hangs within it is reported by the lane itself. */
const JOB_LIMIT_MS = 120_000;

export class Lane {
  readonly #base: string;
  readonly #preload: string;
  readonly #program: string;
  #child: ChildProcess | undefined;
  #generation = 0;

  /** @param base - directory of its own; exists. */
  constructor(base: string) {
    this.#base = base;
    this.#preload = new URL('./preload.js', import.meta.url).href;
    this.#program = new URL('./lane.js', import.meta.url).pathname;
  }

  /** Runs one job; one at a time. Never rejects. */
  async run(job: Job): Promise<Outcome> {
    this.#child ??= this.#start();
    const child = this.#child;
    const outcome = await new Promise<Outcome>((settle) => {
      const timer = setTimeout(
        () => settle({ broken: 'the process does not answer' }),
        JOB_LIMIT_MS,
      );
      const end = (ended: Outcome): void => {
        clearTimeout(timer);
        child.removeAllListeners();
        settle(ended);
      };
      child.once('message', (message: LifeReport | { broken: string }) => {
        end('broken' in message ? message : { report: message });
      });
      child.once('exit', (code, signal) => end({ broken: `the process ended: ${signal ?? code}` }));
      child.send(job);
    });
    // A process in which something hangs, or broke, is of no more use.
    if ('broken' in outcome || outcome.report.hangs) this.close();
    return outcome;
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #start(): ChildProcess {
    const base = join(this.#base, String(++this.#generation));
    mkdirSync(base);
    return fork(this.#program, {
      execArgv: ['--import', this.#preload],
      env: { ...process.env, PULLWARDEN_FAULTS_BASE: base },
      serialization: 'advanced',
    });
  }
}
