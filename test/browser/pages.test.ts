import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { MetricComparison } from '../../src/storm/compare/comparison.ts';
import { htmlComparison } from '../../src/storm/report/html/comparison-page.ts';
import { htmlReport } from '../../src/storm/report/html/report.ts';
import { htmlSeries } from '../../src/storm/report/html/series-page.ts';
import { junitReport } from '../../src/storm/report/junit.ts';
import type { StormResult } from '../../src/storm/result-schema.ts';
import { madeUpComparison } from '../support/comparisons.ts';
import { failedResult, madeUpResult } from '../support/storm-results.ts';
import { describeInBrowser } from './chromium.ts';

/** Set to a directory, screenshots are left there for a look. */
const SHOTS = process.env.PULLWARDEN_SCREENSHOTS;

const HOSTILE = `</title></script></style><script>window.taken=1</script><img src=x onerror="taken=1"><!--`;

/** A result in which every text is an attack. */
function hostileResult(): StormResult {
  const result = failedResult();
  const poisoned = (value: unknown): unknown => {
    if (typeof value === 'string') return HOSTILE + value;
    if (Array.isArray(value)) return value.map(poisoned);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, poisoned(one)]));
  };
  const own = poisoned(result) as StormResult;
  // What the program itself writes stays.
  const { perOperation, load, latencyNs } = result;
  const thresholds = own.thresholds.map((one, i) => ({ ...one, unit: result.thresholds[i]!.unit }));
  const stages = own.stages.map((stage) => ({ ...stage, load, perOperation }));
  const events = own.events.map((event, i) => ({ ...event, kind: result.events[i]!.kind }));
  return { ...own, perOperation, load, latencyNs, thresholds, stages, events };
}

function comparisonPage(): string {
  const a = madeUpResult();
  const b = madeUpResult({ slowness: 1.25, seed: 2, intervals: 28 });
  const { metrics } = madeUpComparison(a, b);
  // As wide as a row can become: a long name, and figures with many digits.
  const widest: MetricComparison = {
    ...metrics[0]!,
    metric: 'stage.quietAgainAfterTheSurgeOfTheMorning.recordImagePullFailed.service.p9999',
    a: { values: [938_000, 198e6, 578e6], median: 198e6, min: 938_000, max: 578e6 },
    change: 17.08,
    band: { low: -0.876, high: 17.08 },
  };
  const comparison = madeUpComparison(a, b, { metrics: [...metrics, widest] });
  return htmlComparison(comparison, [a], [b]);
}

function seriesPage(): string {
  const atMs = Array.from({ length: 500 }, (_, i) => i * 60_000);
  const wave = (middle: number): number[] =>
    atMs.map((_, i) => middle * (1 + Math.sin(i / 9) / 20));
  const over = 'Across: time since the beginning.';
  return htmlSeries({
    title: 'pullwarden soak',
    description: 'an agent over eight hours',
    passed: true,
    reasons: ['memory stayed within its limit'],
    facts: [['pulls', '1,200,000']],
    atMs,
    marks: [{ at: 7_200, label: 'restart' }],
    charts: [
      {
        title: 'Memory',
        caption: `${over} Up: memory.`,
        unit: 'bytes',
        label: 'memory',
        lines: [
          { name: 'whole process', values: wave(150e6) },
          { name: 'heap in use', values: wave(60e6) },
        ],
      },
      {
        title: 'Threads',
        caption: `${over} Up: threads.`,
        unit: 'count',
        label: 'threads',
        lines: [{ name: 'threads', values: wave(12) }],
      },
    ],
  });
}

const PAGES: readonly (readonly [name: string, make: () => string])[] = [
  ['report-passed', () => htmlReport(madeUpResult())],
  ['report-failed', () => htmlReport(failedResult())],
  ['report-hostile', () => htmlReport(hostileResult())],
  [
    'report-closed-without-writes',
    () => htmlReport(madeUpResult({ model: 'closed', hasWrites: false })),
  ],
  ['report-one-interval', () => htmlReport(madeUpResult({ intervals: 1 }))],
  [
    'report-interrupted',
    () => htmlReport(madeUpResult({ intervals: 2 }, { interrupted: true, passed: false })),
  ],
  ['comparison', comparisonPage],
  ['series', seriesPage],
];
const WIDE = { width: 1_280, height: 900 };
const NARROW = { width: 375, height: 812 };
/** Looked at in both colour schemes at each width; the others once wide and light, once narrow and dark. */
const IN_EVERY_LOOK = ['report-failed', 'comparison'];
const LOOKS = PAGES.flatMap(([name, make]) => {
  const text = make();
  const looks = [
    { colorScheme: 'light', viewport: WIDE },
    { colorScheme: 'dark', viewport: NARROW },
    { colorScheme: 'light', viewport: NARROW },
    { colorScheme: 'dark', viewport: WIDE },
  ] as const;
  return looks
    .slice(0, IN_EVERY_LOOK.includes(name) ? looks.length : 2)
    .map((look) => ({ name, text, ...look, width: look.viewport.width }));
});

describeInBrowser('pages in a browser', (pages) => {
  it.each(LOOKS)(
    '$name is whole and readable, $colorScheme, $width px wide',
    async ({ name, text, colorScheme, viewport }) => {
      const { page, problems, ask } = await pages.open(text, { colorScheme, viewport });
      if (SHOTS !== undefined) {
        mkdirSync(SHOTS, { recursive: true });
        const path = join(SHOTS, `${name}-${colorScheme}-${viewport.width}.png`);
        await page.screenshot({ path, fullPage: true });
      }
      expect(await ask('undrawn')).toEqual([]);
      expect(await ask('nameless')).toEqual([]);
      expect(await ask('faint')).toEqual([]);
      // Tables too.
      await page.evaluate(
        "for (const one of document.querySelectorAll('details')) one.open = true",
      );
      expect(await ask('unreadable')).toEqual([]);
      const wide = await page.evaluate('document.documentElement.scrollWidth');
      expect(wide).toBeLessThanOrEqual(viewport.width);
      expect(await page.evaluate('window.taken')).toBeUndefined();
      expect(problems).toEqual([]);
      await page.context().close();
    },
  );

  it.each([WIDE, NARROW])(
    'keep the metrics of a comparison in sight, $width px wide',
    async (viewport) => {
      const { page, ask } = await pages.open(comparisonPage(), { viewport });
      const { own, whole, headings } = await ask<Record<'own' | 'whole' | 'headings', number>>(
        'scrolled',
        '#metrics .scroll',
      );
      // On a desktop nothing is to be scrolled; on a telephone names stay where they are, with room beside.
      if (viewport === WIDE) expect(whole).toBe(own);
      else expect(whole).toBeGreaterThan(own);
      expect(headings).toBeGreaterThan(own / 10);
      expect(headings).toBeLessThan(own / 2);
      await page.context().close();
    },
  );

  it('show texts of others as they are', async () => {
    const { page } = await pages.open(htmlReport(hostileResult()));
    const title = `pullwarden storm ${HOSTILE}mixed`;
    expect(await page.title()).toBe(title);
    expect(await page.textContent('h1')).toBe(title);
    await page.context().close();
  });

  it('run no script and ask for nothing that got into them', async () => {
    const planted = htmlReport(madeUpResult()).replace(
      '<main',
      () => `${HOSTILE}--><img src="http://127.0.0.1:9/x"><p style="color:red">x</p><main`,
    );
    const { page, problems } = await pages.open(planted);
    expect(await page.evaluate('window.taken')).toBeUndefined();
    const text = problems.join('\n');
    expect(text).toMatch(/inline script/);
    expect(text).toMatch(/inline event handler/);
    expect(text).toMatch(/inline style/);
    expect(text).toMatch(/Loading the image 'http:/);
    await page.context().close();
  });

  it('can be used with the keyboard alone', async () => {
    const { page, ask } = await pages.open(htmlReport(failedResult()));
    const count = await ask<number>('focusable');
    const names: string[] = [];
    for (let i = 0; i < count; i++) {
      await page.keyboard.press('Tab');
      const focused = await ask<{ name: string; isSeen: boolean; isOnScreen: boolean }>('focused');
      expect(focused).toMatchObject({ isSeen: true, isOnScreen: true });
      names.push(focused.name);
    }
    expect(names[0]).toBe('a Skip to the result');
    expect(names.filter((name) => name === 'div decide-latency-title')).toHaveLength(1);
    // After the last one there is nothing in the page.
    await page.keyboard.press('Tab');
    expect((await ask<{ name: string } | undefined>('focused'))?.name).not.toBe(names.at(-1));
    await page.context().close();
  });

  it.each([
    ['report', () => htmlReport(madeUpResult({ intervals: 12 }))],
    ['comparison', comparisonPage],
    ['series', seriesPage],
  ])('read out by the keys what the table says: %s', async (_name, make) => {
    const { page, ask } = await pages.open(make());
    const charts =
      await ask<{ id: string; kind: string; names: string[]; places: number; table: string[][] }[]>(
        'charts',
      );
    expect(charts.length).toBeGreaterThan(1);
    for (const { id, kind, names, places, table } of charts) {
      if (kind !== 'seconds') continue;
      const [head = [], ...rows] = table;
      // Every value that is drawn is in the table as well.
      expect(rows).toHaveLength(places);
      const plot = page.locator(`.plot[data-chart="${id}"]`);
      await plot.focus();
      await page.keyboard.press('Home');
      for (const row of rows.slice(0, 20)) {
        const said = await plot.getAttribute('aria-valuetext');
        const values = names
          .map((name) => `${name} ${row[head.indexOf(name)]}`)
          .filter((text) => !text.endsWith('–'));
        expect(said?.replace(/^at [^:]*: /, '')).toBe(values.join(', ') || 'no values');
        await page.keyboard.press('ArrowRight');
      }
      expect(await plot.getAttribute('aria-valuemax')).toBe(String(places - 1));
      await page.keyboard.press('End');
      expect(await plot.getAttribute('aria-valuenow')).toBe(String(places - 1));
    }
    await page.context().close();
  });

  it('draw thresholds, events and stages into their charts', async () => {
    const colours = ['good', 'bad', 'ink'] as const;
    const shaded: number[] = [];
    const counts = async (text: string): Promise<Record<string, number>[]> => {
      const { page, ask } = await pages.open(text);
      const of = (chart: string): Promise<number[]> =>
        Promise.all(colours.map((name) => ask<number>('pixels', chart, name)));
      const [decide, write] = [await of('decide-latency'), await of('write-latency')];
      shaded.push(await ask<number>('shaded', 'decide-latency'));
      await page.context().close();
      return [decide, write].map((found) =>
        Object.fromEntries(colours.map((name, i) => [name, found[i]!])),
      );
    };
    const some = expect.toSatisfy((count: number) => count > 50);
    // A threshold that was kept on decisions, one that was crossed on writes.
    expect(await counts(htmlReport(failedResult()))).toEqual([
      { good: some, bad: 0, ink: some },
      { good: 0, bad: some, ink: some },
    ]);
    const bare = failedResult({}, { thresholds: [], events: [], stages: [] });
    const none = { good: 0, bad: 0, ink: 0 };
    expect(await counts(htmlReport(bare))).toEqual([none, none]);
    expect(shaded[0]).toBeGreaterThan(10 * shaded[1]! + 10_000);
  });

  it('zoom and hide lines', async () => {
    const { page, ask } = await pages.open(htmlReport(madeUpResult()));
    const plot = page.locator('.plot[data-chart="decide-latency"]');
    const pixels = (): Promise<number> => ask('pixels', 'decide-latency', 'tone-1');
    const before = await pixels();
    expect(before).toBeGreaterThan(100);
    const button = page.locator('button[data-chart="decide-latency"]').first();
    await button.click();
    expect(await button.getAttribute('aria-pressed')).toBe('false');
    expect(await pixels()).toBe(0);
    await button.press('Enter');
    expect(await pixels()).toBe(before);
    // Half of the time is twice as wide: fewer points, and another drawing.
    await plot.focus();
    await page.keyboard.press('+');
    const zoomed = await pixels();
    expect(zoomed).not.toBe(before);
    await page.keyboard.press('0');
    expect(await pixels()).toBe(before);
    await page.context().close();
  });

  it('follow the colours of the system, and are light on paper', async () => {
    const { page, problems, ask } = await pages.open(htmlReport(madeUpResult()), {
      colorScheme: 'light',
    });
    const light = await ask<number>('pixels', 'memory', 'tone-6');
    expect(light).toBeGreaterThan(100);
    await page.emulateMedia({ colorScheme: 'dark' });
    await expect.poll(() => ask('pixels', 'memory', 'tone-6')).toBeGreaterThan(100);
    await page.evaluate(`addEventListener('beforeprint', () => queueMicrotask(() => {
      window.printed = [inPage.pixels('memory', 'tone-6'), getComputedStyle(document.documentElement).backgroundColor];
    }))`);
    await page.pdf();
    expect(await page.evaluate('window.printed')).toEqual([
      expect.toSatisfy((count: number) => count > 100),
      'rgb(255, 255, 255)',
    ]);
    expect(await page.evaluate('document.documentElement.className')).toBe('scripted');
    expect(problems).toEqual([]);
    await page.context().close();
  });

  it('answer to a finger', async () => {
    const { page } = await pages.open(htmlReport(madeUpResult()), {
      viewport: { width: 375, height: 812 },
      hasTouch: true,
      isMobile: true,
    });
    const plot = page.locator('.plot[data-chart="decide-latency"]');
    await plot.tap();
    expect(await plot.getAttribute('aria-valuetext')).toMatch(/^at \d.*: p50 /);
    await page.context().close();
  });

  it('hold every figure without a script', async () => {
    const { page, problems } = await pages.open(htmlReport(madeUpResult()), {
      javaScriptEnabled: false,
    });
    expect(await page.isVisible('noscript .notice')).toBe(true);
    expect(await page.locator('.plot:visible').count()).toBe(0);
    await page.locator('summary').first().click();
    expect(await page.locator('figure table:visible tr').count()).toBe(31);
    expect(problems).toEqual([]);
    await page.context().close();
  });

  it('hold an hour, second by second', async () => {
    const { page, problems, ask } = await pages.open(
      htmlReport(madeUpResult({ intervals: 3_600 })),
    );
    expect(await ask('undrawn')).toEqual([]);
    const charts = await ask<{ kind: string; table: unknown[] }[]>('charts');
    for (const { kind, table } of charts) if (kind === 'seconds') expect(table).toHaveLength(3_601);
    expect(problems).toEqual([]);
    await page.context().close();
  });

  it('read the JUnit report as XML', async () => {
    const { page } = await pages.open('<!doctype html>');
    const counts = await page.evaluate(`(() => {
      const text = ${JSON.stringify(junitReport(hostileResult()))};
      const xml = new DOMParser().parseFromString(text, 'application/xml');
      return ['parsererror', 'testsuite', 'testcase'].map((name) => xml.querySelectorAll(name).length);
    })()`);
    expect(counts).toEqual([0, 1, 7]);
    await page.context().close();
  });
});
