/** What happens to an engine while callers use it. */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { StripedLockSet } from '../../../src/locks/striped-lock-set.ts';
import { setClock } from './clock.ts';
import type { SimulatedEngine } from './engine.ts';
import type { ClockChange, EventCount, Interval } from './history.ts';
import type { Disturbance } from './program.ts';
import { COMMAND } from './store-board.ts';

/** How many events a disturbance lasts, and how long where nothing happens. */
const FAILURE_EVENTS = 24;
const HOLD_EVENTS = 40;
const REOPENING_EVENTS = 60;
const DISTURBANCE_MS = 20;

/** How often each kind of disturbance was survived. */
export type DisturbanceCounts = Record<
  'clock' | 'death' | 'hold' | 'restart' | 'storeFails',
  number
>;

/** Disturbs the histories of one program. */
export class Disturber {
  readonly troubles: Interval[] = [];
  readonly clock: ClockChange[] = [];
  readonly holds: Interval[] = [];
  readonly #engine: SimulatedEngine;
  readonly #events: EventCount;
  readonly #counts: DisturbanceCounts;
  readonly #look: () => Promise<void>;

  /** @param look Asks, while a worker is dead and everybody has heard of it. */
  constructor(
    engine: SimulatedEngine,
    events: EventCount,
    counts: DisturbanceCounts,
    look: () => Promise<void>,
  ) {
    this.#engine = engine;
    this.#events = events;
    this.#counts = counts;
    this.#look = look;
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
        const locks = StripedLockSet.attach(engine.opener.handle.locks);
        const unlock = await locks.globalLockAsync();
        const from = this.#events.next();
        const until = from + HOLD_EVENTS;
        await this.#during(() => isDone() || this.#events.last >= until);
        this.holds.push({ from, to: this.#events.next() });
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
          engine.board.holdOpenings();
          engine.board.set('commit', command, true);
          await this.#during(() => isDone() || hasDied());
          // As a store that takes its time to open: what callers are told meanwhile is the point.
          const until = this.#events.last + REOPENING_EVENTS;
          await this.#during(() => isDone() || this.#events.last >= until);
          await this.#look();
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
    const until = performance.now() + DISTURBANCE_MS;
    while (!isOver() && performance.now() < until) await turnOfEventLoop();
  }
}
