import { describe, expect, it } from 'vitest';
import type { Chart } from '../../../../src/storm/report/html/chart.ts';
import { htmlComparison } from '../../../../src/storm/report/html/comparison-page.ts';
import { htmlReport } from '../../../../src/storm/report/html/report.ts';
import type { Load, StormResult } from '../../../../src/storm/result-schema.ts';
import { madeUpComparison } from '../../../support/comparisons.ts';
import { madeUpResult } from '../../../support/storm-results.ts';

function chartsOf(page: string): Map<string, Chart> {
  const [, json = ''] = /<script type="application\/json" id="charts">(.*?)<\/script>/s.exec(page)!;
  return new Map((JSON.parse(json) as Chart[]).map((chart) => [chart.id, chart]));
}

function chartOf(result: StormResult, id: string): Chart {
  return chartsOf(htmlReport(result)).get(id)!;
}

describe('the charts of a report', () => {
  it('draw a threshold where its metric is, and nowhere else', () => {
    const result = madeUpResult();
    const [, last] = result.thresholds;
    // Its name begins like that of another metric.
    const count = { ...last!, rule: 'operations>1', metric: 'operations', limit: 1 };
    const thresholds = [...result.thresholds, count];
    const charts = chartsOf(htmlReport({ ...result, thresholds }));
    const drawn = [...charts.values()].flatMap(({ id, limits }) =>
      limits.map(({ label, value }) => [id, label, value]),
    );
    expect(drawn).toEqual([
      ['decide-latency', 'decide.p99 < 2.00 ms', 2e6],
      ['decide-percentiles', 'decide.p99 < 2.00 ms', 2e6],
      ['throughput', 'operationsPerSecond > 10,000', 10_000],
    ]);
  });

  it('hold every limit within their axis', () => {
    const [threshold] = madeUpResult().thresholds;
    const thresholds = [{ ...threshold!, limit: 7e9 }];
    const { y } = chartOf(madeUpResult({}, { thresholds }), 'decide-latency');
    expect(y.max).toBe(1e10);
  });

  it('leave a gap where nothing was written, and say so where nothing ever was', () => {
    const some = madeUpResult({ intervals: 3 });
    const none = { p50: 0, p99: 0, max: 0 };
    const intervals = some.intervals.map((one, i) => (i === 1 ? { ...one, writeNs: none } : one));
    const chart = chartOf({ ...some, intervals }, 'write-latency');
    for (const { values } of chart.lines) {
      expect(values.map((value) => value === null)).toEqual([false, true, false]);
    }
    const page = htmlReport(madeUpResult({ hasWrites: false }));
    expect(page).toMatch(/Latency of writes over time<\/h3>\s*<p class="nothing">/);
    expect(page).toContain('Nothing was committed.');
  });

  it('show the percentiles that the result has', () => {
    const result = madeUpResult();
    const { x, lines } = chartOf(result, 'decide-percentiles');
    const { responseNs, serviceNs } = result.perOperation.decide;
    const at = (nines: number): (number | null)[] => {
      const i = x.values.indexOf(nines);
      return lines.map(({ values }) => values[i]!);
    };
    expect(at(1)).toEqual([responseNs.p90, serviceNs.p90]);
    expect(at(2)).toEqual([responseNs.p99, serviceNs.p99]);
    expect(at(3)).toEqual([responseNs.p999, serviceNs.p999]);
    expect(lines.map(({ values }) => values.at(-1))).toEqual([responseNs.max, serviceNs.max]);
    for (const { values } of lines) {
      const known = values.filter((value) => value !== null);
      expect(known).toEqual([...known].sort((a, b) => a - b));
    }
  });

  it.each([
    ['nothing at all', madeUpResult({}, { intervals: [], stages: [], events: [], thresholds: [] })],
    ['one interval', madeUpResult({ intervals: 1 })],
    [
      'an interruption',
      madeUpResult({}, { interrupted: true, passed: false, overheadNs: undefined }),
    ],
    [
      'a result that was written to a file',
      JSON.parse(JSON.stringify(madeUpResult({ model: 'closed' }))),
    ],
  ])('have axes with a beginning and an end for %s', (_name, result: StormResult) => {
    for (const { x, y } of chartsOf(htmlReport(result)).values()) {
      expect(x.max).toBeGreaterThan(x.min);
      expect(y.max).toBeGreaterThan(y.min);
      expect(y.min).toBeGreaterThanOrEqual(y.isLogarithmic ? Number.MIN_VALUE : 0);
    }
  });

  it('draw requests with requests, and operations by themselves', () => {
    const result = madeUpResult({ intervals: 3 });
    const drawn = (id: string): (readonly [string, readonly unknown[]])[] =>
      chartOf(result, id).lines.map(({ name, values }) => [name, values]);
    expect(drawn('requests')).toEqual([
      ['begun', result.intervals.map(({ reachedPerSecond }) => reachedPerSecond)],
      ['wanted', result.intervals.map(({ wantedPerSecond }) => wantedPerSecond)],
    ]);
    expect(drawn('throughput')).toEqual([
      ['operations', result.intervals.map(({ operationsPerSecond }) => operationsPerSecond)],
    ]);
  });

  it('do not speak of an arrival rate where there is none', () => {
    const closed = madeUpResult({ model: 'closed' });
    const comparison = madeUpComparison(closed, closed);
    for (const page of [htmlReport(closed), htmlComparison(comparison, [closed], [closed])]) {
      expect(page).not.toMatch(/Lag over time|Requests over time|rate reached/);
      expect(page).toContain('Operations over time');
    }
    const open = madeUpResult();
    const page = htmlComparison(madeUpComparison(open, open), [open], [open]);
    expect(page).toContain('Requests over time');
    expect(page).toContain('Lag over time');
  });
});

describe('a report', () => {
  const leadOf = (result: StormResult): string =>
    htmlReport(result).match(/<p class="lead">([^<]*requests\/s|[^<]*callers)[^<]*<\/p>/)![0];
  const staged = (loads: readonly Load[]): StormResult => {
    const result = madeUpResult();
    const stages = loads.map((load, i) => ({ ...result.stages[0]!, name: `stage-${i}`, load }));
    return { ...result, load: loads[0]!, stages };
  };
  const open = (from: number, to: number, callersMax = 256): Load => {
    return { model: 'open', ratePerSecond: { from, to }, callersMax };
  };
  const closed = (from: number, to: number): Load => {
    return { model: 'closed', concurrency: { from, to } };
  };

  it.each([
    { loads: [open(500, 500)], text: '>500 requests/s, at most 256 at once ·' },
    {
      loads: [open(1_000, 1_000), open(1_000, 5_000, 512), open(200, 200)],
      text: '>3 stages of 200 to 5,000 requests/s, at most 512 at once ·',
    },
    { loads: [closed(8, 8), closed(4, 64)], text: '>2 stages of 4 to 64 callers ·' },
    { loads: [closed(8, 8), closed(8, 8)], text: '>2 stages of 8 callers ·' },
  ])('begins with the load of all of its stages: $text', ({ loads, text }) => {
    expect(leadOf(staged(loads))).toContain(text);
  });

  it('names a histogram that is none', () => {
    const result = madeUpResult();
    const decide = { ...result.perOperation.decide, histogram: 'AAAA' };
    const perOperation = { ...result.perOperation, decide };
    expect(() => htmlReport({ ...result, perOperation })).toThrow(
      'perOperation.decide.histogram is no HDR histogram',
    );
  });

  it('refers to nothing outside of itself', () => {
    const page = htmlReport(madeUpResult());
    const [head = ''] = page.split('<style>');
    expect(head).toContain('content="default-src &#39;none&#39;; ');
    const markup = page.replaceAll(/<(style|script)[^>]*>.*?<\/\1>/gs, '');
    const targets = [...markup.matchAll(/\s(?:src|href|srcset|action|data)="([^"]*)"/g)];
    expect(targets.length).toBeGreaterThan(10);
    for (const [, target] of targets) expect(target).toMatch(/^(#[a-z-]+|data:,)$/);
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(page)!;
    expect(/@import|url\(/.test(style)).toBe(false);
  });
});
