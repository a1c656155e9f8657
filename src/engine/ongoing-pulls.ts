/**
 * The pulls of `withPull` that are under way: each is run, can be aborted, and gets exactly one
 * outcome recorded.
 */
import { setMaxListeners } from 'node:events';
import { abortedError, closedError, invalidArgument } from '../errors.ts';
import type { ImagePullCredentials } from '../records/record.ts';
import { linkedSignal } from '../util/linked-signal.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { within } from '../util/within.ts';
import type { PullWriter } from './pull-writer.ts';

/** What a pull gave, and what opened it (`null`: unknown). */
export interface PullResult {
  imageRef: string;
  credentials: ImagePullCredentials | null;
}

/** Runs the caller's pull. */
export type Pull<T extends PullResult> = (signal: AbortSignal) => Promise<T>;

/** How long `close` waits for aborted pulls to come to an end. */
const CLOSE_GRACE_MS = 1_000;

/** Used by one thread. */
export class OngoingPulls {
  readonly #writer: PullWriter;
  readonly #closing = new AbortController();
  /** Pulls whose outcome is not recorded yet. */
  readonly #ongoing = new Set<Promise<unknown>>();

  constructor(writer: PullWriter) {
    this.#writer = writer;
    // One listener for each pull under way.
    setMaxListeners(0, this.closing);
  }

  /** Aborted by `close`. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /**
   * Runs a pull whose intent is recorded. Resolves with its result after that is recorded; rejects
   * as soon as `given` or `close` aborts it, and records the outcome when the pull settles.
   */
  run<T extends PullResult>(
    image: string,
    pull: Pull<T>,
    given: AbortSignal | undefined,
  ): Promise<T> {
    const { signal, unlink } = linkedSignal(this.closing, given);
    const outcome = this.#pullAndRecord(image, pull, signal);
    this.#ongoing.add(outcome);
    const done = (): void => {
      this.#ongoing.delete(outcome);
      unlink();
    };
    outcome.then(done, done);
    return untilAborted(outcome, signal, (reason) => abortedError('the pull', reason));
  }

  /**
   * Aborts all pulls, and waits until their outcomes are recorded. A pull that ignores its abort
   * keeps its intent, which protects the image until the next start finds out what became of it.
   */
  async close(): Promise<void> {
    this.#closing.abort(closedError('the pull'));
    if (this.#ongoing.size > 0) await within(CLOSE_GRACE_MS, Promise.allSettled(this.#ongoing));
  }

  /** Runs the pull and records its outcome, however long that takes. */
  async #pullAndRecord<T extends PullResult>(
    image: string,
    pull: Pull<T>,
    signal: AbortSignal,
  ): Promise<T> {
    let result: T;
    try {
      if (signal.aborted) throw abortedError('the pull', signal.reason);
      result = await pull(signal);
    } catch (error) {
      await this.#writer.recordFailure(image);
      throw error;
    }
    // From here on the image may be on the node: whatever is wrong, its intent must stay.
    if (typeof result !== 'object' || result === null) {
      throw invalidArgument('the result of pull', 'must be an object');
    }
    const { imageRef, credentials } = result;
    await this.#writer.recordPulled(image, imageRef, credentials);
    return result;
  }
}
