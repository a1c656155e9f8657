/** The events of a storm in order: each begins when its time has come, or its share is over. */
import type { EngineStats } from '../metrics/stats.ts';
import type { OpenEngine } from './engine.ts';
import { type KillWorker, killWorker, prune, restart } from './events.ts';
import type { StormParameters } from './parameters.ts';
import type { EventResult } from './result-schema.ts';
import type { StormState } from './state.ts';

/** What events need besides the state. */
export interface EventOptions {
  readonly parameters: StormParameters;
  /** Length of the storm; infinite where it ends by a number of operations. */
  readonly durationMs: number;
  readonly callerCount: number;
  readonly open: OpenEngine;
  readonly isDurable: boolean;
  readonly killWorker: KillWorker | undefined;
  /** Called with the counters of each engine that is closed. */
  readonly onClose: (stats: EngineStats) => void;
}

interface PlannedEvent {
  readonly kind: EventResult['kind'];
  /** Whichever comes first. */
  readonly atMs: number;
  readonly atOperations: number;
}

/** Does what is planned, one event after the other. */
export class EventLine {
  readonly #state: StormState;
  readonly #options: EventOptions;
  readonly #events: readonly PlannedEvent[];
  #next = 0;
  #startedMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(state: StormState, options: EventOptions) {
    this.#state = state;
    this.#options = options;
    this.#events = planned(options);
  }

  begin(startedMs: number): void {
    this.#startedMs = startedMs;
    this.#state.onTick = () => this.#tick();
    this.#schedule();
  }

  /** Waits for the event under way. */
  async end(): Promise<void> {
    this.#next = this.#events.length;
    clearTimeout(this.#timer);
    this.#state.nextTickOperations = Number.POSITIVE_INFINITY;
    await this.#running;
  }

  #schedule(): void {
    const event = this.#events[this.#next];
    if (event === undefined) return;
    this.#state.nextTickOperations = event.atOperations;
    const leftMs = this.#startedMs + event.atMs - performance.now();
    if (leftMs > 0x7fff_ffff) return;
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, leftMs));
  }

  #tick(): void {
    const state = this.#state;
    clearTimeout(this.#timer);
    state.nextTickOperations = Number.POSITIVE_INFINITY;
    const number = this.#next;
    const event = this.#events[number];
    if (event === undefined || this.#running !== undefined) return;
    this.#next++;
    this.#running = this.#run(event.kind, number).then(
      () => this.#over(),
      (error: unknown) => {
        state.failure ??= error;
        state.stop();
        this.#over();
      },
    );
  }

  #over(): void {
    this.#running = undefined;
    this.#schedule();
  }

  async #run(kind: EventResult['kind'], number: number): Promise<void> {
    const { load, events } = this.#state;
    const begunMs = performance.now();
    if (load !== undefined) load.isShared = true;
    try {
      const detail = await this.#do(kind, number);
      const durationMs = performance.now() - begunMs;
      events.push({ atMs: begunMs - this.#startedMs, durationMs, kind, detail });
    } finally {
      if (load !== undefined) load.isShared = false;
    }
  }

  #do(kind: EventResult['kind'], number: number): Promise<string> {
    const { callerCount, isDurable, onClose, open, parameters } = this.#options;
    const state = this.#state;
    switch (kind) {
      case 'prune':
        return prune(state, number, parameters.prunedShare);
      case 'restart':
        return restart(state, { event: number, open, isDurable, callerCount, onClose });
      case 'killWorker':
        return killWorker(state, number, this.#options.killWorker ?? noWorker);
    }
  }
}

const noWorker: KillWorker = () => Promise.resolve(undefined);

/** Events that are given by their number are spread evenly over the storm. */
function planned({ parameters, durationMs }: EventOptions): PlannedEvent[] {
  const { operations = Number.POSITIVE_INFINITY, prunings, restarts, workerKills } = parameters;
  const events: PlannedEvent[] = [];
  const at = (kind: PlannedEvent['kind'], share: number): void => {
    // Of two limits the nearer one counts; a share of none of them is the beginning.
    const atMs = share === 0 ? 0 : share * durationMs;
    events.push({ kind, atMs, atOperations: share * operations });
  };
  for (let i = 0; i < prunings; i++) at('prune', (i + 0.5) / prunings);
  for (let i = 0; i < restarts; i++) at('restart', (i + 1) / (restarts + 1));
  for (let i = 0; i < workerKills; i++) at('killWorker', (i + 0.75) / workerKills);
  for (const { at: moment, do: kind } of parameters.events) {
    if ('share' in moment) at(kind, moment.share);
    else events.push({ kind, atMs: moment.ms, atOperations: Number.POSITIVE_INFINITY });
  }
  return events.sort((a, b) => a.atMs - b.atMs || a.atOperations - b.atOperations);
}
