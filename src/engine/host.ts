/**
 * A thread's place in a running engine: a replica to decide on, links to the owners, a row of
 * counters. The opener has one, and every thread that attached.
 */
import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import { closedError, PullManagerError } from '../errors.ts';
import { type Emitters, type EventOrigin, pullManagerEmitters } from '../events/emitter.ts';
import type { PullManagerEvents } from '../events/messages.ts';
import type { Logger } from '../logger.ts';
import { SharedMetrics, WORKER_ROW } from '../metrics/shared-metrics.ts';
import type { ImagePullPolicyEnforcer } from '../policies/enforcer.ts';
import { ENGINE_STATE, SharedState } from '../protocol/shared-state.ts';
import { Decider } from './decider.ts';
import type { Engine, EngineHandle } from './engine.ts';
import { EngineClient } from './engine-client.ts';
import { RecordKeys } from './record-keys.ts';
import { Replica } from './replica.ts';

export interface HostOptions {
  readonly handle: EngineHandle;
  readonly policy: ImagePullPolicyEnforcer;
  readonly logger: Logger;
  /** Only in the thread that opened the engine. */
  readonly engine: Engine | undefined;
}

/** Used by one thread. */
export class Host {
  readonly handle: EngineHandle;
  readonly state: SharedState;
  readonly metrics: SharedMetrics;
  readonly client: EngineClient;
  readonly decider: Decider;
  readonly recordKeys: RecordKeys;
  /** The counters that this thread writes. */
  readonly row: Float64Array;
  readonly events: Emitters<PullManagerEvents>;
  /** Its manager is set by the manager. */
  readonly origin: EventOrigin;

  private constructor(
    handle: EngineHandle,
    state: SharedState,
    metrics: SharedMetrics,
    client: EngineClient,
    decider: Decider,
    recordKeys: RecordKeys,
    row: Float64Array,
    events: Emitters<PullManagerEvents>,
    origin: EventOrigin,
  ) {
    this.handle = handle;
    this.state = state;
    this.metrics = metrics;
    this.client = client;
    this.decider = decider;
    this.recordKeys = recordKeys;
    this.row = row;
    this.events = events;
    this.origin = origin;
  }

  /** Takes a place. Throws `ENGINE_UNAVAILABLE` where none is left, `CLOSED`. */
  static join({ handle, policy, logger, engine }: HostOptions): Host {
    const state = engine?.state ?? SharedState.attach(handle.control);
    if (state.engineState >= ENGINE_STATE.CLOSING) throw closedError('attaching');
    const hostIndex = EngineClient.claimHost(state);
    if (hostIndex < 0) {
      throw new PullManagerError('ENGINE_UNAVAILABLE', 'too many threads are attached already');
    }
    const metrics = engine?.metrics ?? SharedMetrics.attach(handle.metrics, state.workerCount);
    const row = metrics.hostRow(hostIndex);
    const replica = new Replica(state, () => metrics.workerSum(WORKER_ROW.RECORDS));
    const client = new EngineClient({
      state,
      hostIndex,
      maxPending: handle.maxPending,
      whenFull: handle.whenFull,
      kick: () => engine?.kick(),
      listener: replica,
    });
    const behaviour = KUBELET_BEHAVIOUR[handle.compatibility];
    const recordKeys = new RecordKeys(behaviour);
    const origin: EventOrigin = { manager: undefined, logger };
    const events = pullManagerEmitters(origin);
    const decider = new Decider({
      state,
      replica,
      client,
      policy,
      recordKeys,
      behaviour,
      trustsRotatedSecrets: handle.rotatedSecrets !== 'verify',
      reverifyAfterMs: handle.reverifyAfterMs,
      row,
      logger,
    });
    return new Host(handle, state, metrics, client, decider, recordKeys, row, events, origin);
  }
}
