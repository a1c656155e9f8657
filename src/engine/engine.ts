/**
 * A running engine, as the thread that opened it holds it: shared memory, store, owners.
 */
import { openBackend, type StoreBackend } from '../accessors/backend.ts';
import type { CompatibilityLevel } from '../compatibility.ts';
import { abortedError, type PullManagerError } from '../errors.ts';
import type { StripedLockHandle } from '../locks/lock-arguments.ts';
import { StripedLockSet } from '../locks/striped-lock-set.ts';
import { SharedMetrics } from '../metrics/shared-metrics.ts';
import type { ResolvedOptions, WhenFull } from '../options.ts';
import type { VerificationPolicy } from '../policies/enforcer.ts';
import { ENGINE_STATE, SharedState } from '../protocol/shared-state.ts';
import { untilAborted } from '../util/until-aborted.ts';
import { Supervisor } from './supervisor.ts';

/**
 * What another thread of the process needs to join a running engine with `PullManager.attach`.
 * Structured-cloneable; opaque but for `locks`.
 */
export interface EngineHandle {
  readonly control: SharedArrayBuffer;
  readonly metrics: SharedArrayBuffer;
  /** The engine's stripes: `StripedLockSet.attach(handle.locks)`. Who holds one stops its owner. */
  readonly locks: StripedLockHandle;
  readonly store: string;
  /** Whether each owner lists its own keys only; else each lists the whole store. */
  readonly listsOnlyOwnKeys: boolean;
  readonly workerCount: number;
  /** Absent where the engine was opened with an enforcer of the caller's own. */
  readonly policy?: VerificationPolicy;
  /** The level at which `policy` was built. */
  readonly policyCompatibility: CompatibilityLevel;
  readonly compatibility: CompatibilityLevel;
  readonly rotatedSecrets: 'trust' | 'verify';
  readonly reverifyAfterMs: number;
  readonly maxPending: number;
  readonly whenFull: WhenFull;
}

const STOP_LIMIT_MS = 10_000;
/** Of an opening that was aborted: what has opened has nothing to finish. */
const ABORT_LIMIT_MS = 1_000;

/** Shared memory, store and owners of one engine. */
export class Engine {
  readonly handle: EngineHandle;
  readonly state: SharedState;
  readonly metrics: SharedMetrics;
  readonly #backend: StoreBackend;
  readonly #supervisor: Supervisor;

  private constructor(
    handle: EngineHandle,
    state: SharedState,
    metrics: SharedMetrics,
    backend: StoreBackend,
    supervisor: Supervisor,
  ) {
    this.handle = handle;
    this.state = state;
    this.metrics = metrics;
    this.#backend = backend;
    this.#supervisor = supervisor;
  }

  /**
   * Takes the store and starts the owners. The engine is not open for calls yet.
   *
   * Errors: `ABORTED`, and those of `PullManager.open`. After an error nothing is left open.
   */
  static async start(options: ResolvedOptions): Promise<Engine> {
    const { workerCount, stripeCount, compatibility, logger, signal } = options;
    const owners = Math.max(1, workerCount);
    const context = { workerCount: owners, stripeCount, compatibility };
    const backend = await openBackend(options.store, context);
    const state = SharedState.create(owners, stripeCount);
    const metrics = SharedMetrics.create(owners);
    const locks = new StripedLockSet(stripeCount);
    const handle: EngineHandle = {
      control: state.buffer,
      metrics: metrics.buffer,
      locks: locks.handle,
      store: backend.kind,
      listsOnlyOwnKeys: backend.listsOnlyOwnKeys,
      workerCount,
      ...(options.policyData === undefined ? {} : { policy: options.policyData }),
      policyCompatibility: options.policyCompatibility,
      compatibility,
      rotatedSecrets: options.rotatedSecrets,
      reverifyAfterMs: options.reverifyAfterMs,
      maxPending: options.maxPending,
      whenFull: options.whenFull,
    };
    const supervisor = new Supervisor({ state, metrics, locks, backend, workerCount, logger });
    const engine = new Engine(handle, state, metrics, backend, supervisor);
    // A module of the user's may never answer. Stores of our own do, and are not left half-way.
    const aborting = backend.kind === 'module' ? signal : undefined;
    try {
      const started = supervisor.start();
      await (aborting === undefined ? started : untilAborted(started, aborting, abortedOpening));
      await backend.commitOpen();
    } catch (error) {
      await engine.stop(aborting?.aborted === true ? ABORT_LIMIT_MS : STOP_LIMIT_MS);
      throw error;
    }
    return engine;
  }

  /** Lets an owner in the calling thread look for work. */
  kick(): void {
    this.#supervisor.kick();
  }

  /** From here on every thread may call. */
  open(): void {
    this.state.engineState = ENGINE_STATE.OPEN;
  }

  /** New calls of any thread are refused; what is under way goes on. */
  beginClose(): void {
    this.state.engineState = ENGINE_STATE.CLOSING;
  }

  /**
   * Stops the owners after they have drained their rings, and gives the store back. Owners that have
   * not ended after `limitMs` are ended.
   */
  async stop(limitMs: number = STOP_LIMIT_MS): Promise<void> {
    this.beginClose();
    try {
      await this.#supervisor.stop(limitMs);
    } finally {
      this.state.engineState = ENGINE_STATE.CLOSED;
      this.state.wakeAllHosts();
      await this.#backend.release();
    }
  }
}

/** Why an opening failed whose signal was aborted. */
export function abortedOpening(reason: unknown): PullManagerError {
  return abortedError('opening the pull manager', reason);
}
