/** What happens to an engine while callers use it. */
import { setTimeout as delay, setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { stripeOf } from '../../../src/locks/stripe.ts';
import { StripedLockSet } from '../../../src/locks/striped-lock-set.ts';
import { setClock } from './clock.ts';
import type { SimulatedEngine } from './engine.ts';
import type { ClockChange, EventCount, Hold, Interval } from './history.ts';
import type { Disturbance } from './program.ts';
import { COMMAND } from './store-board.ts';
import type { Universe } from './universe.ts';

/** How long a stripe is held: long beside any call. */
const HOLD_MS = 4;
/** How many events a failing store lasts, and how long where nothing happens. */
const FAILURE_EVENTS = 6;
const FAILURE_MS = 20;

/** How often each kind of disturbance was survived. */
export type DisturbanceCounts = Record<
  'clock' | 'death' | 'hold' | 'restart' | 'storeFails',
  number
>;

/** Disturbs the histories of one program. */
export class Disturber {
  readonly troubles: Interval[] = [];
  readonly clock: ClockChange[] = [];
  readonly holds: Hold[] = [];
  readonly #engine: SimulatedEngine;
  readonly #events: EventCount;
  readonly #universes: readonly Universe[];
  readonly #counts: DisturbanceCounts;

  constructor(
    engine: SimulatedEngine,
    events: EventCount,
    universes: readonly Universe[],
    counts: DisturbanceCounts,
  ) {
    this.#engine = engine;
    this.#events = events;
    this.#universes = universes;
    this.#counts = counts;
  }

  /** Carries out what is due before the callers of a phase are done. */
  async run(disturbances: readonly Disturbance[], isDone: () => boolean): Promise<void> {
    const began = this.#events.last;
    for (const disturbance of disturbances.toSorted((a, b) => a.after - b.after)) {
      while (this.#events.last < began + disturbance.after) {
        if (isDone()) return;
        await turnOfEventLoop();
      }
      await this.#disturb(disturbance, isDone);
    }
  }

  async #disturb(disturbance: Disturbance, isDone: () => boolean): Promise<void> {
    const engine = this.#engine;
    switch (disturbance.kind) {
      case 'clock': {
        const ms = Date.now() + disturbance.byS * 1_000;
        const from = this.#events.next();
        setClock(ms);
        this.clock.push({ from, to: this.#events.next(), ms });
        this.#counts.clock++;
        return;
      }
      case 'hold': {
        const stripe = stripeOf(this.#universes[0]!.images[disturbance.image]!, engine.stripeCount);
        const unlock = await StripedLockSet.attach(engine.opener.handle.locks).lockStripeAsync(
          stripe,
        );
        const from = this.#events.next();
        await delay(HOLD_MS);
        this.holds.push({ from, to: this.#events.next(), keys: this.#keysOf(stripe) });
        unlock();
        this.#counts.hold++;
        return;
      }
      case 'death': {
        const { owners } = engine;
        if (owners.length === 0) return;
        await this.#trouble(async () => {
          await owners[disturbance.worker % owners.length]!.terminate();
        });
        this.#counts.death++;
        return;
      }
      case 'storeDies': {
        const before = new Set(engine.owners);
        if (before.size === 0) return;
        const command = disturbance.isDone ? COMMAND.EXIT_AFTER : COMMAND.EXIT;
        const hasDied = (): boolean => engine.owners.some((owner) => !before.has(owner));
        await this.#trouble(async () => {
          engine.board.set('commit', command, true);
          await this.#during(() => isDone() || hasDied());
        });
        if (hasDied()) this.#counts.death++;
        return;
      }
      default: {
        const command = disturbance.isDone ? COMMAND.FAIL_AFTER : COMMAND.FAIL;
        await this.#trouble(async () => {
          // A reading that failed has nothing to have done.
          const isCommit = disturbance.during === 'commit';
          engine.board.set(disturbance.during, isCommit ? command : COMMAND.FAIL, false);
          const until = this.#events.last + FAILURE_EVENTS;
          await this.#during(() => isDone() || this.#events.last >= until);
        });
        this.#counts.storeFails++;
      }
    }
  }

  /** From the first moment at which something may fail to the first at which all is well. */
  async #trouble(cause: () => Promise<void>): Promise<void> {
    const from = this.#events.next();
    await cause();
    this.#engine.board.work();
    await this.#engine.recovered();
    this.troubles.push({ from, to: this.#events.next() });
  }

  async #during(isOver: () => boolean): Promise<void> {
    const until = performance.now() + FAILURE_MS;
    while (!isOver() && performance.now() < until) await turnOfEventLoop();
  }

  #keysOf(stripe: number): string[] {
    return this.#universes
      .flatMap(({ images, imageRefs }) => [...images, ...imageRefs])
      .filter((key) => stripeOf(key, this.#engine.stripeCount) === stripe);
  }
}
