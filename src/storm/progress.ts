/** How far a storm is, for live views. */
import type { Keyspace } from './keyspace.ts';
import type { Stage } from './stages.ts';
import type { StormState } from './state.ts';

/** A moment of a running storm. */
export interface Progress {
  readonly phase: 'filling' | 'running' | 'checking';
  readonly elapsedMs: number;
  /** From 0 to 1, of the whole run. */
  readonly share: number;
  readonly leftMs: number | undefined;
  /** Which run it is, with `--repeat`. */
  readonly run: { readonly number: number; readonly of: number };
  readonly stage: {
    readonly name: string;
    readonly number: number;
    readonly of: number;
    readonly share: number;
  };
  readonly operations: number;
  /** Since the last snapshot. */
  readonly operationsPerSecond: number;
  /** Open load: requests a second that are to arrive now. */
  readonly wantedPerSecond: number | undefined;
  /** Of the latest requests. */
  readonly lagNs: number;
  /** So far in this stage. */
  readonly decideNs: { readonly p50: number; readonly p99: number };
  readonly writeNs: { readonly p50: number; readonly p99: number };
  readonly errors: number;
  readonly expectedErrors: number;
  readonly wrong: number;
  /** For example `restart` or `worker killed`. */
  readonly lastEvent: string | undefined;
}

const SHARE_SHOWN_MIN = 0.01;
const EVENT_WORDS = { restart: 'restart', prune: 'prune', killWorker: 'worker killed' } as const;

/** Takes snapshots of one run. */
export class ProgressMeter {
  readonly #state: StormState<Keyspace>;
  readonly #stages: readonly Stage[];
  readonly #limits: { readonly operations: number; readonly durationMs: number };
  readonly #run: Progress['run'];
  #takenMs = performance.now();
  #operations = 0;
  #fillShare = 0;

  constructor(
    state: StormState<Keyspace>,
    stages: readonly Stage[],
    options: { readonly operationsMax: number; readonly run: Progress['run'] },
  ) {
    this.#state = state;
    this.#stages = stages;
    this.#run = options.run;
    const durationMs = stages.reduce((sum, stage) => sum + stage.durationMs, 0);
    this.#limits = { operations: options.operationsMax, durationMs };
  }

  /** Share of the records to begin with that are there. */
  set fillShare(share: number) {
    this.#fillShare = share;
  }

  /**
   * The storm as it is.
   *
   * @param startedMs When the phase began, on the clock of `performance.now`.
   */
  take(phase: Progress['phase'], startedMs: number): Progress {
    const { counts, events, recorder, stage } = this.#state;
    const latencies = recorder.soFar();
    const nowMs = performance.now();
    const elapsedMs = nowMs - startedMs;
    const operations = counts.operations < this.#operations ? 0 : this.#operations;
    const sinceMs = Math.max(1, nowMs - this.#takenMs);
    const operationsPerSecond = ((counts.operations - operations) / sinceMs) * 1_000;
    this.#takenMs = nowMs;
    this.#operations = counts.operations;
    const share = this.#share(phase, elapsedMs);
    const isEstimable = phase !== 'checking' && share > SHARE_SHOWN_MIN;
    const isRunning = phase === 'running';
    const intoMs = isRunning ? elapsedMs - this.#startOf(stage) : 0;
    const { name, durationMs, load } = this.#stages[stage]!;
    const stageShare = isRunning ? Math.min(1, Math.max(0, intoMs / durationMs)) : 0;
    const last = events.at(-1);
    return {
      phase,
      elapsedMs,
      share,
      leftMs: isEstimable ? (elapsedMs / share) * (1 - share) : undefined,
      run: this.#run,
      stage: {
        name,
        number: stage + 1,
        of: this.#stages.length,
        // Without a time of its own a stage is as far as the storm.
        share: durationMs === Number.POSITIVE_INFINITY ? share : stageShare,
      },
      operations: counts.operations,
      operationsPerSecond,
      wantedPerSecond:
        load.model === 'closed'
          ? undefined
          : load.ratePerSecond.from +
            (load.ratePerSecond.to - load.ratePerSecond.from) * stageShare,
      lagNs: latencies.lagNs.p99,
      decideNs: latencies.decideNs,
      writeNs: latencies.writeNs,
      errors: counts.errors,
      expectedErrors: counts.expectedErrors,
      wrong: counts.wrongDecisions + counts.wrongRecords,
      lastEvent: last === undefined ? undefined : EVENT_WORDS[last.kind],
    };
  }

  #share(phase: Progress['phase'], elapsedMs: number): number {
    if (phase === 'filling') return this.#fillShare;
    if (phase === 'checking') return 1;
    const done = this.#state.counts.operations / this.#limits.operations;
    return Math.min(1, Math.max(done, elapsedMs / this.#limits.durationMs));
  }

  #startOf(stage: number): number {
    return this.#stages.slice(0, stage).reduce((sum, { durationMs }) => sum + durationMs, 0);
  }
}
