import { describe, expect, it } from 'vitest';
import { ProgressLine, progressText } from '../../src/storm/report/progress-line.ts';
import { formatSummary } from '../../src/storm/report/summary.ts';
import type { StormResult } from '../../src/storm/result.ts';
import type { Progress } from '../../src/storm/run.ts';
import {
  formatBytes,
  formatCount,
  formatMs,
  formatNs,
  formatShare,
} from '../../src/terminal/format.ts';
import { PLAIN, paintFor } from '../../src/terminal/style.ts';

const LATENCY = { p50: 1_234, p90: 2_345, p99: 45_678, p999: 1_200_000, max: 98_765_432 };
const NONE = { p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };

const RESULT: StormResult = {
  schema: 'pullwarden.storm/1',
  scenario: 'mixed',
  command: 'pullwarden storm mixed --seed 42',
  seed: 42,
  store: 'journal',
  storeLabel: 'journal (temporary)',
  policy: 'NeverVerifyPreloadedImages',
  workers: 1,
  concurrency: 64,
  images: 9_849,
  tenants: 3_000,
  operations: 7_654_321,
  durationMs: 10_000,
  operationsPerSecond: 765_432,
  wrongDecisions: 0,
  wrongRecords: 0,
  errors: 0,
  errorCodes: {},
  decisions: {
    credentialPolicyAllowed: 100_000,
    credentialRecordFound: 600_000,
    mustAuthenticate: 300_000,
    error: 0,
  },
  localShare: 0.987,
  verified: { exact: 999_000, either: 1_000, unverifiable: 0 },
  operationCounts: {
    decide: 1_000_000,
    recordPullIntent: 50_000,
    recordImagePulled: 45_000,
    recordImagePullFailed: 5_000,
    pruneUnknownRecords: 0,
  },
  latencyNs: {
    decide: LATENCY,
    recordPullIntent: LATENCY,
    recordImagePulled: LATENCY,
    recordImagePullFailed: LATENCY,
    pruneUnknownRecords: NONE,
  },
  batchSize: { count: 1_000, p50: 60, p90: 70, p99: 80, p999: 90, max: 100 },
  commitLatencyNs: { count: 1_000, ...LATENCY },
  restarts: 1,
  prunings: 10,
  prunedRecords: 1_234,
  records: 9_000,
  intents: 7,
  writtenBytes: 12_345_678,
  overheadNs: { driverNs: 180, verifyNs: 120 },
  thresholds: [],
  wrong: [],
  problems: [],
  interrupted: false,
  passed: true,
  machine: { cpu: 'a', cores: 2, node: 'v20' },
};

describe('formatSummary', () => {
  it('shows what a run gave', () => {
    expect(formatSummary(RESULT)).toMatchSnapshot();
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
    for (const line of formatSummary(RESULT).split('\n')) expect(line.length).toBeLessThan(130);
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

describe('the live line', () => {
  const progress = (phase: Progress['phase'], share: number): Progress =>
    ({
      phase,
      share,
      elapsedMs: 2_500,
      state: {
        counts: { operations: 1_000, wrongDecisions: 1, wrongRecords: 1 },
        recorder: { latencyNs: () => LATENCY },
      },
    }) as unknown as Progress;

  it('says how far the storm is', () => {
    expect(progressText(progress('filling', 0), 0)).toBe('2.5 s  filling the store');
    expect(progressText(progress('checking', 0), 0)).toBe('2.5 s  checking what is stored');
    expect(progressText(progress('running', 0.25), 400_000)).toBe(
      '2.5 s  400,000 ops/s  decide p99 45.7 µs  2 wrong  25.0 %  7.5 s left',
    );
  });

  it('is rewritten in place, at most once a second, within the width of the terminal', () => {
    const written: string[] = [];
    const line = new ProgressLine({ columns: 20, write: (text) => written.push(text) });
    line.update(progress('running', 0.5));
    line.update(progress('running', 0.6));
    line.clear();
    line.clear();
    expect(written).toEqual(['\r\u001b[2K2.5 s  0 ops/s  dec', '\r\u001b[2K']);
  });
});
