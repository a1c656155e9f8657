/**
 * A pull storm that reports the start and the end of every write: pulls that succeed, fail or never
 * end, secrets that rotate, pruning, and tenants that must not get in.
 */
import { setTimeout as delay, setImmediate as turnOfEventLoop } from 'node:timers/promises';
import type { PullManager } from '../../../src/pull-manager.ts';
import { Random } from '../../../src/util/random.ts';
import {
  ANSWER,
  EVENT,
  type EventSink,
  FOREIGN,
  OPERATION,
  type StormEvent,
  stormEvent,
} from './log.ts';
import {
  CREDENTIALS,
  credentialsCode,
  credentialsOf,
  foreignCredentials,
  IMAGE_COUNT,
  imageOf,
  listedRefs,
  mayBeNodeWide,
  PRUNE_CLASSES,
  podCredentialsOf,
  refOf,
  refsOf,
  tenantOf,
} from './universe.ts';

export interface StormOptions {
  readonly manager: PullManager;
  readonly sink: EventSink;
  readonly seed: number;
  readonly callers: number;
  /** Rises over the lives of a store; secrets rotate with it. */
  readonly version: number;
  /** Called with the code of each failed write; answers whether the caller goes on. */
  readonly onFailure: (code: string) => boolean | Promise<boolean>;
}

/** The failure of a pull, as planned. */
class PullFailure extends Error {}

/** More operations at a time would leave a key with too many possible states. */
const RUNNING_PER_KEY_MAX = 5;
const PRUNE_EVERY_MS = 15;
/** By the reason of a decision. */
const ANSWERS = {
  mustAuthenticate: ANSWER.REFUSED,
  credentialRecordFound: ANSWER.FOUND,
  credentialPolicyAllowed: ANSWER.ALLOWED,
} as const;
/** A call that is aborted may still take effect. */
const UNDECIDED = 'ERR_PULLMANAGER_ABORTED';

/** Runs until told to stop. */
export class CrashStorm {
  readonly #options: StormOptions;
  readonly #running = new Map<string, number>();
  /** Images of `withPull` calls whose pull has not begun. */
  readonly #waiting = new Set<{ readonly image: number }>();
  #nextId = 0;
  #isStopped = false;
  #isClosing = false;

  constructor(options: StormOptions) {
    this.#options = options;
  }

  /** Call before the manager is closed: it then ends pulls that were never begun. */
  beginClose(): void {
    this.#isClosing = true;
    for (const { image } of this.#waiting) this.#start(OPERATION.FAILED, { image });
  }

  /** Lets the callers finish what they are at. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Resolves when every caller has stopped; no call is left unanswered then. */
  async run(): Promise<void> {
    const { callers, seed } = this.#options;
    const runs = Array.from({ length: callers }, (_, i) => this.#call(new Random(seed, i)));
    await Promise.all([...runs, this.#prune(new Random(seed, callers))]);
  }

  /** Ends pulls one by one, as a caller that comes to its senses. */
  async fail(image: number, times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      await this.#write(OPERATION.FAILED, { image }, () =>
        this.#options.manager.recordImagePullFailed(imageOf(image)),
      );
    }
  }

  async #call(random: Random): Promise<void> {
    for (let turn = 1; !this.#isStopped; turn++) {
      const image = Math.floor(random.share() ** 2 * IMAGE_COUNT);
      const ref = refsOf(image)[random.below(4) === 0 ? 1 : 0];
      if (this.#isBusy(image, ref)) await turnOfEventLoop();
      else if (!(await this.#scenario(random, image, ref))) return;
      if (turn % 8 === 0) await turnOfEventLoop();
    }
  }

  /** One thing that a caller does; false: it gives up. */
  async #scenario(random: Random, image: number, ref: number): Promise<boolean> {
    const { manager } = this.#options;
    const text = imageOf(image);
    const kind = random.below(100);
    if (kind < 6) return this.#look(random, image, ref);
    if (kind < 14) return this.#match(random, image, ref);
    if (kind < 24) return this.#withPull(random, image, ref);
    if (kind < 27) {
      return this.#write(OPERATION.FAILED, { image }, () => manager.recordImagePullFailed(text));
    }
    if (!(await this.#write(OPERATION.INTENT, { image }, () => manager.recordPullIntent(text)))) {
      return !this.#isStopped;
    }
    if (random.below(3) === 0) await this.#look(random, image, ref);
    const outcome = random.below(100);
    if (outcome < 10) return true;
    if (random.below(4) === 0) await turnOfEventLoop();
    if (outcome < 30) {
      return this.#write(OPERATION.FAILED, { image }, () => manager.recordImagePullFailed(text));
    }
    const credentials = this.#credentials(random, image);
    return this.#write(OPERATION.PULLED, { image, ref, credentials }, () =>
      manager.recordImagePulled(text, refOf(ref), credentialsOf(credentials)),
    );
  }

  async #withPull(random: Random, image: number, ref: number): Promise<boolean> {
    const intent = this.#start(OPERATION.INTENT, { image });
    const fails = random.below(3) === 0;
    const credentials = this.#credentials(random, image);
    let outcome: StormEvent | undefined;
    const waiting = { image };
    this.#waiting.add(waiting);
    if (this.#isClosing) this.#start(OPERATION.FAILED, { image });
    try {
      await this.#options.manager.withPull(imageOf(image), async () => {
        this.#waiting.delete(waiting);
        this.#end(EVENT.ACK, intent);
        if (random.below(2) === 0) await turnOfEventLoop();
        outcome = fails
          ? this.#start(OPERATION.FAILED, { image })
          : this.#start(OPERATION.PULLED, { image, ref, credentials });
        if (fails) throw new PullFailure();
        return { imageRef: refOf(ref), credentials: credentialsOf(credentials) };
      });
      this.#end(EVENT.ACK, outcome!);
      return true;
    } catch (error) {
      const last = outcome ?? intent;
      if (!(error instanceof PullFailure)) return await this.#failed(last, error);
      this.#end(EVENT.ACK, last);
      return true;
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** A tenant with access, sometimes with a rotated secret or one of the same content. */
  async #match(random: Random, image: number, ref: number): Promise<boolean> {
    const tenant = tenantOf(image, random.below(4));
    const version = this.#options.version + random.below(2);
    const kind = random.below(4) === 0 ? CREDENTIALS.SHARED_SECRET : CREDENTIALS.SECRET;
    // A group of tenants has secrets of the same content.
    const shift = kind === CREDENTIALS.SHARED_SECRET ? random.below(2) * 8 : 0;
    const credentials = credentialsCode(kind, (tenant + shift) % 64, version);
    return this.#write(OPERATION.MATCH, { image, ref, credentials }, () =>
      this.#options.manager.mustAttemptImagePull(
        imageOf(image),
        refOf(ref),
        podCredentialsOf(credentials),
      ),
    );
  }

  /** Somebody without access asks, or a tenant that may have some. */
  async #look(random: Random, image: number, ref: number): Promise<boolean> {
    const isForeign = random.below(2) === 0;
    const foreign = foreignCredentials(image);
    const credentials = isForeign
      ? FOREIGN
      : credentialsCode(CREDENTIALS.ACCOUNT, tenantOf(image, random.below(4)));
    const presented = isForeign
      ? foreign[random.below(foreign.length)]!
      : podCredentialsOf(credentials);
    const started = this.#start(OPERATION.LOOK, { image, ref, credentials });
    const { reason } = await this.#options.manager.decide(imageOf(image), refOf(ref), presented);
    if (isForeign && reason === 'credentialRecordFound' && !mayBeNodeWide(image)) {
      this.#options.sink(stormEvent(EVENT.VIOLATION, { image, ref, timeMs: Date.now() }));
    }
    // An error says nothing about what there is.
    if (reason === 'error') this.#end(EVENT.REJECT, started);
    else this.#end(EVENT.ACK, { ...started, unlisted: ANSWERS[reason] });
    return true;
  }

  async #prune(random: Random): Promise<void> {
    const { manager } = this.#options;
    while (!this.#isStopped) {
      await delay(PRUNE_EVERY_MS);
      const unlisted = random.below(PRUNE_CLASSES);
      const untilMs = Date.now() - [0, 0, 50, 500][random.below(4)]!;
      const fields = { unlisted, timeMs: untilMs };
      const isOver = !(await this.#write(OPERATION.PRUNE, fields, async () => {
        const result = await manager.pruneUnknownRecords(listedRefs(unlisted), new Date(untilMs));
        if (result.errors.length > 0) throw result.errors[0]!;
      }));
      if (isOver) return;
    }
  }

  #credentials(random: Random, image: number): number {
    const tenant = tenantOf(image, random.below(4));
    const version = this.#options.version + random.below(2);
    const kind = random.below(100);
    if (kind < 10 && mayBeNodeWide(image)) return credentialsCode(CREDENTIALS.NODE_WIDE);
    if (kind < 15) return credentialsCode(CREDENTIALS.UNKNOWN);
    if (kind < 18) return credentialsCode(CREDENTIALS.EMPTY);
    if (kind < 28) return credentialsCode(CREDENTIALS.ACCOUNT, tenant);
    if (kind < 38) return credentialsCode(CREDENTIALS.SECRET_AND_ACCOUNT, tenant, version);
    if (kind < 46) return credentialsCode(CREDENTIALS.SHARED_SECRET, tenant);
    if (kind < 52) return credentialsCode(CREDENTIALS.TWO_SECRETS, tenant, version);
    return credentialsCode(CREDENTIALS.SECRET, tenant, version);
  }

  /** Reports, calls, reports; false where it failed and the caller gives up. */
  async #write(
    operation: number,
    fields: Partial<StormEvent>,
    call: () => Promise<unknown>,
  ): Promise<boolean> {
    const started = this.#start(operation, fields);
    try {
      await call();
    } catch (error) {
      return this.#failed(started, error);
    }
    this.#end(EVENT.ACK, started);
    return true;
  }

  async #failed(started: StormEvent, error: unknown): Promise<boolean> {
    const code = String((error as { code?: unknown }).code ?? error);
    if (code !== UNDECIDED) this.#end(EVENT.REJECT, started);
    return (await this.#options.onFailure(code)) && !this.#isStopped;
  }

  #start(operation: number, fields: Partial<StormEvent>): StormEvent {
    this.#nextId++;
    const timeMs = Date.now();
    const event = stormEvent(EVENT.START, { timeMs, ...fields, operation, id: this.#nextId });
    this.#options.sink(event);
    this.#occupy(event, 1);
    return event;
  }

  #end(kind: number, started: StormEvent): void {
    this.#options.sink({ ...started, event: kind, timeMs: Date.now() });
    this.#occupy(started, -1);
  }

  #isBusy(image: number, ref: number): boolean {
    const onImage = this.#running.get(`i${image}`) ?? 0;
    const onRef = this.#running.get(`r${ref}`) ?? 0;
    return onImage >= RUNNING_PER_KEY_MAX || onRef >= RUNNING_PER_KEY_MAX;
  }

  #occupy({ operation, image, ref }: StormEvent, change: number): void {
    const { LOOK, MATCH, PRUNE, PULLED } = OPERATION;
    if (operation === PRUNE) return;
    const isQuestion = operation === MATCH || operation === LOOK;
    const keys = isQuestion ? [] : [`i${image}`];
    if (operation === PULLED || isQuestion) keys.push(`r${ref}`);
    for (const key of keys) {
      const running = (this.#running.get(key) ?? 0) + change * (operation === MATCH ? 2 : 1);
      if (running === 0) this.#running.delete(key);
      else this.#running.set(key, running);
    }
  }
}
