/**
 * Asks the engine, and keeps what was wrong with its answers. Errors are answers only while there is a
 * fault, and have to say that the storage fails.
 */
import { type Decision, PULL_MANAGER_ERROR_CODES } from '../../../src/index.ts';
import { HangError, inTime } from '../../support/wait.ts';

/** What came of a call. */
export type Asked<T> =
  | { readonly isAnswered: true; readonly answer: T }
  | { readonly isAnswered: false };

/** What a fault of the storage may come out as. */
const CODES: readonly string[] = [
  PULL_MANAGER_ERROR_CODES.STORE_UNAVAILABLE,
  PULL_MANAGER_ERROR_CODES.WORKER_LOST,
];

/** Whether calls of the storage fail now, and how many have. */
export interface Weather {
  readonly isFailing: boolean;
  readonly hits: number;
}

export class Witness {
  /** Sentences; none: all is right. */
  readonly problems: string[] = [];
  answers = 0;
  /** Answers that were an error, as a fault allowed. */
  refusals = 0;
  /** The disk is well, and the engine may still be finding out. */
  isRecovering = false;
  readonly #weather: Weather;
  readonly #guardMs: number;
  #step = '';
  #hitsBefore = 0;

  /** @param guardMs - nothing takes longer than that, in milliseconds. */
  constructor(weather: Weather, guardMs: number) {
    this.#weather = weather;
    this.#guardMs = guardMs;
  }

  beginStep(name: string): void {
    this.#step = name;
    this.#hitsBefore = this.#weather.hits;
  }

  /** Whether an error is an answer now: there was a fault in this step, or there still is. */
  get isTroubled(): boolean {
    return this.#weather.isFailing || this.#weather.hits > this.#hitsBefore;
  }

  /** Waits for an answer. Throws `HangError`. */
  async ask<T>(what: string, call: () => Promise<T>): Promise<Asked<T>> {
    try {
      const answer = await inTime(what, call(), this.#guardMs);
      this.answers++;
      return { isAnswered: true, answer };
    } catch (error) {
      if (error instanceof HangError) throw error;
      this.#refused(what, error);
      return { isAnswered: false };
    }
  }

  /** Whether a decision says no more than that there was an error. */
  isRefusal({ mustPull, reason, cause }: Decision): boolean {
    if (reason !== 'error') return false;
    if (!mustPull) this.report('a decision that failed lets somebody in');
    this.#refused('a decision', cause);
    return true;
  }

  /** Whether a listing or pruning lacks something. */
  isPartial(errors: readonly unknown[]): boolean {
    for (const error of errors) this.#refused('an item of a listing', error);
    return errors.length > 0;
  }

  report(...problems: (string | undefined)[]): void {
    for (const problem of problems) {
      if (problem !== undefined) this.problems.push(`${this.#step}: ${problem}`);
    }
  }

  #refused(what: string, error: unknown): void {
    this.refusals++;
    const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
    if (!this.isTroubled && !this.isRecovering) {
      this.report(`${what}: ${String(code)} without a fault: ${String(message)}`);
    } else if (!CODES.some((known) => known === code)) {
      this.report(`${what}: the fault came out as ${String(code)}: ${String(message)}`);
    }
  }
}
