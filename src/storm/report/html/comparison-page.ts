/** The comparison of two builds as one page, with both laid over each other. */
import { formatCount, plural } from '../../../terminal/format.ts';
import type {
  ComparedSide,
  Comparison,
  MetricComparison,
  Sample,
  Verdict,
} from '../../compare/comparison.ts';
import type { Load, StormResult } from '../../result-schema.ts';
import { formatMetric } from '../verdict.ts';
import { html, type Markup } from './markup.ts';
import { pageText, type Section } from './page.ts';
import { overlaidPercentiles } from './percentile-figures.ts';
import { box, definitions, machineRows, metricName } from './sections.ts';
import { overlaidFigure, type Side } from './time-figures.ts';
import {
  BATCH_SIZE,
  DECIDE_LATENCY,
  LAG,
  MEMORY,
  PROCESSORS,
  REQUESTS,
  THROUGHPUT,
  type TimePlan,
  WRITE_LATENCY,
} from './time-plans.ts';

const WORDS: Readonly<Record<Verdict, readonly [mark: string, word: string, style: string]>> = {
  regression: ['✕', 'worse', 'bad'],
  improvement: ['✓', 'better', 'good'],
  unchanged: ['=', 'unchanged', ''],
  noise: ['~', 'within noise', ''],
  untold: ['?', 'cannot be told', ''],
};

/**
 * The comparison as one HTML file with everything in it, which asks nothing of a network.
 *
 * @param a - the results of the first side, at least one. Of several, the one with the median p99 of
 *   its decisions is drawn.
 * @throws `INVALID_ARGUMENT` for a histogram that is none.
 */
export function htmlComparison(
  comparison: Comparison,
  a: readonly StormResult[],
  b: readonly StormResult[],
): string {
  const sides: Side[] = [
    { name: 'A', tone: 1, result: medianResult(a) },
    { name: 'B', tone: 2, result: medianResult(b) },
  ];
  const sections: Section[] = [
    { id: 'verdict', title: 'Verdict', body: verdict(comparison) },
    { id: 'metrics', title: 'Metrics', body: metricsBody(comparison) },
    {
      id: 'latency',
      title: 'Latency',
      body: html`<p>${drawnText(a, b)}</p>`,
      figures: [
        overlaidPercentiles('decide', 'Percentiles of decisions', sides),
        overlaidPercentiles('recordImagePulled', 'Percentiles of recorded pulls', sides),
        overlaidFigure(sides, DECIDE_LATENCY),
        overlaidFigure(sides, WRITE_LATENCY),
      ],
    },
    {
      id: 'load',
      title: 'Throughput',
      figures: loadPlans(a[0]!.load).map((plan) => overlaidFigure(sides, plan)),
    },
    {
      id: 'machine-load',
      title: 'Batches, processors and memory',
      figures: [BATCH_SIZE, PROCESSORS, MEMORY].map((plan) => overlaidFigure(sides, plan)),
    },
    {
      id: 'sides',
      title: 'What was compared',
      body: html`${[side('A', comparison.a), side('B', comparison.b)]}`,
    },
  ];
  return pageText({
    title: `pullwarden compare ${comparison.scenario}`,
    lead: html`<p class="lead">A: ${comparison.a.label}</p><p class="lead">B: ${comparison.b.label}</p>`,
    sections,
  });
}

/** Requests that arrive, and how late they begin, are there in an open load only. */
function loadPlans({ model }: Load): readonly TimePlan[] {
  return model === 'open' ? [REQUESTS, LAG, THROUGHPUT] : [THROUGHPUT];
}

/** By the p99 of decisions; of an even number, the lower one of the middle. */
function medianResult(results: readonly StormResult[]): StormResult {
  const p99 = ({ perOperation }: StormResult): number => perOperation.decide.responseNs.p99;
  const sorted = [...results].sort((one, other) => p99(one) - p99(other));
  return sorted[(sorted.length - 1) >> 1]!;
}

function drawnText(a: readonly StormResult[], b: readonly StormResult[]): string {
  const sentence = 'Colours tell the sides apart, and strokes the quantities.';
  if (a.length === 1 && b.length === 1) return sentence;
  return `${sentence} Of several results of a side, the one with the median p99 of its decisions is drawn.`;
}

function verdict({ passed, regressions, maxRegression }: Comparison): Markup {
  const limit = formatPercent(maxRegression);
  if (passed) return box('PASSED', '✓', [`no gating metric got worse by more than ${limit}`]);
  if (regressions.length === 0) return box('FAILED', '✕', ['see the notes']);
  return box('FAILED', '✕', [`worse by more than ${limit}: ${regressions.join(', ')}`]);
}

function metricsBody(comparison: Comparison): Markup {
  const { metrics, warnings, maxRegression, confidence } = comparison;
  const reach = reachOf(comparison);
  return html`${warnings.map((warning) => html`<p class="notice">${warning}</p>`)}
<p>Medians of the runs with their least and greatest value, and the change from A to B with the band in which it lies with a confidence of ${formatPercent(confidence)}. A change for the worse of up to ${formatPercent(maxRegression)} is accepted. Metrics marked with * can fail the comparison.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Metrics"><table>
<thead><tr><th scope="col">metric<th scope="col">outcome<th scope="col">A<th scope="col">B<th scope="col">change, band<th scope="col">from −${formatPercent(reach)} to +${formatPercent(reach)}</thead>
<tbody>
${metrics.map((metric) => metricRow(metric, maxRegression, reach))}</tbody>
</table></div>`;
}

function metricRow(metric: MetricComparison, maxRegression: number, reach: number): Markup {
  const { unit, isGating, better, a, b, change, band } = metric;
  const [mark, word, style] = WORDS[metric.verdict];
  const bandText = band && `${formatChange(band.low)} to ${formatChange(band.high)}`;
  return html`<tr><th scope="row">${metricName(metric.metric)}${isGating ? ' *' : ''}<br><small>${better} is better</small><td><span class="${style}"><span aria-hidden="true">${mark}</span> ${word}</span><td>${sampleCell(a, unit)}<td>${sampleCell(b, unit)}<td>${withDetail(formatChange(change), bandText)}<td>${bandDrawing(metric, maxRegression, reach)}
`;
}

function sampleCell({ median, min, max, values }: Sample, unit: MetricComparison['unit']): Markup {
  const range = `${formatMetric(min, unit)} to ${formatMetric(max, unit)}`;
  return withDetail(formatMetric(median, unit), values.length < 2 ? undefined : range);
}

/** A figure, and beneath it what belongs to it. */
function withDetail(text: string, detail: string | undefined): Markup {
  return html`${text}${detail && html`<br><small>${detail}</small>`}`;
}

/** How far to both sides changes are drawn. */
function reachOf({ metrics, maxRegression }: Comparison): number {
  const ends = metrics.flatMap(({ change = 0, band }) => [change, band?.low ?? 0, band?.high ?? 0]);
  const most = Math.max(maxRegression * 1.5, ...ends.map(Math.abs));
  return Math.min(1, Math.ceil(most * 20) / 20);
}

/** The band as a line, the change as a point, no change in the middle, what is accepted shaded. */
function bandDrawing(
  { change, band, better, verdict: outcome }: MetricComparison,
  maxRegression: number,
  reach: number,
): Markup | undefined {
  if (change === undefined) return undefined;
  const place = (value: number): number =>
    Math.round((Math.min(1, Math.max(-1, value / reach)) + 1) * 1_000) / 10;
  const limit = better === 'lower' ? maxRegression : -maxRegression;
  const shade = [place(0), place(limit)].sort((one, other) => one - other) as [number, number];
  const line =
    band &&
    html`<line class="band" x1="${place(band.low)}" x2="${place(band.high)}" y1="10" y2="10"/>`;
  return html`<svg class="change ${outcome}" viewBox="0 0 200 20" aria-hidden="true"><rect class="accepted" x="${shade[0]}" width="${shade[1] - shade[0]}" height="20"/><line class="zero" x1="100" x2="100" y1="0" y2="20"/>${line}<circle cx="${place(change)}" cy="10" r="4"/></svg>`;
}

function side(letter: string, { label, machine, startedAt, runCount }: ComparedSide): Markup {
  const rows: [string, string][] = [
    ['results', label],
    ['runs', plural(runCount, 'run')],
    ['started', startedAt],
    ...machineRows(machine),
  ];
  return html`<h3>${letter}</h3>${definitions(rows)}`;
}

/** A relative change with its sign, for example `+12.3 %`. */
function formatChange(change: number | undefined): string {
  if (change === undefined) return '–';
  const size = Math.abs(change * 100);
  const sign = change < 0 ? '−' : '+';
  return `${size === 0 ? '' : sign}${size < 99.95 ? size.toFixed(1) : formatCount(size)} %`;
}

function formatPercent(share: number): string {
  return `${Math.round(share * 1_000) / 10} %`;
}
