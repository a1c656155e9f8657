/**
 * Pulls of which it is not known what became of them: the runtime was killed, did not answer in time,
 * or the caller gave up; and intents that an earlier run left.
 *
 * The image may still appear. Without an intent it would then look preloaded, and be everybody's
 * [W32]. So the intent stays until the runtime, asked again and again, has gone on giving the same
 * answer for a while: the image is absent, and the pull has failed; or it is there, and is recorded
 * without proof, so that the next pod has to show that it may use it.
 */
import { closedError, errorCode, type PullManagerError } from '../errors.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import type { Logger } from '../logger.ts';
import type { ImagePullIntent, Listing } from '../records/record.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';
import { linkedSignal } from '../util/linked-signal.ts';
import { within } from '../util/within.ts';
import type { OpenNames } from './open-names.ts';
import { mayBeDone, type RecordKeeper } from './record-keeper.ts';
import { type SeenRef, seenRef } from './runtime-answers.ts';
import { runtimeNameOf } from './runtime-name.ts';

/** What became of a pull. */
export interface SettledPull {
  readonly image: string;
  readonly became: 'absent' | 'present';
  /** Since the pull was given up, in milliseconds. */
  readonly durationMs: number;
}

export interface UnansweredPullsOptions {
  readonly pullManager: ImagePullManager;
  readonly runtime: ImageRuntime;
  readonly keeper: RecordKeeper;
  readonly openNames: OpenNames;
  /** How long the runtime must give the same answer. */
  readonly graceMs: number;
  readonly onSettled: (settled: SettledPull) => void;
  readonly logger: Logger;
}

/** A pull manager that can tell what intents there are. */
interface ListsIntents {
  listImagePullIntents(): Promise<Listing<ImagePullIntent, PullManagerError>>;
}

interface Unanswered {
  readonly image: string;
  readonly sinceMs: number;
  /** Pulls whose outcome is to be recorded. */
  count: number;
  /** What the runtime said last: the id, or `undefined` for absent; `null`: nothing yet. */
  answer: SeenRef;
  /** Since when it has said so. */
  answeredSinceMs: number;
}

/** Pauses between looks: they grow while the runtime does not answer. */
const LOOK_MS_MIN = 100;
const LOOK_MS_MAX = 30_000;
/** How long a look may take. */
const LOOK_LIMIT_MS = 30_000;
/** A closing image manager waits for no longer; what is open then stays for the next run. */
const CLOSE_LIMIT_MS = 6_000;
/** What looks take beside the time for which the runtime must give the same answer. */
const CLOSE_SLACK_MS = 1_000;

/** Used by one thread. */
export class UnansweredPulls {
  readonly #options: UnansweredPullsOptions;
  /** By image. */
  readonly #open = new Map<string, Unanswered>();
  readonly #closing = new AbortController();
  /** Set first: nothing is waited for that does not answer. */
  #isEnding = false;
  /** Images of intents that an earlier run left, until they are taken over. */
  readonly #leftOver = new Set<string>();
  #listing: Promise<void> | undefined;
  #hasListed = false;
  #adoption: Promise<void> | undefined;
  #watching: Promise<void> | undefined;
  /** Ends the pause between two looks. */
  #wake: () => void = () => {};

  constructor(options: UnansweredPullsOptions) {
    this.#options = options;
  }

  /** Whether it is known which intents an earlier run left: see `list`. */
  get hasListed(): boolean {
    return this.#hasListed;
  }

  /** Takes over a pull whose intent is recorded and whose outcome is not. */
  add(image: string): void {
    const pull = this.#opened(image);
    pull.count++;
    // What the runtime has said was about earlier pulls.
    pull.answer = null;
  }

  /**
   * Finds out which intents an earlier run left: once, and again after a failure. No image may count
   * as preloaded before: it may have come of such a pull under another name. Rejects where they cannot
   * be listed.
   */
  list(): Promise<void> {
    this.#listing ??= this.#list().catch((error: unknown) => {
      this.#listing = undefined;
      throw error;
    });
    return this.#listing;
  }

  /**
   * Takes them over: once, and again after a failure. No pull may begin before: its end would take with
   * it what is known of an earlier pull of the image [W32]. Rejects where they cannot be listed or
   * counted, and once closed.
   */
  adopt(): Promise<void> {
    this.#adoption ??= this.#adopt().catch((error: unknown) => {
      this.#adoption = undefined;
      throw error;
    });
    return this.#adoption;
  }

  async #list(): Promise<void> {
    const { pullManager, openNames, logger } = this.#options;
    if (listsIntents(pullManager)) {
      const { records, errors } = await pullManager.listImagePullIntents();
      for (const { code } of errors) logger.error('an intent cannot be read', { code });
      for (const { image } of records) this.#leftOver.add(image);
      for (const image of this.#leftOver) openNames.begin(image);
    }
    this.#hasListed = true;
  }

  async #adopt(): Promise<void> {
    await this.list();
    for (const image of this.#leftOver) {
      if (this.#isEnding) throw closedError('an unanswered pull', 'the image manager');
      // Begun once more, so that the end of another pull does not remove it.
      await this.#options.pullManager.recordPullIntent(image);
      this.add(image);
      this.#leftOver.delete(image);
      this.#options.openNames.end(image);
    }
  }

  /**
   * Goes on until all is settled, where that takes a few seconds, and ends. Pulls that are not settled
   * then keep their intents, and the next run takes those over: to wait for less than the time for
   * which the runtime must give the same answer would be a guess.
   */
  async close(): Promise<void> {
    this.#isEnding = true;
    this.#wake();
    const limitMs = this.#options.graceMs + CLOSE_SLACK_MS;
    if (this.#watching !== undefined && limitMs <= CLOSE_LIMIT_MS) {
      await within(limitMs, this.#watching);
    }
    this.#closing.abort();
    this.#wake();
    await this.#watching;
  }

  #opened(image: string): Unanswered {
    const known = this.#open.get(image);
    if (known !== undefined) return known;
    const sinceMs = performance.now();
    const pull = { image, sinceMs, count: 0, answer: null, answeredSinceMs: sinceMs };
    this.#open.set(image, pull);
    this.#options.openNames.begin(image);
    this.#watching ??= this.#watch();
    return pull;
  }

  /** Looks until nothing is open. Never rejects. */
  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    try {
      for (let unansweredMs = LOOK_MS_MIN; this.#open.size > 0 && !signal.aborted; ) {
        let isAnswered = true;
        for (const pull of this.#open.values()) {
          if (signal.aborted) return;
          if (!(await this.#look(pull))) isAnswered = false;
        }
        if (this.#open.size === 0 || (this.#isEnding && !isAnswered)) return;
        unansweredMs = isAnswered ? LOOK_MS_MIN : Math.min(unansweredMs * 2, LOOK_MS_MAX);
        await this.#pause(
          isAnswered ? Math.max(LOOK_MS_MIN, this.#options.graceMs / 2) : unansweredMs,
        );
      }
    } finally {
      // In the same turn as the last look at what is open: who comes next begins another watch.
      this.#watching = undefined;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Asks once; false: there was no answer, or what became of the pulls could not be recorded. */
  async #look(pull: Unanswered): Promise<boolean> {
    const { count } = pull;
    const answer = await this.#ask(pull.image);
    const nowMs = performance.now();
    // Of a runtime that does not answer it is not known what it is doing.
    if (answer === null || answer !== pull.answer) {
      pull.answer = answer;
      pull.answeredSinceMs = nowMs;
    }
    if (answer === null) return false;
    const isStale = pull.count !== count;
    if (isStale || nowMs - pull.answeredSinceMs < this.#options.graceMs) return true;
    try {
      await this.#record(pull, answer);
    } catch (error) {
      const { image } = pull;
      const message = 'what became of a pull cannot be recorded; its intent stays';
      this.#options.logger.warn(message, { image, code: errorCode(error) });
      if (!mayBeDone(error)) return false;
      // Its name stays open: the image may have neither record nor, under its other names, an intent.
      this.#open.delete(image);
      return true;
    }
    if (pull.count > 0) return true;
    this.#open.delete(pull.image);
    this.#options.openNames.end(pull.image);
    const became = answer === undefined ? 'absent' : 'present';
    this.#options.onSettled({ image: pull.image, became, durationMs: nowMs - pull.sinceMs });
    return true;
  }

  async #ask(image: string): Promise<SeenRef> {
    const { signal, unlink } = linkedSignal(
      AbortSignal.timeout(LOOK_LIMIT_MS),
      this.#closing.signal,
    );
    try {
      return await seenRef(this.#options.runtime, runtimeNameOf(image), signal);
    } finally {
      unlink();
    }
  }

  /** Ends the pulls that are open now; others may be added meanwhile. Rejects where it cannot. */
  async #record(pull: Unanswered, imageRef: string | undefined): Promise<void> {
    const { keeper } = this.#options;
    const { image } = pull;
    for (let left = pull.count; left > 0; left--) {
      // The record first: the last end removes the intent.
      if (imageRef !== undefined) await keeper.pulled(image, imageRef, null);
      else await keeper.failed(image);
      pull.count--;
    }
  }
}

function listsIntents(
  pullManager: ImagePullManager,
): pullManager is ImagePullManager & ListsIntents {
  return typeof (pullManager as Partial<ListsIntents>).listImagePullIntents === 'function';
}
