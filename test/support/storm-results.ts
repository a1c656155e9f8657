/** Results of storms that never were, but might have been. */
import hdr from 'hdr-histogram-js';
import type { OperationName } from '../../src/storm/operations.ts';
import {
  type IntervalResult,
  type OperationResult,
  type OperationResults,
  type Quantiles,
  RESULT_SCHEMA,
  type StormResult,
} from '../../src/storm/result-schema.ts';
import { Random } from '../../src/util/random.ts';

export const NO_QUANTILES: Quantiles = {
  count: 0,
  mean: 0,
  p50: 0,
  p90: 0,
  p99: 0,
  p999: 0,
  p9999: 0,
  max: 0,
};

/** What a made-up storm is like. */
export interface StormShape {
  /** @default 30 */
  readonly intervals?: number;
  /** @default 1000 */
  readonly intervalMs?: number;
  /** Whether anything is written. @default true */
  readonly hasWrites?: boolean;
  /** @default open */
  readonly model?: 'open' | 'closed';
  /** Makes everything this many times as slow. @default 1 */
  readonly slowness?: number;
  readonly seed?: number;
}

/** A storm that passed, with a surge in its middle; `own` fields replace those of it. */
export function madeUpResult(shape: StormShape = {}, own: Partial<StormResult> = {}): StormResult {
  const { intervals: length = 30, intervalMs = 1_000, hasWrites = true } = shape;
  const { model = 'open', slowness = 1, seed = 1 } = shape;
  const random = new Random(seed);
  const isOpen = model === 'open';
  const durationMs = length * intervalMs;
  const stageOf = (i: number): string => {
    const share = i / length;
    if (share < 0.4) return 'quiet';
    return share < 0.7 ? 'surge' : 'quiet again';
  };
  const intervals = Array.from({ length }, (_, i): IntervalResult => {
    const isSurge = stageOf(i) === 'surge';
    const wanted = isSurge ? 50_000 : 20_000;
    const factor = (isSurge ? 2.4 : 1) * slowness * (0.9 + random.share() * 0.2);
    const commits = hasWrites ? Math.round(900 / factor) : 0;
    return {
      atMs: i * intervalMs,
      durationMs: intervalMs,
      stage: stageOf(i),
      operations: (wanted * intervalMs) / 1_000,
      operationsPerSecond: wanted * (0.97 + random.share() * 0.04),
      wantedPerSecond: isOpen ? wanted : undefined,
      reachedPerSecond: isOpen ? wanted * (0.97 + random.share() * 0.04) : undefined,
      errors: 0,
      wrongDecisions: 0,
      decideNs: { p50: 1_900 * factor, p99: 42_000 * factor, max: 2.1e6 * factor },
      writeNs: hasWrites
        ? { p50: 310_000 * factor, p99: 1.4e6 * factor, max: 9e6 * factor }
        : { p50: 0, p99: 0, max: 0 },
      lagP99Ns: isOpen ? 240_000 * factor : 0,
      eventLoopDelayP99Ns: 1.1e6 * factor,
      cpuMain: 0.35 * factor,
      cpuAll: 0.6 * factor,
      rssBytes: 180e6 + i * 1e6,
      heapUsedBytes: 60e6 + random.share() * 40e6,
      commits,
      writesPerCommit: hasWrites ? 2.3 * factor : 0,
      writtenBytes: hasWrites ? 450_000 : 0,
    };
  });
  const perOperation = operationsOf(slowness, hasWrites, isOpen);
  const operations = intervals.reduce((sum, one) => sum + one.operations, 0);
  const arrivals = isOpen
    ? {
        scheduled: operations,
        started: operations,
        unstarted: 0,
        wantedPerSecond: 29_000,
        reachedPerSecond: 28_940,
        lagNs: quantiles(operations, 60_000 * slowness),
      }
    : undefined;
  const load = isOpen
    ? { model: 'open' as const, ratePerSecond: { from: 20_000, to: 20_000 }, callersMax: 1_024 }
    : { model: 'closed' as const, concurrency: { from: 64, to: 64 } };
  const stages = [...new Set(intervals.map(({ stage }) => stage))].map((name) => {
    const inside = intervals.filter(({ stage }) => stage === name);
    return {
      name,
      startMs: inside[0]!.atMs,
      durationMs: inside.length * intervalMs,
      load,
      operations: inside.reduce((sum, one) => sum + one.operations, 0),
      operationsPerSecond: inside[0]!.operationsPerSecond,
      errors: 0,
      wrongDecisions: 0,
      arrivals,
      perOperation,
    };
  });
  return {
    schema: RESULT_SCHEMA,
    scenario: 'mixed',
    description: 'decisions and pulls of popular images, with a surge',
    scenarioHash: `sha256:${'5e'.repeat(32)}`,
    command: 'pullwarden storm mixed --seed 4711 --duration 30s',
    seed: 4_711,
    startedAt: '2026-11-26T12:00:00.000Z',
    machine: {
      cpu: 'AMD EPYC',
      cores: 2,
      memoryBytes: 24e9,
      platform: 'linux-x64',
      node: 'v20.20.2',
      pullwarden: '0.1.0',
    },
    store: 'journal',
    storeLabel: 'journal (temporary)',
    policy: 'NeverVerifyPreloadedImages',
    compatibility: 'v1.36',
    workers: 1,
    stripes: 64,
    load,
    images: 2_000,
    tenants: 200,
    operations,
    durationMs,
    operationsPerSecond: (operations / durationMs) * 1_000,
    arrivals,
    wrongDecisions: 0,
    wrongRecords: 0,
    errors: 0,
    errorCodes: {},
    expectedErrors: 0,
    decisions: {
      credentialPolicyAllowed: 120_400,
      credentialRecordFound: 611_250,
      mustAuthenticate: 48_930,
      error: 0,
    },
    localShare: 0.963,
    verified: { isOn: true, exact: 760_000, either: 20_500, unverifiable: 80 },
    latencyNs: {
      decide: perOperation.decide.responseNs,
      recordPullIntent: perOperation.recordPullIntent.responseNs,
      recordImagePulled: perOperation.recordImagePulled.responseNs,
      recordImagePullFailed: perOperation.recordImagePullFailed.responseNs,
      pruneUnknownRecords: perOperation.pruneUnknownRecords.responseNs,
    },
    perOperation,
    stages,
    intervals,
    events: [
      { atMs: durationMs * 0.25, durationMs: 140, kind: 'restart', detail: '3 intents left over' },
      { atMs: durationMs * 0.5, durationMs: 20, kind: 'prune', detail: '120 records' },
      { atMs: durationMs * 0.8, durationMs: 60, kind: 'killWorker', detail: 'worker 0' },
    ],
    eventLoopDelayNs: quantiles(length * 100, 900_000),
    cpu: { mainMs: 9_800, workersMs: 6_400, allMs: 16_200, perOperationNs: 18_600 * slowness },
    memory: { rssMaxBytes: 210e6, heapUsedMaxBytes: 98e6 },
    batchSize: hasWrites ? { ...quantiles(9_000, 2), max: 61 } : NO_QUANTILES,
    commitLatencyNs: hasWrites ? quantiles(9_000, 240_000 * slowness) : NO_QUANTILES,
    restarts: 1,
    prunings: 1,
    prunedRecords: 120,
    workersKilled: 1,
    records: 1_880,
    intents: 4,
    writtenBytes: hasWrites ? 13_500_000 : 0,
    overheadNs: { driverNs: 900, verifyNs: 1_400 },
    thresholds: [
      {
        rule: 'decide.p99<2ms',
        metric: 'decide.p99',
        limit: 2e6,
        actual: perOperation.decide.responseNs.p99,
        unit: 'ns',
        passed: true,
      },
      {
        rule: 'operationsPerSecond>10k',
        metric: 'operationsPerSecond',
        limit: 10_000,
        actual: (operations / durationMs) * 1_000,
        unit: 'count',
        passed: true,
      },
    ],
    wrong: [],
    problems: [],
    failure: undefined,
    interrupted: false,
    passed: true,
    runs: [],
    ...own,
  };
}

/** The same storm, with everything that can go wrong gone wrong. */
export function failedResult(shape: StormShape = {}, own: Partial<StormResult> = {}): StormResult {
  const result = madeUpResult(shape);
  return {
    ...result,
    wrongDecisions: 2,
    wrongRecords: 1,
    errors: 3,
    errorCodes: { WORKER_LOST: 3 },
    thresholds: [
      ...result.thresholds,
      {
        rule: '*.p99<1ms',
        metric: 'recordImagePulled.p99',
        limit: 1e6,
        actual: result.perOperation.recordImagePulled.responseNs.p99,
        unit: 'ns',
        passed: false,
      },
    ],
    wrong: [
      {
        caller: 3,
        step: 41,
        operation: 12_345,
        method: 'mustAttemptImagePull',
        image: 'registry.example/team-1/app:7',
        imageRef: `sha256:${'ab'.repeat(32)}`,
        tenant: '17 (content 2)',
        given: 'use (credentialRecordFound)',
        possible: ['pull (mustAuthenticate)'],
        state: ['policy NeverVerifyPreloadedImages', 'record present, 0 writes under way'],
      },
    ],
    problems: ['the record of sha256:12 is missing'],
    passed: false,
    ...own,
  };
}

function operationsOf(slowness: number, hasWrites: boolean, isOpen: boolean): OperationResults {
  const of = (count: number, medianNs: number): OperationResult =>
    operation(hasWrites || medianNs < 1e5 ? count : 0, medianNs * slowness, isOpen);
  const result: Record<OperationName, OperationResult> = {
    decide: of(780_580, 2_000),
    recordPullIntent: of(39_000, 300_000),
    recordImagePulled: of(36_500, 340_000),
    recordImagePullFailed: of(2_500, 320_000),
    pruneUnknownRecords: of(1, 9e6),
  };
  return result;
}

/** Latencies around a median, with the long tail that they have. */
function operation(count: number, medianNs: number, isOpen: boolean): OperationResult {
  const histogram = hdr.build({
    bitBucketSize: 64,
    autoResize: false,
    highestTrackableValue: 3_600_000_000_000,
    numberOfSignificantValueDigits: 3,
  });
  const steps = Math.min(count, 5_000);
  for (let step = 0; step < steps; step++) {
    const left = 1 - (step + 0.5) / steps;
    histogram.recordValueWithCount(
      Math.round(medianNs * (0.5 / left) ** 0.9),
      Math.max(1, Math.round(count / steps)),
    );
  }
  const at = (percentile: number): number =>
    count === 0 ? 0 : Math.min(histogram.maxValue, histogram.getValueAtPercentile(percentile));
  const responseNs: Quantiles = {
    count,
    mean: count === 0 ? 0 : histogram.mean,
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    p9999: at(99.99),
    max: count === 0 ? 0 : histogram.maxValue,
  };
  return {
    count,
    responseNs,
    serviceNs: isOpen ? scaled(responseNs, 0.7) : responseNs,
    histogram: hdr.encodeIntoCompressedBase64(histogram),
  };
}

function quantiles(count: number, medianNs: number): Quantiles {
  return {
    count,
    mean: medianNs * 1.2,
    p50: medianNs,
    p90: medianNs * 2,
    p99: medianNs * 5,
    p999: medianNs * 11,
    p9999: medianNs * 18,
    max: medianNs * 25,
  };
}

function scaled(of: Quantiles, factor: number): Quantiles {
  const { count, mean, p50, p90, p99, p999, p9999, max } = of;
  return {
    count,
    mean: mean * factor,
    p50: p50 * factor,
    p90: p90 * factor,
    p99: p99 * factor,
    p999: p999 * factor,
    p9999: p9999 * factor,
    max: max * factor,
  };
}
