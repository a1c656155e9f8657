/**
 * What drives an owner: a loop that blocks between batches, for a worker thread, and one that is
 * kicked, for the calling thread.
 */
import { setTimeout as delay, setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import type { AccessorContext, OwnedAccessor } from '../accessors/accessor.ts';
import type { StoreSpec } from '../accessors/backend.ts';
import type { StripedLockHandle } from '../locks/lock-arguments.ts';
import { holderIdOfThread, StripedLockSet } from '../locks/striped-lock-set.ts';
import { waitWhileEqualAsync } from '../locks/wait.ts';
import { SharedMetrics } from '../metrics/shared-metrics.ts';
import { SharedState, WORKER, WORKER_STATE } from '../protocol/shared-state.ts';
import { InFlightTable } from './in-flight-table.ts';
import { Owner } from './owner.ts';

/** Everything an owner needs; structured-cloneable. */
export interface OwnerTask {
  readonly control: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
  readonly inFlight: SharedArrayBuffer;
  readonly locks: StripedLockHandle;
  readonly store: StoreSpec;
  /** The store's own promises and timers must run while the owner waits. */
  readonly needsEventLoop: boolean;
  readonly workerIndex: number;
  readonly generation: number;
}

/** Opens an owner's part of a store; in a worker, of its own kind only. */
export type OpenStore = (
  spec: StoreSpec,
  context: AccessorContext,
) => OwnedAccessor | Promise<OwnedAccessor>;

/** How long an owner looks at its doorbell before it sleeps: waking a thread takes 60 to 80 µs. */
const SPIN_MS = 0.2;
/** Looks between two looks at the clock. */
const SPIN_LOOKS = 64;
/** How long a stopping owner waits for hosts that have answers to read. */
const STOP_GRACE_MS = 1_000;
/** Longest sleep of an idle owner, should a wake-up be lost. */
const SLEEP_MS = 1_000;

async function openOwner(task: OwnerTask, openStore: OpenStore, mayBlock: boolean): Promise<Owner> {
  const state = SharedState.attach(task.control);
  const context = {
    workerIndex: task.workerIndex,
    workerCount: state.workerCount,
    stripeCount: state.stripeCount,
    generation: task.generation,
    mayBlock,
    wake: () => state.ringDoorbell(task.workerIndex),
  };
  const owner = new Owner({
    state,
    context,
    accessor: await openStore(task.store, context),
    locks: StripedLockSet.attach(task.locks),
    inFlight: new InFlightTable(task.inFlight, task.workerIndex),
    metrics: new SharedMetrics(task.metrics, state.workerCount),
    now: Date.now,
  });
  try {
    await owner.start();
  } catch (error) {
    await owner.accessor.close();
    throw error;
  }
  return owner;
}

/** Runs an owner in a worker thread until it is asked to stop. Rejects when it cannot go on. */
export async function runOwner(task: OwnerTask, openStore: OpenStore): Promise<void> {
  const state = SharedState.attach(task.control);
  const { words } = state;
  const at = state.workerAt(task.workerIndex);
  Atomics.store(words, at + WORKER.HOLDER, holderIdOfThread(threadId));
  const owner = await openOwner(task, openStore, true);
  try {
    Atomics.store(words, at + WORKER.STATE, WORKER_STATE.RUNNING);
    state.wakeAllHosts();
    let stopGraceMs = STOP_GRACE_MS;
    for (;;) {
      // Read before looking for work, so that whatever comes later changes it.
      const bell = Atomics.load(words, at + WORKER.DOORBELL);
      if (owner.hasWork()) await owner.turn();
      else if (Atomics.load(words, at + WORKER.STOP) !== 0) {
        // A host that reads no answers any more, perhaps a dead thread, must not keep us.
        if (!owner.waitsForHost() || stopGraceMs-- <= 0) break;
        await delay(1);
      } else await rest(owner, words, at, bell, task.needsEventLoop);
      if (owner.accessor.maintenance !== undefined) await turnOfEventLoop();
    }
  } finally {
    await owner.accessor.close();
  }
  Atomics.store(words, at + WORKER.STATE, WORKER_STATE.STOPPED);
}

/** Waits until the doorbell is no longer `bell`: awake for a moment, then asleep. */
async function rest(
  owner: Owner,
  words: Int32Array,
  at: number,
  bell: number,
  needsEventLoop: boolean,
): Promise<void> {
  const doorbell = at + WORKER.DOORBELL;
  const spinUntil = performance.now() + SPIN_MS;
  do {
    for (let i = 0; i < SPIN_LOOKS; i++) if (Atomics.load(words, doorbell) !== bell) return;
  } while (performance.now() < spinUntil);
  // A host looks at SLEEPING after it has rung, and the wait begins only if nobody has.
  Atomics.store(words, at + WORKER.SLEEPING, 1);
  if (needsEventLoop) {
    await waitWhileEqualAsync(words, doorbell, bell, SLEEP_MS);
  } else {
    const sleepMs = owner.accessor.maintenance === undefined ? SLEEP_MS : 1;
    Atomics.wait(words, doorbell, bell, sleepMs);
  }
  Atomics.store(words, at + WORKER.SLEEPING, 0);
}

/** An owner in the calling thread: works when kicked, and when another host thread rings. */
export class InlineOwner {
  /** Resolves when the owner has stopped, rejects when it cannot go on. */
  readonly ended: Promise<void>;
  readonly #owner: Owner;
  readonly #state: SharedState;
  #running: Promise<void> | undefined;
  #isStopped = false;
  #end!: (outcome: Promise<void>) => void;

  private constructor(owner: Owner, state: SharedState) {
    this.#owner = owner;
    this.#state = state;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  static async open(task: OwnerTask, openStore: OpenStore): Promise<InlineOwner> {
    const state = SharedState.attach(task.control);
    const at = state.workerAt(task.workerIndex);
    Atomics.store(state.words, at + WORKER.HOLDER, holderIdOfThread(threadId));
    const inline = new InlineOwner(await openOwner(task, openStore, false), state);
    Atomics.store(state.words, at + WORKER.SLEEPING, 1);
    Atomics.store(state.words, at + WORKER.STATE, WORKER_STATE.RUNNING);
    inline.#listen(at + WORKER.DOORBELL);
    return inline;
  }

  /** Starts working, if there is something to do and nothing under way. */
  kick(): void {
    if (this.#running !== undefined || this.#isStopped || !this.#owner.hasWork()) return;
    this.#running = this.#work();
  }

  /** Finishes what is there and closes the store. */
  async stop(): Promise<void> {
    while (!this.#isStopped && (this.#running !== undefined || this.#owner.hasWork())) {
      this.kick();
      await this.#running;
    }
    if (this.#isStopped) return;
    this.#finish(undefined);
    // Whoever watches over the owner hears of a failure.
    await this.ended.catch(() => {});
  }

  async #work(): Promise<void> {
    try {
      while (this.#owner.hasWork()) {
        await this.#owner.turn();
        // Jobs and stores that answer at once must not keep the host's own callbacks waiting.
        if (this.#owner.hasWork()) await turnOfEventLoop();
      }
    } catch (error) {
      this.#finish(error);
    } finally {
      this.#running = undefined;
    }
  }

  #finish(error: unknown): void {
    this.#isStopped = true;
    this.#state.ringDoorbell(this.#owner.context.workerIndex);
    this.#end(
      (async () => {
        await this.#owner.accessor.close();
        if (error !== undefined) throw error;
      })(),
    );
  }

  /** Other threads ring the doorbell; this wait does not keep the process alive. */
  #listen(doorbell: number): void {
    if (this.#isStopped) return;
    const words = this.#state.words;
    const wait = Atomics.waitAsync(words, doorbell, Atomics.load(words, doorbell));
    this.kick();
    if (wait.async) void wait.value.then(() => this.#listen(doorbell));
    else this.#listen(doorbell);
  }
}
