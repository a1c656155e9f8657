/**
 * Starts the owners, replaces those that die, and stops them: the control plane of the engine.
 *
 * One piscina task per owner, which lasts until the engine closes; its rejection is how a death is
 * seen. Only then is the generation raised, so the dead thread can no longer have the stripes.
 */
import { Piscina } from 'piscina';
import type { StoreBackend } from '../accessors/backend.ts';
import { openAccessor } from '../accessors/open-accessor.ts';
import { fromWire, PullManagerError, quote, type WireError } from '../errors.ts';
import type { StripedLockSet } from '../locks/striped-lock-set.ts';
import { waitWhileEqualAsync } from '../locks/wait.ts';
import type { Logger } from '../logger.ts';
import { HOST_ROW, type SharedMetrics } from '../metrics/shared-metrics.ts';
import { HOST, type SharedState, WORKER, WORKER_STATE } from '../protocol/shared-state.ts';
import { UnpublishedSlots } from '../protocol/unpublished-slots.ts';
import { workerEntry } from '../protocol/worker-entry.ts';
import { within } from '../util/within.ts';
import { InFlightTable } from './in-flight-table.ts';
import { InlineOwner, type OwnerTask } from './owner-loop.ts';
import { RestartBackoff } from './restart-backoff.ts';

/** How often a starting thread is looked at. */
const START_UP_LOOK_MS = 50;

export interface SupervisorOptions {
  readonly state: SharedState;
  readonly metrics: SharedMetrics;
  readonly locks: StripedLockSet;
  readonly backend: StoreBackend;
  /** 0: one owner, in the calling thread. */
  readonly workerCount: number;
  readonly logger: Logger;
}

/** Keeps every stripe owned. Used by the thread that opened the engine. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #inFlight: SharedArrayBuffer;
  readonly #tasks = new Map<number, Promise<void>>();
  readonly #pools = new Set<Piscina>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #backoffs: readonly RestartBackoff[];
  #inline: InlineOwner | undefined;
  #hasStarted = false;
  #isStopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { workerCount } = options.state;
    this.#inFlight = InFlightTable.allocate(workerCount);
    this.#backoffs = Array.from({ length: workerCount }, () => new RestartBackoff());
  }

  /** Starts all owners; rejects with the first one's reason if one cannot open its store. */
  async start(): Promise<void> {
    const { state } = this.#options;
    const starts: Promise<void>[] = [];
    for (let worker = 0; worker < state.workerCount; worker++) starts.push(this.#run(worker, 1));
    await Promise.all(starts);
    this.#hasStarted = true;
  }

  /** Lets the owner of the calling thread, if it is there, look for work. */
  kick(): void {
    this.#inline?.kick();
  }

  /**
   * Asks all owners to drain their rings and close their stores, and waits until they have. After
   * `limitMs` their threads are ended; one in the calling thread is left to itself.
   */
  async stop(limitMs: number): Promise<void> {
    this.#isStopping = true;
    const { state } = this.#options;
    for (const timer of this.#timers) clearTimeout(timer);
    const inlineStopped = this.#inline?.stop() ?? Promise.resolve();
    for (let worker = 0; worker < state.workerCount; worker++) {
      Atomics.store(state.words, state.workerAt(worker) + WORKER.STOP, 1);
      state.ringDoorbell(worker);
    }
    const ended = Promise.all([inlineStopped, ...this.#tasks.values()]);
    if (await within(limitMs, ended)) return;
    this.#options.logger.error('owners did not end in time');
    await within(limitMs, Promise.all(Array.from(this.#pools, (pool) => pool.destroy())));
  }

  #task(workerIndex: number, generation: number): OwnerTask {
    const { state, metrics, locks, backend } = this.#options;
    return {
      control: state.buffer,
      metrics: metrics.buffer,
      inFlight: this.#inFlight,
      locks: locks.handle,
      store: backend.spec,
      needsEventLoop: backend.needsEventLoop,
      workerIndex,
      generation,
    };
  }

  /** Starts an owner. Settles when it runs or has failed to; watches over it from then on. */
  #run(workerIndex: number, generation: number): Promise<void> {
    const { state, logger } = this.#options;
    const { words } = state;
    const at = state.workerAt(workerIndex);
    Atomics.store(words, at + WORKER.STATE, WORKER_STATE.STARTING);
    Atomics.store(words, at + WORKER.SLEEPING, 0);
    Atomics.store(words, at + WORKER.HOLDER, 0);
    Atomics.store(words, at + WORKER.GENERATION, generation);
    state.wakeAllHosts();
    const startedAtMs = performance.now();
    let runningAtMs: number | undefined;
    const ownerTask = this.#task(workerIndex, generation);
    const isInline = this.#options.workerCount === 0;
    const task = isInline ? this.#runInline(ownerTask) : this.#runInPool(ownerTask);
    const ended = task.then(
      () => undefined,
      (error: unknown) => {
        Atomics.store(words, at + WORKER.STATE, WORKER_STATE.LOST);
        // Before anybody hears of the death, so that decisions agree with what the store holds then.
        new UnpublishedSlots(state, workerIndex).raise();
        // An owner in the calling thread has freed its own.
        const holder = Atomics.load(words, at + WORKER.HOLDER);
        if (!isInline && holder !== 0) this.#options.locks.releaseHeldBy(holder);
        if (!this.#hasStarted || this.#isStopping) {
          logger.warn('a worker ended badly', { workerIndex, error: nameOf(error) });
          // Nobody will take its place: what waits for it must not wait for ever.
          Atomics.add(words, at + WORKER.GENERATION, 1);
          state.wakeAllHosts();
          return;
        }
        logger.error('a worker died and is being replaced', { workerIndex, error: nameOf(error) });
        const diedAtMs = performance.now();
        const startedUpAtMs = runningAtMs ?? diedAtMs;
        const pauseMs = this.#backoffs[workerIndex]!.died(
          startedUpAtMs - startedAtMs,
          diedAtMs - startedUpAtMs,
        );
        this.#replace(workerIndex, generation + 1, pauseMs);
      },
    );
    this.#tasks.set(workerIndex, ended);
    const running = this.#running(workerIndex).then(() => {
      runningAtMs = performance.now();
    });
    return Promise.race([running, task]);
  }

  #replace(workerIndex: number, generation: number, pauseMs: number): void {
    const { state, metrics } = this.#options;
    const row = metrics.hostRow(0);
    row[HOST_ROW.WORKERS_REPLACED] = row[HOST_ROW.WORKERS_REPLACED]! + 1;
    // Raised at once: callers are told now, not when the replacement runs.
    Atomics.store(state.words, state.workerAt(workerIndex) + WORKER.GENERATION, generation);
    state.wakeAllHosts();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      // Its failure comes back here by way of the task.
      this.#run(workerIndex, generation).catch(() => {});
    }, pauseMs);
    this.#timers.add(timer);
  }

  async #running(workerIndex: number): Promise<void> {
    const { state } = this.#options;
    const stateAt = state.workerAt(workerIndex) + WORKER.STATE;
    // The owner wakes all hosts when it runs; the opener is host 0.
    const wakeAt = state.hostAt(0) + HOST.WAKE;
    // One that never gets through its start must not be waited for once the engine has been stopped.
    while (Atomics.load(state.words, stateAt) === WORKER_STATE.STARTING && !this.#isStopping) {
      const wake = Atomics.load(state.words, wakeAt);
      if (Atomics.load(state.words, stateAt) !== WORKER_STATE.STARTING) break;
      await waitWhileEqualAsync(state.words, wakeAt, wake, START_UP_LOOK_MS);
    }
  }

  /**
   * Runs an owner in a pool of one thread, made for it alone: which task runs on which thread is then
   * no question, and a thread that dies while it starts up, after which a pool starts no other, takes
   * only its own pool with it.
   */
  async #runInPool(task: OwnerTask): Promise<void> {
    const pool = new Piscina({
      ...workerEntry(`${task.store.kind}-owner`),
      minThreads: 1,
      maxThreads: 1,
      maxQueue: 1,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      atomics: 'disabled',
    });
    this.#pools.add(pool);
    const startUp = watchStartUp(pool);
    try {
      const ended: Promise<WireError | undefined> = pool.run(task);
      const failure = await Promise.race([ended, startUp.failed]).catch((cause: unknown) => {
        throw workerLost(task.workerIndex, cause);
      });
      if (failure !== undefined) throw fromWire(failure);
    } finally {
      startUp.end();
      this.#pools.delete(pool);
      await pool.destroy();
    }
  }

  async #runInline(task: OwnerTask): Promise<void> {
    this.#inline = await InlineOwner.open(task, openAccessor);
    if (this.#isStopping) await this.#inline.stop();
    await this.#inline.ended;
  }
}

/** A pool whose thread dies before it is ready says nothing and leaves its task waiting: look. */
function watchStartUp(pool: Piscina): { readonly failed: Promise<never>; end(): void } {
  let timer: NodeJS.Timeout | undefined;
  const failed = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      if (pool.threads.length > 0) return;
      reject(new Error('it ended while it started'));
    }, START_UP_LOOK_MS);
    timer.unref();
    pool.on('error', reject);
  });
  // A death that the task itself reports is told by the task.
  failed.catch(() => {});
  return { failed, end: () => clearInterval(timer) };
}

/** The pool says it in words of its own. */
function workerLost(workerIndex: number, cause: unknown): PullManagerError {
  const message = `worker ${workerIndex} died: ${nameOf(cause)}`;
  return new PullManagerError('WORKER_LOST', message, { workerIndex, cause });
}

function nameOf(error: unknown): string {
  if (error instanceof PullManagerError) return error.message;
  return error instanceof Error ? quote(`${error.name}: ${error.message}`) : typeof error;
}
