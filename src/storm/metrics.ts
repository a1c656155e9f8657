/** The figures of a result under the names that thresholds and comparisons use. */
import { OPERATIONS } from './operations.ts';
import type {
  Arrivals,
  MetricUnit,
  OperationResults,
  Quantiles,
  StormResult,
} from './result-schema.ts';

/** A metric of a finished storm; times in nanoseconds, sizes in bytes, shares from 0 to 1. */
export type Metrics = ReadonlyMap<string, number>;

const QUANTILES = ['p50', 'p90', 'p99', 'p999', 'p9999', 'max'] as const;

const PLAIN: Readonly<Record<string, MetricUnit>> = {
  operations: 'count',
  operationsPerSecond: 'count',
  durationMs: 'count',
  rateReached: 'share',
  unstarted: 'count',
  wrongDecisions: 'count',
  wrongRecords: 'count',
  errors: 'count',
  expectedErrors: 'count',
  localShare: 'share',
  exactShare: 'share',
  unverifiableShare: 'share',
  cpuMain: 'share',
  cpuAll: 'share',
  cpuPerOperation: 'ns',
  rssMax: 'bytes',
  heapUsedMax: 'bytes',
  records: 'count',
  intents: 'count',
  writtenBytes: 'bytes',
};

const OF_STAGE: Readonly<Record<string, MetricUnit>> = {
  operations: 'count',
  operationsPerSecond: 'count',
  rateReached: 'share',
  errors: 'count',
  wrongDecisions: 'count',
};

/** Metrics that only a storm has whose requests arrive at a rate. */
const OF_OPEN_LOAD: readonly string[] = ['lag', 'rateReached', 'unstarted'];

/** Metrics that only a storm has that checks what it is answered: else a 0 would say that all was right. */
const OF_VERIFIED: readonly string[] = [
  'wrongDecisions',
  'wrongRecords',
  'exactShare',
  'unverifiableShare',
];

/** What decides which metrics a storm has. */
export interface MetricScope {
  /** Names of its stages, which have metrics of their own. @default none */
  readonly stages?: readonly string[];
  /** @default true */
  readonly isOpen?: boolean;
  /** Whether decisions are checked. @default true */
  readonly isVerified?: boolean;
}

/** Every metric of a storm, and its unit. */
export function metricUnits(scope: MetricScope = {}): ReadonlyMap<string, MetricUnit> {
  const { stages = [], isOpen = true, isVerified = true } = scope;
  const units = new Map<string, MetricUnit>();
  const addQuantiles = (prefix: string, unit: MetricUnit): void => {
    for (const quantile of QUANTILES) units.set(`${prefix}.${quantile}`, unit);
  };
  const addOperations = (prefix: string): void => {
    for (const operation of OPERATIONS) {
      addQuantiles(`${prefix}${operation}`, 'ns');
      addQuantiles(`${prefix}${operation}.service`, 'ns');
      units.set(`${prefix}${operation}.count`, 'count');
    }
    addQuantiles(`${prefix}lag`, 'ns');
  };
  addOperations('');
  addQuantiles('commit', 'ns');
  addQuantiles('batchSize', 'count');
  addQuantiles('eventLoopDelay', 'ns');
  for (const [name, unit] of Object.entries(PLAIN)) units.set(name, unit);
  for (const stage of stages) {
    addOperations(`stage.${stage}.`);
    for (const [name, unit] of Object.entries(OF_STAGE)) units.set(`stage.${stage}.${name}`, unit);
  }
  const missing = [...(isOpen ? [] : OF_OPEN_LOAD), ...(isVerified ? [] : OF_VERIFIED)];
  const isMissing = (name: string): boolean =>
    name.split('.').some((word) => missing.includes(word));
  return new Map([...units].filter(([name]) => !isMissing(name)));
}

/**
 * The metrics of a result. What it does not have is left out: lag of a closed load, latencies of what
 * never ran, shares of decisions where none was checked, what was wrong where nothing was.
 */
export function metricsOf(result: Omit<StormResult, 'thresholds' | 'passed' | 'runs'>): Metrics {
  const metrics = new Map<string, number>();
  const addQuantiles = (prefix: string, quantiles: Quantiles): void => {
    if (quantiles.count === 0) return;
    for (const quantile of QUANTILES) metrics.set(`${prefix}.${quantile}`, quantiles[quantile]);
  };
  const addOperations = (prefix: string, operations: OperationResults): void => {
    for (const operation of OPERATIONS) {
      const { count, responseNs, serviceNs } = operations[operation];
      addQuantiles(`${prefix}${operation}`, responseNs);
      addQuantiles(`${prefix}${operation}.service`, serviceNs);
      metrics.set(`${prefix}${operation}.count`, count);
    }
  };
  const addArrivals = (prefix: string, arrivals: Arrivals | undefined): void => {
    if (arrivals === undefined) return;
    addQuantiles(`${prefix}lag`, arrivals.lagNs);
    metrics.set(`${prefix}rateReached`, arrivals.started / Math.max(1, arrivals.scheduled));
  };
  addOperations('', result.perOperation);
  addArrivals('', result.arrivals);
  addQuantiles('commit', result.commitLatencyNs);
  addQuantiles('batchSize', result.batchSize);
  addQuantiles('eventLoopDelay', result.eventLoopDelayNs);
  for (const [name, value] of Object.entries(plainMetrics(result))) {
    if (value !== undefined) metrics.set(name, value);
  }
  // A storm without stages has one, which is the whole.
  const [first, ...more] = result.stages;
  const isStaged = more.length > 0 || first?.name !== result.scenario;
  for (const stage of isStaged ? result.stages : []) {
    const prefix = `stage.${stage.name}.`;
    addOperations(prefix, stage.perOperation);
    addArrivals(prefix, stage.arrivals);
    metrics.set(`${prefix}operations`, stage.operations);
    metrics.set(`${prefix}operationsPerSecond`, stage.operationsPerSecond);
    metrics.set(`${prefix}errors`, stage.errors);
    if (result.verified.isOn) metrics.set(`${prefix}wrongDecisions`, stage.wrongDecisions);
  }
  return metrics;
}

function plainMetrics(
  result: Omit<StormResult, 'thresholds' | 'passed' | 'runs'>,
): Readonly<Record<string, number | undefined>> {
  const { cpu, durationMs, memory } = result;
  const { isOn, exact, either, unverifiable } = result.verified;
  const checked = exact + either + unverifiable + result.wrongDecisions;
  const share = (ms: number | undefined): number | undefined =>
    ms === undefined ? undefined : ms / Math.max(1, durationMs);
  return {
    operations: result.operations,
    operationsPerSecond: result.operationsPerSecond,
    durationMs,
    unstarted: result.arrivals?.unstarted,
    wrongDecisions: isOn ? result.wrongDecisions : undefined,
    wrongRecords: isOn ? result.wrongRecords : undefined,
    errors: result.errors,
    expectedErrors: result.expectedErrors,
    localShare: result.localShare,
    exactShare: checked === 0 ? undefined : exact / checked,
    unverifiableShare: checked === 0 ? undefined : unverifiable / checked,
    cpuMain: share(cpu.mainMs),
    cpuAll: share(cpu.allMs),
    cpuPerOperation: cpu.perOperationNs,
    rssMax: memory.rssMaxBytes,
    heapUsedMax: memory.heapUsedMaxBytes,
    records: result.records,
    intents: result.intents,
    writtenBytes: result.writtenBytes,
  };
}
