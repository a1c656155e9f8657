import { describe, expect, it } from 'vitest';
import { metricsOf, metricUnits } from '../../src/storm/metrics.ts';
import { formatMetric } from '../../src/storm/report/verdict.ts';
import { checkThresholds, parseThreshold } from '../../src/storm/thresholds.ts';
import { madeUpResult } from '../support/storm-results.ts';

describe('parseThreshold', () => {
  it.each([
    ['decide.p99<2ms', '<', 2e6],
    ['decide.p999 <= 1.5s', '<=', 1.5e9],
    ['recordPullIntent.max<500us', '<', 5e5],
    ['recordPullIntent.p50 < 500µs', '<', 5e5],
    ['operationsPerSecond>10000', '>', 1e4],
    ['operationsPerSecond>=10k', '>=', 1e4],
    ['operations>1_000_000', '>', 1e6],
    ['wrongDecisions==0', '==', 0],
    ['localShare>95%', '>', 0.95],
    ['localShare>0.95', '>', 0.95],
    ['writtenBytes<10MB', '<', 1e7],
    ['errors!=1', '!=', 1],
  ])('%s', (rule, comparison, limit) => {
    const parsed = parseThreshold(rule);
    expect(parsed).toMatchObject({ rule, comparison });
    expect(parsed.limit).toBeCloseTo(limit, 9);
    expect(parsed.metrics).toHaveLength(1);
  });

  it('takes a pattern for the metric', () => {
    expect(parseThreshold('*.p99<5ms').metrics).toEqual([
      'decide.p99',
      'recordPullIntent.p99',
      'recordImagePulled.p99',
      'recordImagePullFailed.p99',
      'pruneUnknownRecords.p99',
      'lag.p99',
      'commit.p99',
      'eventLoopDelay.p99',
    ]);
    expect(parseThreshold('decide.**.p50<5ms').metrics).toEqual([
      'decide.p50',
      'decide.service.p50',
    ]);
  });

  it('knows the stages of a storm', () => {
    const scope = { stages: ['quiet', 'surge'] };
    expect(parseThreshold('stage.surge.decide.p99<5ms', scope)).toMatchObject({ limit: 5e6 });
    expect(parseThreshold('stage.*.rateReached>99%', scope).metrics).toEqual([
      'stage.quiet.rateReached',
      'stage.surge.rateReached',
    ]);
    const unnamed = { stages: ['stage-1', 'stage-2'] };
    expect(parseThreshold('stage.stage-{1,2}.lag.p99<5ms', unnamed).metrics).toHaveLength(2);
    expect(() => parseThreshold('stage.surg.decide.p99<5ms', scope)).toThrow(
      /did you mean "stage\.surge\.decide\.p99"/,
    );
    expect(() => parseThreshold('stage.surge.decide.p99<5ms')).toThrow(/no metric is called/);
  });

  it('knows nothing wrong where nothing is checked', () => {
    for (const name of ['wrongDecisions', 'wrongRecords', 'unverifiableShare', 'exactShare']) {
      expect(parseThreshold(`${name}<1`, { isVerified: true }).metrics).toEqual([name]);
      expect(() => parseThreshold(`${name}<1`, { isVerified: false })).toThrow(
        `${name} needs decisions that are checked, and --no-verify checks none`,
      );
    }
    const staged = { stages: ['a'], isVerified: false };
    expect(() => parseThreshold('stage.a.wrongDecisions==0', staged)).toThrow(/are checked/);
    expect(() => parseThreshold('wrong*==0', { isVerified: false })).toThrow(/no metric is called/);
    const verified = { isOn: false, exact: 0, either: 0, unverifiable: 0 };
    const metrics = metricsOf(madeUpResult({}, { verified }));
    expect(metrics.has('wrongDecisions')).toBe(false);
    expect(metrics.has('wrongRecords')).toBe(false);
  });

  it.each(['decide.p99>_ms', 'decide.p99<2_ms', 'decide.p99<1__0ms', 'decide.p99<_1ms'])(
    'refuses %s, which has no number',
    (rule) => {
      expect(() => parseThreshold(rule)).toThrow(/is no rule/);
    },
  );

  it('refuses a megabyte of digits, at once', () => {
    // In time that grows with the square it would take hours.
    const rule = `decide.p99<${'1'.repeat(2 ** 20)}!`;
    expect(() => parseThreshold(rule)).toThrow(/is no rule/);
  });

  it('knows no rate where the load is closed', () => {
    expect(parseThreshold('rateReached>99%', { isOpen: true }).unit).toBe('share');
    expect(() => parseThreshold('rateReached>99%', { isOpen: false })).toThrow(/at a rate/);
    expect(() => parseThreshold('lag.p99<1ms', { isOpen: false })).toThrow(/at a rate/);
    expect(() => parseThreshold('lga.p99<1ms', { isOpen: false })).toThrow(/no metric/);
  });

  it.each([
    ['', /no rule/],
    ['decide.p99', /no rule/],
    ['decide.p99<', /no rule/],
    ['decide.p99<two', /no rule/],
    ['decide.p99=2ms', /no rule/],
    ['decide.p98<2ms', /did you mean "decide\.p9/],
    ['decode.p99<2ms', /did you mean "decide\.p99"/],
    ['operationPerSecond>1', /did you mean "operationsPerSecond"/],
    ['rateReached>95', /no share is above 1: write 95%/],
    ['rateReached>195%', /no share is above 1$/],
    ['decide.p99<2', /lacks a unit/],
    ['decide.p99<2msec', /has the unit "msec".*did you mean "ms"/],
    ['wrongDecisions==0ms', /has the unit "ms"/],
    ['nothing.*<1', /no metric is called/],
    ['__proto__<1', /no metric is called/],
    ['*<1', /different units/],
    [`decide.p99<1${'0'.repeat(400)}ms`, /too large a limit/],
    // Each of them would be tried for ever.
    [`${'+(*)'.repeat(9)}z<1`, /no metric is called/],
    [`${'[a-z]+'.repeat(99)}<1`, /no metric is called/],
    [`${'{*,*}'.repeat(20)}z<1`, /no metric is called/],
  ])('refuses %s', (rule, message) => {
    expect(() => parseThreshold(rule)).toThrow(
      expect.objectContaining({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        message: expect.stringMatching(message),
      }),
    );
  });
});

describe('checkThresholds', () => {
  const metrics = new Map([
    ['decide.p99', 2e6],
    ['decide.count', 10],
    ['recordPullIntent.count', 0],
    ['wrongDecisions', 0],
  ]);
  const outcome = (rule: string): unknown[] =>
    checkThresholds([parseThreshold(rule)], metrics).map(({ metric, passed }) => [metric, passed]);

  it.each([
    ['decide.p99<2ms', false],
    ['decide.p99<=2ms', true],
    ['decide.p99>2ms', false],
    ['decide.p99>=2ms', true],
    ['decide.p99==2ms', true],
    ['decide.p99!=2ms', false],
    ['wrongDecisions==0', true],
  ])('%s: %s', (rule, passed) => {
    expect(outcome(rule)).toEqual([[rule.split(/[<>=!]/)[0], passed]]);
  });

  it('leaves out what never ran beside what did', () => {
    expect(outcome('{decide,recordPullIntent}.p99<5ms')).toEqual([['decide.p99', true]]);
    expect(outcome('{decide,recordPullIntent}.count<99')).toEqual([
      ['decide.count', true],
      ['recordPullIntent.count', true],
    ]);
  });

  it.each(['recordPullIntent.p99', 'recordImage*.p99', 'records'])(
    'never passes on metrics that are missing: %s',
    (metric) => {
      const unit = metricUnits().get(metric) === 'count' ? '' : 'ms';
      const rules = ['<', '<=', '>', '>=', '==', '!='].map((sign) => `${metric}${sign}5${unit}`);
      for (const rule of rules) {
        expect(checkThresholds([parseThreshold(rule)], metrics)).toEqual([
          expect.objectContaining({ rule, metric, actual: Number.NaN, passed: false }),
        ]);
      }
    },
  );

  it('finds no latency of operations that a storm did not do, and no share of nothing', () => {
    const verified = { isOn: false, exact: 0, either: 0, unverifiable: 0 };
    const quiet = metricsOf(madeUpResult({ hasWrites: false }, { verified }));
    expect(quiet.get('decide.p99')).toBeGreaterThan(0);
    expect(quiet.get('recordImagePulled.count')).toBe(0);
    const rules = ['recordImagePulled.p99<2ms', 'commit.max<1s', 'unverifiableShare<5%'];
    const results = checkThresholds(
      rules.map((rule) => parseThreshold(rule)),
      quiet,
    );
    expect(results.map(({ passed }) => passed)).toEqual([false, false, false]);
    // As JSON and as text it is nothing, and not 0.
    expect(JSON.parse(JSON.stringify(results[0]))).toMatchObject({ actual: null });
    expect(formatMetric(results[0]!.actual, 'ns')).toBe('none');
  });
});
