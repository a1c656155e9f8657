/** Any quantities over time as one page, for example those of a process that runs for days. */
import { formatMs } from '../../../terminal/format.ts';
import type { Chart, ChartLine, ChartMark, ChartUnit, Tone } from './chart.ts';
import { chartText } from './chart-text.ts';
import type { Figure } from './figure.ts';
import { html } from './markup.ts';
import { pageText } from './page.ts';
import { scaleFor, secondsAxis } from './scales.ts';
import { box, definitions } from './sections.ts';

/** Quantities of one unit, which share a chart. At most six lines. */
export interface SeriesChart {
  readonly title: string;
  readonly caption: string;
  readonly unit: ChartUnit;
  /** Of the vertical axis. */
  readonly label: string;
  /** Values are above 0 then; others are left out. @default false */
  readonly isLogarithmic?: boolean;
  readonly lines: readonly {
    readonly name: string;
    /** One for each time; null where there is none. */
    readonly values: readonly (number | null)[];
  }[];
}

/** What a page over time is made from. */
export interface SeriesPage {
  readonly title: string;
  /** One sentence beneath the title. */
  readonly description: string;
  readonly passed: boolean;
  /** Why, for people. */
  readonly reasons: readonly string[];
  /** Names and values that are told before the charts. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Times of the values, in milliseconds from the beginning, ascending. */
  readonly atMs: readonly number[];
  readonly charts: readonly SeriesChart[];
  /** What happened, at seconds from the beginning. */
  readonly marks?: readonly ChartMark[];
}

const TONES: readonly Tone[] = [1, 2, 3, 4, 5, 6];
const STROKES = ['solid', 'dashed', 'dotted'] as const;

/** Quantities over time as one HTML file with everything in it, which asks nothing of a network. */
export function htmlSeries(page: SeriesPage): string {
  const { title, description, passed, reasons, facts } = page;
  return pageText({
    title,
    lead: html`<p class="lead">${description}</p>`,
    sections: [
      {
        id: 'verdict',
        title: 'Verdict',
        body: html`${box(passed ? 'PASSED' : 'FAILED', passed ? '✓' : '✕', reasons)}${definitions(facts)}`,
      },
      {
        id: 'series',
        title: 'Over time',
        figures: page.charts.map((one, i) => seriesFigure(page, one, i)),
      },
    ],
  });
}

function seriesFigure({ atMs, marks = [] }: SeriesPage, of: SeriesChart, index: number): Figure {
  const { title, caption, unit, label, isLogarithmic = false } = of;
  const lines = of.lines.map(({ name, values }, i): ChartLine => {
    const usable = isLogarithmic ? values.map((value) => (value ? value : null)) : values;
    return {
      name,
      tone: TONES[i % TONES.length]!,
      stroke: STROKES[i % STROKES.length]!,
      values: usable,
    };
  });
  const chart: Chart = {
    id: `series-${index + 1}`,
    title,
    caption,
    x: secondsAxis(
      'time',
      atMs.map((ms) => ms / 1_000),
      (atMs.at(-1) ?? 0) / 1_000,
    ),
    y: scaleFor(label, unit, isLogarithmic, lines),
    lines,
    limits: [],
    marks,
    spans: [],
  };
  const rows = atMs.map((ms, i) => [
    formatMs(ms),
    ...lines.map(({ values }) => chartText(values[i], unit)),
  ]);
  return { chart, table: { columns: ['at', ...lines.map(({ name }) => name)], rows } };
}
