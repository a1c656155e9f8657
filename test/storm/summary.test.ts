import { describe, expect, it } from 'vitest';
import { formatSummary } from '../../src/storm/report/summary.ts';
import type { OperationResult, Quantiles, StormResult } from '../../src/storm/result-schema.ts';
import {
  formatBytes,
  formatCount,
  formatMs,
  formatNs,
  formatShare,
} from '../../src/terminal/format.ts';
import { PLAIN, paintFor } from '../../src/terminal/style.ts';

const LATENCY: Quantiles = {
  count: 1_000,
  mean: 2_000,
  p50: 1_234,
  p90: 2_345,
  p99: 45_678,
  p999: 1_200_000,
  p9999: 9_900_000,
  max: 98_765_432,
};
const NONE: Quantiles = { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, p9999: 0, max: 0 };

const measured = (count: number): OperationResult => ({
  count,
  responseNs: { ...LATENCY, count },
  serviceNs: { ...LATENCY, count, p99: 4_567 },
  histogram: '',
});

const PER_OPERATION: StormResult['perOperation'] = {
  decide: measured(1_000_000),
  recordPullIntent: measured(50_000),
  recordImagePulled: measured(45_000),
  recordImagePullFailed: measured(5_000),
  pruneUnknownRecords: { count: 0, responseNs: NONE, serviceNs: NONE, histogram: '' },
};

const CLOSED: StormResult['load'] = { model: 'closed', concurrency: { from: 64, to: 64 } };
const OPEN: StormResult['load'] = {
  model: 'open',
  ratePerSecond: { from: 20_000, to: 20_000 },
  callersMax: 1_024,
};
const ARRIVALS: StormResult['arrivals'] = {
  scheduled: 200_000,
  started: 200_000,
  unstarted: 0,
  wantedPerSecond: 20_000,
  reachedPerSecond: 20_000,
  lagNs: LATENCY,
};

const RESULT: StormResult = {
  schema: 'pullwarden.storm/2',
  scenario: 'mixed',
  description: 'everything together',
  scenarioHash: 'ab'.repeat(32),
  command: 'pullwarden storm mixed --seed 42',
  seed: 42,
  startedAt: '2026-11-01T00:00:00.000Z',
  machine: {
    cpu: 'a',
    cores: 2,
    memoryBytes: 8e9,
    platform: 'linux',
    node: 'v20',
    pullwarden: '0.1.0',
  },
  store: 'journal',
  storeLabel: 'journal (temporary)',
  policy: 'NeverVerifyPreloadedImages',
  compatibility: 'v1.35',
  workers: 1,
  stripes: 31,
  load: CLOSED,
  images: 9_849,
  tenants: 3_000,
  operations: 7_654_321,
  durationMs: 10_000,
  operationsPerSecond: 765_432,
  arrivals: undefined,
  wrongDecisions: 0,
  wrongRecords: 0,
  errors: 0,
  errorCodes: {},
  expectedErrors: 0,
  decisions: {
    credentialPolicyAllowed: 100_000,
    credentialRecordFound: 600_000,
    mustAuthenticate: 300_000,
    error: 0,
  },
  localShare: 0.987,
  verified: { isOn: true, exact: 999_000, either: 1_000, unverifiable: 0 },
  latencyNs: {
    decide: LATENCY,
    recordPullIntent: LATENCY,
    recordImagePulled: LATENCY,
    recordImagePullFailed: LATENCY,
    pruneUnknownRecords: NONE,
  },
  perOperation: PER_OPERATION,
  stages: [
    {
      name: 'mixed',
      startMs: 0,
      durationMs: 10_000,
      load: CLOSED,
      operations: 7_654_321,
      operationsPerSecond: 765_432,
      errors: 0,
      wrongDecisions: 0,
      arrivals: undefined,
      perOperation: PER_OPERATION,
    },
  ],
  intervals: [],
  events: [
    { atMs: 5_000, durationMs: 321, kind: 'restart', detail: 'with 9,000 records and 7 intents' },
  ],
  eventLoopDelayNs: LATENCY,
  cpu: { mainMs: 9_000, workersMs: 4_000, allMs: 13_000, perOperationNs: 1_698 },
  memory: { rssMaxBytes: 234_567_890, heapUsedMaxBytes: 123_456_789 },
  batchSize: { ...LATENCY, p50: 60, p99: 80, max: 100 },
  commitLatencyNs: LATENCY,
  restarts: 1,
  prunings: 10,
  prunedRecords: 1_234,
  workersKilled: 0,
  records: 9_000,
  intents: 7,
  writtenBytes: 12_345_678,
  overheadNs: { driverNs: 180, verifyNs: 120 },
  thresholds: [],
  wrong: [],
  problems: [],
  failure: undefined,
  interrupted: false,
  passed: true,
  runs: [{ operationsPerSecond: 765_432 }],
};

describe('formatSummary', () => {
  it('shows what a run gave', () => {
    expect(formatSummary(RESULT)).toMatchSnapshot();
  });

  it('shows the arrivals of an open load, and its stages', () => {
    const stage = { ...RESULT.stages[0]!, load: OPEN, arrivals: ARRIVALS };
    const ramp = { ...OPEN, ratePerSecond: { from: 20_000, to: 100_000 } };
    const late = { ...ARRIVALS, started: 120_000, unstarted: 80_000 };
    const open = { ...RESULT, load: OPEN, arrivals: ARRIVALS };
    expect(formatSummary({ ...open, stages: [stage] })).toMatchSnapshot();
    const staged = {
      ...open,
      arrivals: { ...late, reachedPerSecond: 12_000 },
      stages: [
        { ...stage, name: 'quiet' },
        { ...stage, name: 'surge', load: ramp, arrivals: late },
      ],
      workersKilled: 1,
      expectedErrors: 17,
      verified: { ...RESULT.verified, isOn: false },
      runs: [
        { operationsPerSecond: 100, 'decide.p99': 1e6 },
        { operationsPerSecond: 300, 'decide.p99': 3e6 },
      ],
    };
    expect(formatSummary(staged)).toMatchSnapshot();
  });

  it('shows what went wrong', () => {
    const failed: StormResult = {
      ...RESULT,
      passed: false,
      interrupted: true,
      wrongDecisions: 3,
      wrongRecords: 1,
      errors: 2,
      errorCodes: { ERR_PULLMANAGER_WORKER_LOST: 2 },
      problems: ['record sha256:1 is missing'],
      failure: 'ERR_PULLMANAGER_STORE_UNAVAILABLE: no room',
      thresholds: [
        {
          rule: 'decide.p99<2ms',
          metric: 'decide.p99',
          limit: 2e6,
          actual: 3e6,
          unit: 'ns',
          passed: false,
        },
        {
          rule: '*.count>1',
          metric: 'decide.count',
          limit: 1,
          actual: 2,
          unit: 'count',
          passed: true,
        },
      ],
      wrong: [
        {
          caller: 1,
          step: 2,
          operation: 3,
          method: 'decide',
          image: 'nginx:1',
          imageRef: 'sha256:1',
          tenant: '17 (content 0)',
          given: 'use (credentialRecordFound)',
          possible: ['pull (mustAuthenticate)'],
          state: ['policy AlwaysVerify', 'pulls in flight 0'],
        },
      ],
    };
    expect(formatSummary(failed)).toMatchSnapshot();
  });

  it('has no colours unless they are wanted, and no line that is too long for a page', () => {
    expect(formatSummary(RESULT, PLAIN)).not.toContain('\u001b');
    expect(formatSummary(RESULT, paintFor({ isTTY: true }, {}))).toContain('\u001b');
    for (const line of formatSummary(RESULT).split('\n')) expect(line.length).toBeLessThan(81);
  });
});

it.each([
  [{ isTTY: true }, {}, undefined, true],
  [{ isTTY: false }, {}, undefined, false],
  [{}, { FORCE_COLOR: '1' }, undefined, true],
  [{ isTTY: true }, { FORCE_COLOR: '0' }, undefined, false],
  [{ isTTY: true }, { NO_COLOR: '1' }, undefined, false],
  [{ isTTY: true }, { NO_COLOR: '' }, undefined, true],
  [{ isTTY: true }, { TERM: 'dumb' }, undefined, false],
  [{ isTTY: true }, {}, false, false],
  [{ isTTY: false }, { NO_COLOR: '1' }, true, true],
])('paints on %j with %j and --color %s: %s', (stream, environment, wanted, isPainted) => {
  expect(paintFor(stream, environment, wanted)('bold', 'x') !== 'x').toBe(isPainted);
});

it('writes figures as people read them', () => {
  expect([0, 999, 1_000, 1_234_567].map(formatCount)).toEqual(['0', '999', '1,000', '1,234,567']);
  expect([0, 999, 1_000, 12_345, 999_600, 1e9].map(formatNs)).toEqual([
    '0 ns',
    '999 ns',
    '1.00 µs',
    '12.3 µs',
    '1000 µs',
    '1.00 s',
  ]);
  expect([5, 1_500, 125_000].map(formatMs)).toEqual(['5 ms', '1.5 s', '2 min 5 s']);
  expect([12, 1_234, 9_999_999].map(formatBytes)).toEqual(['12 B', '1.23 kB', '10.0 MB']);
  expect([0, 1e-7, 0.005, 0.5, 0.9999999, 1].map(formatShare)).toEqual([
    '0 %',
    '<0.001 %',
    '0.500 %',
    '50.0 %',
    '>99.999 %',
    '100 %',
  ]);
});

it('lets no text of others change the terminal', () => {
  const hostile = 'x\u001b[31m\nPASSED\u202e';
  const text = formatSummary({
    ...RESULT,
    scenario: hostile,
    storeLabel: hostile,
    problems: [hostile],
    failure: hostile,
    errorCodes: { [hostile]: 1 },
    errors: 1,
    passed: false,
  });
  for (const raw of ['\u001b', '\u202e', '\nPASSED']) expect(text).not.toContain(raw);
  expect(text).toContain('x\\u{1b}[31m\\u{a}PASSED\\u{202e}');
});
