/** A soak as a page with charts. */
import type { ChartUnit } from '../../src/storm/report/html/chart.ts';
import { htmlSeries, type SeriesChart } from '../../src/storm/report/html/series-page.ts';
import { formatCount } from '../../src/terminal/format.ts';
import { type Series, WARM_UP_SHARE } from './flatness.ts';
import type { SoakReport } from './soak.ts';

const AXES: Readonly<Record<Series['unit'], readonly [unit: ChartUnit, label: string]>> = {
  bytes: ['bytes', 'size'],
  count: ['count', 'number'],
  ns: ['ns', 'time'],
  perSecond: ['perSecond', 'each second'],
};

/** Which series share a chart, under which title. */
const CHARTS: readonly (readonly [title: string, names: readonly string[]])[] = [
  ['Memory', ['heap used', 'memory (RSS)', 'outside the heap']],
  ['File descriptors and threads', ['file descriptors', 'threads']],
  ['Size of the store', ['bytes of the store']],
  ['Records and intents', ['records', 'intents']],
  ['Throughput', ['operations/s']],
  ['Slowest of a hundred decisions', ['decide p99']],
];

/** The page as text; `problems` are what it failed for. */
export function soakPage(report: SoakReport, title: string, problems: readonly string[]): string {
  const { atSeconds, series } = report;
  const warm = atSeconds[Math.floor(atSeconds.length * WARM_UP_SHARE)] ?? 0;
  return htmlSeries({
    title,
    description: 'Mixed load on one engine while images and tenants come and go for ever.',
    passed: problems.length === 0,
    reasons: problems.length === 0 ? ['nothing grows after the warm-up'] : problems,
    facts: [
      ['time', `${report.minutes.toFixed(1)} min`],
      ['operations', formatCount(report.operations)],
      ['images seen', formatCount(report.imagesSeen)],
      ['records pruned', formatCount(report.pruned)],
      ['workers killed', formatCount(report.workersKilled)],
      ['threads attached', formatCount(report.threadsAttached)],
      ['reopened', formatCount(report.reopened)],
      ['wrong answers', formatCount(report.wrongCount)],
    ],
    atMs: atSeconds.map((seconds) => seconds * 1_000),
    charts: CHARTS.map(([chart, names]) => chartOf(chart, names, series)),
    marks: [{ at: warm, label: 'warm' }],
  });
}

function chartOf(title: string, names: readonly string[], all: readonly Series[]): SeriesChart {
  const lines = all.filter(({ name }) => names.includes(name));
  const [unit, label] = AXES[lines[0]!.unit];
  const isJudged = lines.some(({ noise }) => noise !== undefined);
  return {
    title,
    caption: isJudged ? 'Must not grow from the mark on.' : 'Shown, and not judged.',
    unit,
    label,
    lines: lines.map(({ name, values }) => ({ name, values })),
  };
}
