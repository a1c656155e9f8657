/** The result of a storm as one plain object: what `--json` prints and reports are made from. */
import { availableParallelism, cpus } from 'node:os';
import type { DecisionReason, Distribution, EngineStats } from '../metrics/stats.ts';
import { DECISION_REASONS } from '../metrics/stats.ts';
import type { Overhead } from './overhead.ts';
import { type LatencyNs, OPERATIONS, type OperationName } from './recorder.ts';
import type { StormRun } from './run.ts';
import type { Scenario } from './scenarios.ts';
import type { StormStore } from './store.ts';
import {
  checkThresholds,
  type Metrics,
  type Threshold,
  type ThresholdResult,
} from './thresholds.ts';
import type { WrongAnswer } from './wrong-answer.ts';

/** Version of the result's shape. */
export const RESULT_SCHEMA = 'pullwarden.storm/1';

/** Quantiles of a distribution, and how many values it is of. */
export interface Quantiles extends LatencyNs {
  readonly count: number;
}

/** Result of a storm. Times are in the unit that their name ends with. */
export interface StormResult {
  readonly schema: typeof RESULT_SCHEMA;
  readonly scenario: string;
  /** Command line that repeats the run. */
  readonly command: string;
  readonly seed: number;
  /** `journal`, `lmdb` or `memory`. */
  readonly store: string;
  /** How the store is shown, for example `journal (temporary)`. */
  readonly storeLabel: string;
  readonly policy: string;
  readonly workers: number;
  readonly concurrency: number;
  readonly images: number;
  readonly tenants: number;
  readonly operations: number;
  readonly durationMs: number;
  readonly operationsPerSecond: number;
  readonly wrongDecisions: number;
  /** Differences between what the engine listed and what it must hold. */
  readonly wrongRecords: number;
  readonly errors: number;
  readonly errorCodes: Readonly<Record<string, number>>;
  /** Decisions by reason. */
  readonly decisions: Readonly<Record<DecisionReason, number>>;
  /** Decisions answered without a trip to a worker, as a share of all. */
  readonly localShare: number;
  /** How decisions were checked: one right answer, several, any. */
  readonly verified: {
    readonly exact: number;
    readonly either: number;
    readonly unverifiable: number;
  };
  readonly operationCounts: Readonly<Record<OperationName, number>>;
  readonly latencyNs: Readonly<Record<OperationName, LatencyNs>>;
  /**
   * Of the engine that committed most often between two restarts. With the store `memory`, the
   * filling before the run counts as well.
   */
  readonly batchSize: Quantiles;
  readonly commitLatencyNs: Quantiles;
  readonly restarts: number;
  readonly prunings: number;
  readonly prunedRecords: number;
  /** In the end. */
  readonly records: number;
  readonly intents: number;
  readonly writtenBytes: number;
  readonly overheadNs: Overhead | undefined;
  readonly thresholds: readonly ThresholdResult[];
  readonly wrong: readonly WrongAnswer[];
  readonly problems: readonly string[];
  readonly interrupted: boolean;
  readonly passed: boolean;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
}

/** Makes the result of a run and judges it. */
export function stormResult(parts: {
  readonly scenario: Scenario;
  readonly command: string;
  readonly seed: number;
  readonly store: StormStore;
  readonly run: StormRun;
  readonly thresholds: readonly Threshold[];
  readonly overhead: Overhead | undefined;
}): StormResult {
  const { scenario, seed, store, run, overhead } = parts;
  const { counts, recorder, universe } = run.state;
  const { engines } = run;
  const last = engines.at(-1)!;
  const busiest = engines.reduce((a, b) =>
    b.commits.latencyNs.count > a.commits.latencyNs.count ? b : a,
  );
  const local = sum(engines, (stats) => stats.decisionsLocal) - run.before.decisionsLocal;
  const remote = sum(engines, (stats) => stats.decisionsRemote) - run.before.decisionsRemote;
  const untested: Omit<StormResult, 'thresholds' | 'passed'> = {
    schema: RESULT_SCHEMA,
    scenario: scenario.name,
    command: parts.command,
    seed,
    store: store.options.kind,
    storeLabel: store.label,
    policy: scenario.parameters.policy,
    workers: last.workerCount,
    concurrency: scenario.parameters.concurrency,
    images: universe.images.length,
    tenants: universe.tenants.count,
    operations: counts.operations,
    durationMs: Math.round(run.elapsedMs),
    operationsPerSecond: Math.round(counts.operations / (run.elapsedMs / 1_000)),
    wrongDecisions: counts.wrongDecisions,
    wrongRecords: counts.wrongRecords,
    errors: counts.errors,
    errorCodes: Object.fromEntries(run.state.errorCodes),
    decisions: byReason((reason) => {
      return sum(engines, (stats) => stats.decisions[reason]) - run.before.decisions[reason];
    }),
    localShare: local + remote === 0 ? 0 : local / (local + remote),
    verified: {
      exact: counts.exact,
      either: counts.either,
      unverifiable: counts.unverifiable,
    },
    operationCounts: byOperation((operation) => recorder.count(operation)),
    latencyNs: byOperation((operation) => recorder.latencyNs(operation)),
    batchSize: quantiles(busiest.commits.batchSize),
    commitLatencyNs: quantiles(busiest.commits.latencyNs),
    restarts: counts.restarts,
    prunings: counts.prunings,
    prunedRecords: counts.prunedRecords,
    records: last.records,
    intents: last.intents,
    writtenBytes: sum(engines, (stats) => stats.writtenBytes) - run.before.writtenBytes,
    overheadNs: overhead,
    wrong: run.state.wrong,
    problems: run.state.problems,
    interrupted: run.wasInterrupted,
    machine: {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      node: process.version,
    },
  };
  const thresholds = checkThresholds(parts.thresholds, metricsOf(untested));
  const isRight = counts.wrongDecisions === 0 && counts.wrongRecords === 0 && counts.errors === 0;
  return { ...untested, thresholds, passed: isRight && thresholds.every(({ passed }) => passed) };
}

/** The figures of a result under the names that thresholds use. */
export function metricsOf(result: Omit<StormResult, 'thresholds' | 'passed'>): Metrics {
  const metrics = new Map<string, number>();
  const addQuantiles = (prefix: string, latency: LatencyNs): void => {
    const { p50, p90, p99, p999, max } = latency;
    for (const [name, value] of Object.entries({ p50, p90, p99, p999, max })) {
      metrics.set(`${prefix}.${name}`, value);
    }
  };
  for (const operation of OPERATIONS) {
    addQuantiles(operation, result.latencyNs[operation]);
    metrics.set(`${operation}.count`, result.operationCounts[operation]);
  }
  addQuantiles('commit', result.commitLatencyNs);
  addQuantiles('batchSize', result.batchSize);
  const { exact, either, unverifiable } = result.verified;
  const checked = Math.max(1, exact + either + unverifiable + result.wrongDecisions);
  const plain = {
    operations: result.operations,
    operationsPerSecond: result.operationsPerSecond,
    durationMs: result.durationMs,
    wrongDecisions: result.wrongDecisions,
    wrongRecords: result.wrongRecords,
    errors: result.errors,
    localShare: result.localShare,
    exactShare: exact / checked,
    unverifiableShare: unverifiable / checked,
    records: result.records,
    intents: result.intents,
    writtenBytes: result.writtenBytes,
  };
  for (const [name, value] of Object.entries(plain)) metrics.set(name, value);
  return metrics;
}

function sum(engines: readonly EngineStats[], of: (stats: EngineStats) => number): number {
  return engines.reduce((total, stats) => total + of(stats), 0);
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

function quantiles({ count, p50, p90, p99, p999, max }: Distribution): Quantiles {
  return { count, p50, p90, p99, p999, max };
}
