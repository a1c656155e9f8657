/**
 * Runs the script on one engine while a storage call fails, and says what was wrong: an answer that no
 * state explains, an error without a fault, something acknowledged that is gone, a call that hangs, a
 * descriptor that is left open.
 */
import { setTimeout as delay, setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { type Decision, PullManager, type PullManagerOptions } from '../../../src/index.ts';
import type { ModelOperation } from '../../support/pull-model.ts';
import { HangError } from '../../support/wait.ts';
import type { ErrorKind } from './calls.ts';
import { Oracle } from './oracle.ts';
import { PROBES, SCRIPT, STEP_NAMES, type Step } from './script.ts';
import type { Place, Switchboard } from './switchboard.ts';
import { type Asked, Witness } from './witness.ts';

/** What of a pull manager the script uses. */
export type Engine = Pick<
  PullManager,
  | 'recordPullIntent'
  | 'recordImagePulled'
  | 'recordImagePullFailed'
  | 'decide'
  | 'decideSync'
  | 'pruneUnknownRecords'
  | 'listImagePullIntents'
  | 'listImagePulledRecords'
  | 'getImagePulledRecord'
  | 'stats'
  | 'close'
>;

/**
 * `once`: one call fails. `while`: calls fail for some steps, then the disk is well. `dead`: calls fail
 * until the engine was closed: as it gives up then, what it left is what a crash would.
 */
export const MODES = ['once', 'while', 'dead'] as const;
export type Mode = (typeof MODES)[number];

export interface LifeFault {
  readonly place: Place;
  readonly error: ErrorKind;
  readonly mode: Mode;
}

export interface LifeOptions {
  readonly switchboard: Switchboard;
  readonly store: NonNullable<PullManagerOptions['store']>;
  readonly workerCount: number;
  /** Which call fails; undefined: none, and the calls are listed. */
  readonly fault: LifeFault | undefined;
  /** How long after a fault the engine may go on answering errors, in milliseconds. */
  readonly patienceMs: number;
  /** How long after a fault the engine may find out more, and refuse writes, in milliseconds. */
  readonly settleMs: number;
  /** @default the engine itself */
  readonly open?: (options: PullManagerOptions) => Promise<Engine>;
  /** Nothing takes longer than that, in milliseconds. */
  readonly guardMs?: number;
}

export interface LifeReport {
  /** Sentences; none: all is right. */
  readonly problems: string[];
  /** Whether the fault came. */
  readonly wasHit: boolean;
  /** Every call; only without a fault. */
  readonly calls: readonly Place[];
  /** Answers that were checked, and those of them that were an error, as the fault allowed. */
  readonly answers: number;
  readonly refusals: number;
  /** How long the engine needed until it answered without errors, in milliseconds, after the fault. */
  readonly recoveryMs: number;
  /** Something hangs: nothing else can be run in this process. */
  readonly hangs: boolean;
}

const GUARD_MS = 30_000;
/** Steps after which a disk that fails for a while is well. */
const STEPS_FAILING = 4;
const OPENINGS_FAILING = 2;
/** How long to wait until nothing goes on in the background. */
const QUIET_MS = 1_000;
const QUIET_TURNS = 4;
const RECOVERY_LOOK_MS = 5;
const STRIPES = 7;
/** More of them say nothing new. */
const PROBLEMS_MAX = 5;

/** There is no engine to go on with; what was wrong is reported. */
class StoppedError extends Error {}

export async function live(options: LifeOptions): Promise<LifeReport> {
  return new Life(options).run();
}

class Life {
  readonly #options: LifeOptions;
  readonly #board: Switchboard;
  readonly #oracle = new Oracle();
  readonly #witness: Witness;
  /** Pulls that are under way as far as their callers know. */
  readonly #pulling = new Map<string, number>();
  #engine: Engine | undefined;
  #workerCount: number;
  #recoveryMs = 0;
  #stepIndex = -1;
  #stepsFailing = 0;
  #replaced = 0;
  /** There was a fault since it was last seen that the engine is well. */
  #isUnwell = false;
  #hangs = false;

  constructor(options: LifeOptions) {
    this.#options = options;
    this.#board = options.switchboard;
    this.#witness = new Witness(this.#board, options.guardMs ?? GUARD_MS);
    this.#workerCount = options.workerCount;
  }

  async run(): Promise<LifeReport> {
    const { fault } = this.#options;
    this.#board.arm(fault && { ...fault, isLasting: fault.mode !== 'once' });
    try {
      await this.#script();
    } catch (error) {
      if (error instanceof HangError) this.#witness.report(error.message);
      else if (!(error instanceof StoppedError)) throw error;
      this.#hangs = error instanceof HangError;
    } finally {
      this.#board.heal();
    }
    return {
      problems: this.#witness.problems,
      wasHit: this.#board.hits > 0,
      calls: fault === undefined ? this.#board.log : [],
      answers: this.#witness.answers,
      refusals: this.#witness.refusals,
      recoveryMs: this.#recoveryMs,
      hangs: this.#hangs,
    };
  }

  async #script(): Promise<void> {
    await this.#step(() => this.#open());
    for (const step of SCRIPT) {
      if (this.#witness.problems.length >= PROBLEMS_MAX) break;
      await this.#step(() => this.#do(step));
    }
    await this.#step(() => this.#close());
    this.#board.heal();
    if (this.#witness.problems.length === 0) await this.#lookAgain();
  }

  /** The disk is well: everything acknowledged is there, and the store takes more. */
  async #lookAgain(): Promise<void> {
    await this.#step(async () => {
      await this.#open();
      await this.#do({ do: 'list' });
      await this.#do({ do: 'intent', image: 'registry.test/next/app:1' });
      await this.#do({
        do: 'pulled',
        image: 'registry.test/next/app:1',
        imageRef: 'sha256:0/next/1',
        credentials: { nodePodsAccessible: true },
      });
      await this.#do({ do: 'list' });
    });
    await this.#step(() => this.#close());
  }

  async #step(run: () => Promise<void>): Promise<void> {
    this.#board.step = ++this.#stepIndex;
    this.#witness.beginStep(STEP_NAMES[this.#stepIndex]!);
    await run();
    await this.#quiet();
    await this.#probe();
    if (this.#board.isFailing && this.#options.fault?.mode === 'while') {
      if (++this.#stepsFailing >= STEPS_FAILING) this.#board.heal();
    }
    if (this.#witness.isTroubled) this.#isUnwell = true;
    if (this.#isUnwell && !this.#board.isFailing) await this.#recover();
  }

  async #do(step: Step): Promise<void> {
    if (step.do === 'reopen') return this.#reopen(step.workers);
    const engine = this.#engine!;
    switch (step.do) {
      case 'together':
        await Promise.all(step.steps.map((one) => this.#do(one)));
        return;
      case 'intent': {
        const { image } = step;
        const isDone = await this.#write({ op: 'intent', image }, () =>
          engine.recordPullIntent(image),
        );
        if (isDone) this.#pulling.set(image, (this.#pulling.get(image) ?? 0) + 1);
        return;
      }
      case 'failed': {
        const { image } = step;
        if (!this.#endPull(image)) return;
        await this.#write({ op: 'failed', image }, () => engine.recordImagePullFailed(image));
        return;
      }
      case 'pulled': {
        const { image, imageRef, credentials } = step;
        if (!this.#endPull(image)) return;
        await this.#write({ op: 'pulled', image, imageRef, credentials }, () =>
          engine.recordImagePulled(image, imageRef, credentials),
        );
        return;
      }
      case 'decide':
        return this.#decide(engine, step);
      case 'get': {
        const { imageRef } = step;
        const got = await this.#witness.ask(`get ${imageRef}`, () =>
          engine.getImagePulledRecord(imageRef),
        );
        if (got.isAnswered) this.#witness.report(this.#oracle.got(imageRef, got.answer));
        return;
      }
      case 'list':
        return this.#list(engine);
      case 'prune':
        return this.#prune(engine, step.imageRefs);
    }
  }

  /** False: that pull never began, as its intent was rejected. */
  #endPull(image: string): boolean {
    const count = this.#pulling.get(image) ?? 0;
    if (count > 0) this.#pulling.set(image, count - 1);
    return count > 0;
  }

  /** Answers whether it was acknowledged. */
  async #write(
    operation: ModelOperation & { readonly image: string },
    call: () => Promise<void>,
  ): Promise<boolean> {
    const { isAnswered } = await this.#witness.ask(`${operation.op} ${operation.image}`, call);
    if (isAnswered) this.#oracle.acknowledged(operation);
    else this.#oracle.uncertain(operation);
    return isAnswered;
  }

  async #decide(engine: Engine, step: Step & { do: 'decide' }): Promise<void> {
    const { image, imageRef, credentials } = step;
    const asked = await this.#witness.ask(`decide on ${image}`, () =>
      engine.decide(image, imageRef, credentials),
    );
    if (!asked.isAnswered || this.#witness.isRefusal(asked.answer)) return;
    this.#witness.report(this.#oracle.decided(step, asked.answer));
    const operation: ModelOperation = { op: 'decide', image, imageRef, credentials };
    // What the match teaches is written without anybody being told of a failure.
    if (this.#witness.isTroubled) this.#oracle.uncertain({ ...operation, image });
    else this.#oracle.acknowledged({ ...operation, image });
  }

  async #list(engine: Engine): Promise<void> {
    const intents = await this.#witness.ask('list intents', () => engine.listImagePullIntents());
    if (intents.isAnswered && !this.#witness.isPartial(intents.answer.errors)) {
      const images = intents.answer.records.map(({ image }) => image);
      this.#witness.report(...this.#oracle.listedIntents(images));
    }
    const records = await this.#witness.ask('list records', () => engine.listImagePulledRecords());
    if (records.isAnswered && !this.#witness.isPartial(records.answer.errors)) {
      this.#witness.report(...this.#oracle.listedRecords(records.answer.records));
    }
  }

  async #prune(engine: Engine, imageRefs: readonly string[]): Promise<void> {
    const { least, most } = this.#oracle.prunable(imageRefs);
    const until = new Date(Date.now() + 3_600_000);
    const asked = await this.#witness.ask('prune', () =>
      engine.pruneUnknownRecords(imageRefs, until),
    );
    const wereAll = asked.isAnswered && !this.#witness.isPartial(asked.answer.errors);
    this.#oracle.pruned(imageRefs, wereAll);
    if (!wereAll) return;
    const { pruned } = asked.answer;
    if (pruned < least || pruned > most)
      this.#witness.report(`pruned ${pruned}, not ${least} to ${most}`);
  }

  async #reopen(workers: 'same' | 'other'): Promise<void> {
    await this.#close();
    const { workerCount } = this.#options;
    // An engine without threads stays one: a thread takes longer to start than all else.
    if (workers === 'other' && workerCount > 0) this.#workerCount = workerCount === 1 ? 2 : 1;
    await this.#open();
    await this.#list(this.#engine!);
    if (!this.#witness.isTroubled) this.#oracle.settle();
  }

  async #open(): Promise<void> {
    const { store, open = PullManager.open.bind(PullManager), fault } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const hits = this.#board.hits;
      const options = { store, workerCount: this.#workerCount, stripeCount: STRIPES };
      const opened = await this.#witness.ask('open', () => open(options));
      if (opened.isAnswered) {
        this.#engine = opened.answer;
        break;
      }
      await this.#quiet();
      this.#checkDescriptors('an opening that failed');
      if (attempt >= OPENINGS_FAILING || fault?.mode === 'once') this.#board.heal();
      // Without a fault in this attempt another one is of no use.
      if (this.#board.hits === hits) throw new StoppedError();
    }
    this.#oracle.restarted();
    this.#replaced = 0;
  }

  async #close(): Promise<void> {
    const engine = this.#engine!;
    this.#engine = undefined;
    this.#pulling.clear();
    await this.#witness.ask('close', () => engine.close());
    await this.#quiet();
    if (this.#options.fault?.mode === 'dead' && this.#board.hits > 0) this.#board.heal();
    this.#checkDescriptors('the engine was closed');
  }

  /** Everybody asks for everything. */
  async #probe(): Promise<void> {
    const engine = this.#engine;
    if (engine === undefined) return;
    const { workersReplaced } = engine.stats();
    // A new owner has read the store: what it shows may be another of the states.
    if (workersReplaced !== this.#replaced) this.#oracle.reread();
    this.#replaced = workersReplaced;
    for (const probe of PROBES) {
      if (this.#witness.problems.length >= PROBLEMS_MAX) return;
      const { image, imageRef, credentials } = probe;
      const local = engine.decideSync(image, imageRef, credentials);
      let asked: Asked<Decision>;
      if (local === undefined) {
        asked = await this.#witness.ask('a probe', () =>
          engine.decide(image, imageRef, credentials),
        );
      } else {
        asked = { isAnswered: true, answer: local };
        this.#witness.answers++;
      }
      if (!asked.isAnswered || this.#witness.isRefusal(asked.answer)) continue;
      this.#witness.report(this.#oracle.decided(probe, asked.answer));
    }
  }

  /** Waits until the engine is well; from then on there may be no errors. */
  async #recover(): Promise<void> {
    this.#isUnwell = false;
    this.#witness.isRecovering = true;
    await this.#untilAnswered();
    // What it finds out late, and what it tries again by itself.
    await delay(this.#options.settleMs);
    await this.#untilAnswered();
    this.#witness.isRecovering = false;
  }

  async #untilAnswered(): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      await this.#quiet();
      const { refusals } = this.#witness;
      await this.#probe();
      if (this.#witness.refusals === refusals) return;
      const tookMs = performance.now() - startedMs;
      this.#recoveryMs = Math.max(this.#recoveryMs, tookMs);
      if (tookMs > this.#options.patienceMs) {
        this.#witness.report(`after ${Math.round(tookMs)} ms without a fault it answers errors`);
        return;
      }
      await delay(RECOVERY_LOOK_MS);
    }
  }

  /** Waits until no call is under way, and none has come for a while. */
  async #quiet(): Promise<void> {
    const board = this.#board;
    const until = performance.now() + QUIET_MS;
    for (let turns = 0; turns < QUIET_TURNS && performance.now() < until; turns++) {
      const { calls } = board;
      if (this.#workerCount === 0) await turnOfEventLoop();
      else await delay(1);
      if (board.busy > 0 || board.calls !== calls) turns = -1;
    }
  }

  #checkDescriptors(when: string): void {
    const { openDescriptors } = this.#board;
    if (openDescriptors !== 0)
      this.#witness.report(`${openDescriptors} descriptors are open after ${when}`);
  }
}
