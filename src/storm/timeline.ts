/**
 * A storm over time: goes from stage to stage, and writes down a row for each interval. What is
 * answered belongs to the stage and the interval in which it is.
 */
import type { EngineStats } from '../metrics/stats.ts';
import type { StormEngine } from './engine.ts';
import { IntervalRows } from './interval-rows.ts';
import type { Keyspace } from './keyspace.ts';
import { type ProbedTotal, Probes } from './probes.ts';
import type { IntervalResult } from './result-schema.ts';
import type { Stage } from './stages.ts';
import type { StormState } from './state.ts';

/** Counts at one moment. */
interface Mark {
  readonly atMs: number;
  readonly operations: number;
  readonly errors: number;
  readonly wrongDecisions: number;
  readonly scheduled: number;
  readonly started: number;
  readonly pausedMs: number;
}

/** What was counted in one stage. */
export interface StageCounts {
  readonly startMs: number;
  readonly durationMs: number;
  /** Without the time in which nobody was there to ask. */
  readonly askingMs: number;
  readonly operations: number;
  readonly errors: number;
  readonly wrongDecisions: number;
  readonly scheduled: number;
  readonly started: number;
  /** Requests of this stage and earlier ones that were not begun until its end. */
  readonly unstarted: number;
}

/** What a timeline has when it ends. */
export interface TimelineResult {
  readonly intervals: readonly IntervalResult[];
  /** Of the stages that were reached. */
  readonly stages: readonly StageCounts[];
  readonly probes: ProbedTotal;
}

/** How often the number of callers follows a ramp. */
const RAMP_STEP_MS = 20;

/** Runs from `begin` to `end`. */
export class Timeline {
  readonly #state: StormState<Keyspace>;
  readonly #stages: readonly Stage[];
  readonly #rows: IntervalRows;
  readonly #counts: StageCounts[] = [];
  readonly #probes = new Probes();
  #startedMs = 0;
  #stageStart: Mark;
  #rowStart: Mark;
  #rowTotals: Totals = NO_TOTALS;
  /** Of the engines that were closed. */
  #closedTotals: Totals = NO_TOTALS;
  #closedEngine: StormEngine | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(state: StormState<Keyspace>, stages: readonly Stage[], intervalMs: number) {
    this.#state = state;
    this.#stages = stages;
    this.#rows = new IntervalRows(intervalMs);
    this.#stageStart = this.#rowStart = this.#mark(0);
  }

  begin(startedMs: number): void {
    this.#startedMs = startedMs;
    this.#rowTotals = this.#totals();
    this.#probes.interval();
    this.#enter(0);
    this.#schedule();
  }

  /** Ends the last stage. */
  end(): TimelineResult {
    clearTimeout(this.#timer);
    const atMs = performance.now() - this.#startedMs;
    this.#endRow(atMs, this.#state.stage);
    this.#endStage(atMs);
    return {
      intervals: this.#rows.all,
      stages: this.#counts,
      probes: this.#probes.end(),
    };
  }

  /** The engine was closed: the next one counts from 0 again. */
  engineClosed(stats: EngineStats): void {
    this.#closedTotals = added(this.#closedTotals, totalsOf(stats));
    this.#closedEngine = this.#state.engine;
  }

  /** What all engines did so far. */
  #totals(): Totals {
    const { engine } = this.#state;
    if (engine === this.#closedEngine) return this.#closedTotals;
    return added(this.#closedTotals, totalsOf(engine.stats()));
  }

  #schedule(): void {
    const { stage } = this.#state;
    const nowMs = performance.now() - this.#startedMs;
    let nextMs = Math.min(this.#rowStart.atMs + this.#rows.intervalMs, this.#endOf(stage));
    if (this.#isRamping(stage)) nextMs = Math.min(nextMs, nowMs + RAMP_STEP_MS);
    const delayMs = Math.min(0x7fff_ffff, Math.max(0, nextMs - nowMs));
    this.#timer = setTimeout(() => this.#tick(), delayMs);
  }

  #tick(): void {
    const { stage } = this.#state;
    const nowMs = performance.now() - this.#startedMs;
    const isOver = nowMs >= this.#endOf(stage) && stage + 1 < this.#stages.length;
    const next = isOver ? stage + 1 : stage;
    if (isOver || nowMs >= this.#rowStart.atMs + this.#rows.intervalMs) this.#endRow(nowMs, next);
    if (isOver) {
      this.#endStage(nowMs);
      this.#enter(next);
    }
    this.#follow(nowMs);
    this.#schedule();
  }

  /** From the beginning of the storm. The last stage ends with the storm. */
  #endOf(stage: number): number {
    if (stage === this.#stages.length - 1) return Number.POSITIVE_INFINITY;
    return this.#stages.slice(0, stage + 1).reduce((sum, { durationMs }) => sum + durationMs, 0);
  }

  #enter(stage: number): void {
    this.#state.stage = stage;
    this.#follow(performance.now() - this.#startedMs);
  }

  #isRamping(stage: number): boolean {
    const { load } = this.#stages[stage]!;
    return load.model === 'closed' && load.concurrency.from !== load.concurrency.to;
  }

  /** Lets as many callers of a closed load work as the stage says for this moment. */
  #follow(nowMs: number): void {
    const state = this.#state;
    const { durationMs, load } = this.#stages[state.stage]!;
    if (load.model === 'open') return;
    const { from, to } = load.concurrency;
    const share = Math.min(1, (nowMs - this.#stageStart.atMs) / durationMs);
    const wanted = from === to ? from : Math.round(from + (to - from) * share);
    const isMore = wanted > state.activeCallers;
    state.activeCallers = wanted;
    if (isMore) state.wake();
  }

  #mark(atMs: number): Mark {
    const { arrivals, counts } = this.#state;
    const { operations, errors, expectedErrors, wrongDecisions } = counts;
    return {
      atMs,
      operations,
      errors: errors + expectedErrors,
      wrongDecisions,
      scheduled: arrivals?.scheduledUntil(this.#startedMs + atMs) ?? 0,
      started: arrivals?.startedCount ?? 0,
      pausedMs: arrivals?.pausedMs ?? 0,
    };
  }

  #endStage(atMs: number): void {
    const from = this.#stageStart;
    const to = this.#mark(atMs);
    this.#stageStart = to;
    this.#counts.push({
      startMs: from.atMs,
      durationMs: to.atMs - from.atMs,
      askingMs: to.atMs - from.atMs - (to.pausedMs - from.pausedMs),
      operations: to.operations - from.operations,
      errors: to.errors - from.errors,
      wrongDecisions: to.wrongDecisions - from.wrongDecisions,
      scheduled: to.scheduled - from.scheduled,
      started: to.started - from.started,
      unstarted: to.scheduled - to.started,
    });
  }

  #endRow(atMs: number, nextStage: number): void {
    const { arrivals, recorder, stage } = this.#state;
    const from = this.#rowStart;
    const to = this.#mark(atMs);
    this.#rowStart = to;
    const durationMs = to.atMs - from.atMs;
    const latencies = recorder.endInterval(nextStage);
    const probed = this.#probes.interval();
    if (durationMs <= 0) return;
    const perSecond = (count: number): number => (count / durationMs) * 1_000;
    const before = this.#rowTotals;
    const totals = this.#totals();
    this.#rowTotals = totals;
    const commits = totals.commits - before.commits;
    const operations = to.operations - from.operations;
    this.#rows.push({
      atMs: from.atMs,
      durationMs,
      stage: this.#stages[stage]!.name,
      operations,
      operationsPerSecond: perSecond(operations),
      wantedPerSecond:
        arrivals === undefined ? undefined : perSecond(to.scheduled - from.scheduled),
      reachedPerSecond: arrivals === undefined ? undefined : perSecond(to.started - from.started),
      errors: to.errors - from.errors,
      wrongDecisions: to.wrongDecisions - from.wrongDecisions,
      decideNs: few(latencies.decideNs),
      writeNs: few(latencies.writeNs),
      lagP99Ns: latencies.lagNs.p99,
      eventLoopDelayP99Ns: probed.eventLoopDelayP99Ns,
      cpuMain: probed.cpuMainMs === undefined ? undefined : probed.cpuMainMs / durationMs,
      cpuAll: probed.cpuAllMs / durationMs,
      rssBytes: probed.rssBytes,
      heapUsedBytes: probed.heapUsedBytes,
      commits,
      writesPerCommit: commits === 0 ? 0 : (totals.writes - before.writes) / commits,
      writtenBytes: totals.writtenBytes - before.writtenBytes,
    });
  }
}

interface Totals {
  readonly commits: number;
  readonly writes: number;
  readonly writtenBytes: number;
}

const NO_TOTALS: Totals = { commits: 0, writes: 0, writtenBytes: 0 };

function totalsOf({ commits, writtenBytes }: EngineStats): Totals {
  const { batchSize, latencyNs } = commits;
  return { commits: latencyNs.count, writes: batchSize.count * batchSize.mean, writtenBytes };
}

function added(a: Totals, b: Totals): Totals {
  return {
    commits: a.commits + b.commits,
    writes: a.writes + b.writes,
    writtenBytes: a.writtenBytes + b.writtenBytes,
  };
}

function few({ p50, p99, max }: IntervalResult['decideNs']): IntervalResult['decideNs'] {
  return { p50, p99, max };
}
