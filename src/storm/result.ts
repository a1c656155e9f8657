/** Makes the result of a storm from what its run gave. */
import { createHash } from 'node:crypto';
import { errorCode } from '../errors.ts';
import type { DecisionReason, Distribution } from '../metrics/stats.ts';
import { DECISION_REASONS } from '../metrics/stats.ts';
import type { StormRun } from './course.ts';
import { environment } from './environment.ts';
import { metricsOf } from './metrics.ts';
import { OPERATIONS, type OperationName } from './operations.ts';
import type { Overhead } from './overhead.ts';
import type { StormParameters } from './parameters.ts';
import { encoded, Latencies, quantilesOf } from './recorder.ts';
import {
  type Arrivals,
  type OperationResult,
  type OperationResults,
  type Quantiles,
  RESULT_SCHEMA,
  type StageResult,
  type StormResult,
} from './result-schema.ts';
import type { Scenario } from './scenarios.ts';
import type { Stage } from './stages.ts';
import type { StormStore } from './store.ts';
import { checkThresholds, type Threshold } from './thresholds.ts';
import type { StageCounts } from './timeline.ts';

/** What a result is made from. */
export interface ResultParts {
  readonly scenario: Scenario;
  readonly command: string;
  readonly seed: number;
  readonly store: StormStore;
  readonly run: StormRun;
  readonly thresholds: readonly Threshold[];
  readonly overhead: Overhead | undefined;
  readonly replayed?: StormResult['replayed'];
}

/** Makes the result of a run and judges it. */
export function stormResult(parts: ResultParts): StormResult {
  const { scenario, seed, store, run, overhead } = parts;
  const { state, engines, timeline } = run;
  const { counts, universe } = state;
  const last = engines.at(-1)!;
  const busiest = engines.reduce((a, b) =>
    b.commits.latencyNs.count > a.commits.latencyNs.count ? b : a,
  );
  const local = sum(engines, (stats) => stats.decisionsLocal) - run.before.decisionsLocal;
  const remote = sum(engines, (stats) => stats.decisionsRemote) - run.before.decisionsRemote;
  const { perOperation, lagNs } = wholeOf(run);
  const { probes } = timeline;
  const untested: Untested = {
    schema: RESULT_SCHEMA,
    scenario: scenario.name,
    description: scenario.description,
    scenarioHash: hashOf(scenario.parameters, store),
    command: parts.command,
    seed,
    startedAt: new Date(run.startedAtMs).toISOString(),
    machine: environment(),
    store: store.options.kind,
    storeLabel: store.label,
    policy: scenario.parameters.policy,
    compatibility: scenario.parameters.compatibility,
    workers: last.workerCount,
    stripes: last.stripeCount,
    load: run.stages[0]!.load,
    images: universe.images.length,
    tenants: universe.tenants.count,
    operations: counts.operations,
    durationMs: Math.round(run.elapsedMs),
    operationsPerSecond: Math.round(counts.operations / (run.elapsedMs / 1_000)),
    arrivals:
      state.arrivals === undefined ? undefined : arrivalsOf(run.stages, timeline.stages, lagNs),
    wrongDecisions: counts.wrongDecisions,
    wrongRecords: counts.wrongRecords,
    errors: counts.errors,
    errorCodes: Object.fromEntries(state.errorCodes),
    expectedErrors: counts.expectedErrors,
    decisions: byReason(
      (reason) => sum(engines, (stats) => stats.decisions[reason]) - run.before.decisions[reason],
    ),
    localShare: local + remote === 0 ? 0 : local / (local + remote),
    verified: {
      isOn: state.isVerified,
      exact: counts.exact,
      either: counts.either,
      unverifiable: counts.unverifiable,
    },
    latencyNs: byOperation((operation) => {
      const { p50, p90, p99, p999, p9999, max } = perOperation[operation].responseNs;
      return { p50, p90, p99, p999, p9999, max };
    }),
    perOperation,
    stages: timeline.stages.map((stage, index) => stageResult(run, stage, index)),
    intervals: timeline.intervals,
    events: state.events,
    eventLoopDelayNs: probes.eventLoopDelayNs,
    cpu: {
      mainMs: probes.cpuMainMs,
      workersMs:
        probes.cpuMainMs === undefined
          ? undefined
          : Math.max(0, probes.cpuAllMs - probes.cpuMainMs),
      allMs: probes.cpuAllMs,
      perOperationNs: (probes.cpuAllMs * 1e6) / Math.max(1, counts.operations),
    },
    memory: { rssMaxBytes: probes.rssMaxBytes, heapUsedMaxBytes: probes.heapUsedMaxBytes },
    batchSize: quantiles(busiest.commits.batchSize),
    commitLatencyNs: quantiles(busiest.commits.latencyNs),
    restarts: counts.restarts,
    prunings: counts.prunings,
    prunedRecords: counts.prunedRecords,
    workersKilled: counts.workersKilled,
    records: last.records,
    intents: last.intents,
    writtenBytes: sum(engines, (stats) => stats.writtenBytes) - run.before.writtenBytes,
    overheadNs: overhead,
    wrong: state.wrong,
    problems: state.problems,
    failure: failureOf(state.failure) ?? nothingDone(run),
    replayed: parts.replayed,
    interrupted: run.wasInterrupted,
  };
  const metrics = metricsOf(untested);
  const thresholds = checkThresholds(parts.thresholds, metrics);
  const isRight =
    counts.wrongDecisions === 0 &&
    counts.wrongRecords === 0 &&
    counts.errors === 0 &&
    state.failure === undefined;
  const passed = isRight && thresholds.every((threshold) => threshold.passed);
  return { ...untested, thresholds, passed, runs: [Object.fromEntries(metrics)] };
}

type Untested = Omit<StormResult, 'thresholds' | 'passed' | 'runs'>;

/** Of several runs of one scenario the one in the middle, with the metrics of all. */
export function medianResult(results: readonly StormResult[]): StormResult {
  const isOpen = results[0]!.load.model === 'open';
  const order = (result: StormResult): number =>
    isOpen ? result.latencyNs.decide.p99 : result.operationsPerSecond;
  const sorted = results.toSorted((a, b) => order(a) - order(b));
  // Of two in the middle the slower one: latencies rise, and rates fall.
  const middle = (sorted.length - 1) / 2;
  // A run that was wrong is shown before any that was not: it is what counts.
  const median = results.find(isWrong) ?? sorted[isOpen ? Math.ceil(middle) : Math.floor(middle)]!;
  const passed = results.every((result) => !isWrong(result)) && median.passed;
  return { ...median, passed, runs: results.flatMap(({ runs }) => runs) };
}

function isWrong(result: StormResult): boolean {
  const { errors, failure, interrupted, wrongDecisions, wrongRecords } = result;
  return errors + wrongDecisions + wrongRecords > 0 || failure !== undefined || interrupted;
}

function wholeOf(run: StormRun): { perOperation: OperationResults; lagNs: Quantiles } {
  const { recorder } = run.state;
  const whole = new Latencies(recorder.isOpen);
  try {
    for (const stage of recorder.stages) whole.add(stage);
    return { perOperation: operationResults(whole), lagNs: quantilesOf(whole.lag) };
  } finally {
    whole.close();
  }
}

function stageResult(run: StormRun, counts: StageCounts, index: number): StageResult {
  const { name, load } = run.stages[index]!;
  const latencies = run.state.recorder.stages[index]!;
  const { startMs, durationMs, operations, errors, wrongDecisions } = counts;
  return {
    name,
    startMs,
    durationMs,
    load,
    operations,
    operationsPerSecond: Math.round((operations / Math.max(1, durationMs)) * 1_000),
    errors,
    wrongDecisions,
    arrivals:
      load.model === 'open'
        ? arrivalsOf([run.stages[index]!], [counts], quantilesOf(latencies.lag))
        : undefined,
    perOperation: operationResults(latencies),
  };
}

function arrivalsOf(
  planned: readonly Stage[],
  stages: readonly StageCounts[],
  lagNs: Quantiles,
): Arrivals {
  const scheduled = sum(stages, (stage) => stage.scheduled);
  const started = sum(stages, (stage) => stage.started);
  const askingMs = sum(stages, (stage) => stage.askingMs);
  // What was begun before the end may be answered after it, when nothing arrives any more.
  const arrivingMs = stages.reduce(
    (all, stage, index) => all + Math.min(stage.askingMs, planned[index]!.durationMs),
    0,
  );
  return {
    scheduled,
    started,
    unstarted: stages.at(-1)?.unstarted ?? 0,
    wantedPerSecond: (scheduled / Math.max(1, arrivingMs)) * 1_000,
    reachedPerSecond: (started / Math.max(1, askingMs)) * 1_000,
    lagNs,
  };
}

function operationResults({ response, service }: Latencies): OperationResults {
  return byOperation((operation): OperationResult => {
    const responseNs = quantilesOf(response[operation]);
    return {
      count: responseNs.count,
      responseNs,
      serviceNs: service === undefined ? responseNs : quantilesOf(service[operation]),
      histogram: encoded(response[operation]),
    };
  });
}

/** The same for storms that do the same; what only judges or repeats them is left out. */
function hashOf(parameters: StormParameters, store: StormStore): string {
  const { seed: _seed, thresholds: _thresholds, repeat: _repeat, ...own } = parameters;
  const kept = { ...own, store: store.options.kind };
  const sorted = Object.fromEntries(Object.entries(kept).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}

/** A storm in which nothing was answered has shown nothing. */
function nothingDone({ state, wasInterrupted }: StormRun): string | undefined {
  const isIdle = state.counts.operations === 0 && state.counts.errors === 0;
  return isIdle && !wasInterrupted ? 'no operation was asked for in its time' : undefined;
}

function failureOf(error: unknown): string | undefined {
  if (error === undefined) return undefined;
  const message = error instanceof Error ? error.message : 'unknown error';
  const code = errorCode(error);
  return code === undefined ? message : `${code}: ${message}`;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function byReason(count: (reason: DecisionReason) => number): Record<DecisionReason, number> {
  return Object.fromEntries(DECISION_REASONS.map((reason) => [reason, count(reason)])) as Record<
    DecisionReason,
    number
  >;
}

function byOperation<T>(value: (operation: OperationName) => T): Record<OperationName, T> {
  return Object.fromEntries(OPERATIONS.map((operation) => [operation, value(operation)])) as Record<
    OperationName,
    T
  >;
}

/** The engine's own distributions have no p99.99: it lies between p99.9 and the largest value. */
function quantiles({ count, mean, p50, p90, p99, p999, max }: Distribution): Quantiles {
  return { count, mean, p50, p90, p99, p999, p9999: max, max };
}
