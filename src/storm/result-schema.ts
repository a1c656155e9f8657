/**
 * The result of a storm as one plain object: what `--json` prints, and all that reports, thresholds
 * and comparisons are made from. `docs/storm-result.md` describes it for users.
 *
 * Times are in the unit that their name ends with; shares are from 0 to 1; sizes are in bytes.
 */
import type { DecisionReason } from '../metrics/stats.ts';
import type { OperationName } from './operations.ts';
import type { WrongAnswer } from './wrong-answer.ts';

/** Version of the result's shape; rises where a field goes or changes its meaning. */
export const RESULT_SCHEMA = 'pullwarden.storm/2';

/** Quantiles of a distribution. */
export interface QuantilesNs {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly p9999: number;
  readonly max: number;
}

/** The same, and how many values it is of; 0 everywhere where there is none. */
export interface Quantiles extends QuantilesNs {
  readonly count: number;
  readonly mean: number;
}

/** How load is made: by arrivals that wait for nobody, or by callers that wait for their answers. */
export type Load =
  | { readonly model: 'open'; readonly ratePerSecond: Ramp; readonly callersMax: number }
  | { readonly model: 'closed'; readonly concurrency: Ramp };

/** A value that moves evenly over a stage. */
export interface Ramp {
  readonly from: number;
  readonly to: number;
}

/**
 * What became of the arrivals of an open load. While the engine is restarted nobody is there to ask:
 * that time does not count.
 */
export interface Arrivals {
  /** Requests that were to begin; a request is one decision, one batch of them, or one pull. */
  readonly scheduled: number;
  readonly started: number;
  /** Not begun when the time was over, or the engine went down: no caller was free until then. */
  readonly unstarted: number;
  readonly wantedPerSecond: number;
  readonly reachedPerSecond: number;
  /** How late requests began. */
  readonly lagNs: Quantiles;
}

/** Latencies of one kind of operation. */
export interface OperationResult {
  readonly count: number;
  /** From the moment at which it was to begin: what a user waits. */
  readonly responseNs: Quantiles;
  /** From the call. The same as the response time where the load is closed. */
  readonly serviceNs: Quantiles;
  /** HDR histogram V2, compressed, base64, of the response times in nanoseconds. */
  readonly histogram: string;
}

export type OperationResults = Readonly<Record<OperationName, OperationResult>>;

/** One stage; a storm without stages has one, named after the scenario. */
export interface StageResult {
  readonly name: string;
  /** From the beginning of the storm. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly load: Load;
  readonly operations: number;
  readonly operationsPerSecond: number;
  readonly errors: number;
  readonly wrongDecisions: number;
  readonly arrivals: Arrivals | undefined;
  readonly perOperation: OperationResults;
}

/** What happened in one interval of the storm, usually a second. */
export interface IntervalResult {
  /** Its beginning, from the beginning of the storm. */
  readonly atMs: number;
  readonly durationMs: number;
  readonly stage: string;
  readonly operations: number;
  readonly operationsPerSecond: number;
  /** Requests a second that were to begin; undefined where the load is closed. */
  readonly wantedPerSecond: number | undefined;
  /** Requests a second that were begun; undefined where the load is closed. */
  readonly reachedPerSecond: number | undefined;
  readonly errors: number;
  readonly wrongDecisions: number;
  /** Of decisions, and of everything that writes. */
  readonly decideNs: Pick<QuantilesNs, 'p50' | 'p99' | 'max'>;
  readonly writeNs: Pick<QuantilesNs, 'p50' | 'p99' | 'max'>;
  readonly lagP99Ns: number;
  readonly eventLoopDelayP99Ns: number;
  /** Processors kept busy, 1 is one of them; main is undefined where the system does not tell. */
  readonly cpuMain: number | undefined;
  readonly cpuAll: number;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly commits: number;
  readonly writesPerCommit: number;
  readonly writtenBytes: number;
}

/** Something that was done to the engine while it ran; `detail` says in words what came of it. */
export interface EventResult {
  readonly atMs: number;
  readonly durationMs: number;
  readonly kind: 'restart' | 'prune' | 'killWorker';
  readonly detail: string;
}

/** The machine and the programs that a result is of. */
export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly node: string;
  readonly pullwarden: string;
}

/** What a metric is counted in. */
export type MetricUnit = 'ns' | 'count' | 'share' | 'bytes';

/** How a rule came out for one metric. */
export interface ThresholdResult {
  readonly rule: string;
  /** Its name; the pattern where the storm has none that the pattern covers. */
  readonly metric: string;
  readonly limit: number;
  /** NaN where the storm has no such metric, for example a latency of what never ran. */
  readonly actual: number;
  readonly unit: MetricUnit;
  readonly passed: boolean;
}

/** A metric of one run by the name that thresholds use. */
export type RunMetrics = Readonly<Record<string, number>>;

/** Result of a storm. */
export interface StormResult {
  readonly schema: typeof RESULT_SCHEMA;
  readonly scenario: string;
  readonly description: string;
  /** SHA-256 of the scenario with every default filled in, without the seed: equal for equal storms. */
  readonly scenarioHash: string;
  /** Command line that repeats the run. */
  readonly command: string;
  readonly seed: number;
  /** When it began, ISO 8601. */
  readonly startedAt: string;
  readonly machine: Environment;
  /** `journal`, `lmdb`, `kubelet`, `memory`. */
  readonly store: string;
  /** How the store is shown, for example `journal (temporary)`. */
  readonly storeLabel: string;
  readonly policy: string;
  readonly compatibility: string;
  readonly workers: number;
  readonly stripes: number;
  readonly load: Load;
  readonly images: number;
  readonly tenants: number;
  readonly operations: number;
  readonly durationMs: number;
  readonly operationsPerSecond: number;
  readonly arrivals: Arrivals | undefined;
  readonly wrongDecisions: number;
  /** Differences between what the engine listed and what it must hold. */
  readonly wrongRecords: number;
  /** Operations that failed though no worker had been killed. */
  readonly errors: number;
  readonly errorCodes: Readonly<Record<string, number>>;
  /** Operations that failed because a worker was killed on purpose. */
  readonly expectedErrors: number;
  /** Decisions by reason. */
  readonly decisions: Readonly<Record<DecisionReason, number>>;
  /** Decisions answered without a trip to a worker, as a share of all. */
  readonly localShare: number;
  /** How decisions were checked: one right answer, several, any; all 0 with `--no-verify`. */
  readonly verified: {
    readonly isOn: boolean;
    readonly exact: number;
    readonly either: number;
    readonly unverifiable: number;
  };
  /** Response times of every operation, as in `perOperation`. */
  readonly latencyNs: Readonly<Record<OperationName, QuantilesNs>>;
  readonly perOperation: OperationResults;
  readonly stages: readonly StageResult[];
  readonly intervals: readonly IntervalResult[];
  readonly events: readonly EventResult[];
  readonly eventLoopDelayNs: Quantiles;
  /** Processor time; main is undefined where the system does not tell. */
  readonly cpu: {
    readonly mainMs: number | undefined;
    readonly workersMs: number | undefined;
    readonly allMs: number;
    readonly perOperationNs: number;
  };
  readonly memory: { readonly rssMaxBytes: number; readonly heapUsedMaxBytes: number };
  /** Of the engine that committed most often between two restarts. */
  readonly batchSize: Quantiles;
  readonly commitLatencyNs: Quantiles;
  readonly restarts: number;
  readonly prunings: number;
  readonly prunedRecords: number;
  readonly workersKilled: number;
  /** In the end. */
  readonly records: number;
  readonly intents: number;
  readonly writtenBytes: number;
  /** Processor time of the storm's own work for each operation; undefined after an interruption. */
  readonly overheadNs: { readonly driverNs: number; readonly verifyNs: number } | undefined;
  readonly thresholds: readonly ThresholdResult[];
  readonly wrong: readonly WrongAnswer[];
  readonly problems: readonly string[];
  /** What ended the storm before its time, or kept it from being checked: one line. */
  readonly failure: string | undefined;
  /** Of a replay: what of the recorded load it did not play, a remark each. */
  readonly replayed?: { readonly lacks: readonly string[] } | undefined;
  readonly interrupted: boolean;
  readonly passed: boolean;
  /**
   * Metrics of each run with `--repeat`; one entry without. The rest is of the median run: by the
   * 99th percentile of decisions in an open load, by operations a second in a closed one.
   */
  readonly runs: readonly RunMetrics[];
}
