/** Figures over time: of one storm, or of two laid over each other. */
import { formatMs } from '../../../terminal/format.ts';
import type { IntervalResult, StormResult } from '../../result-schema.ts';
import type { Chart, ChartLine, ChartMark, ChartSpan, Tone } from './chart.ts';
import { chartText } from './chart-text.ts';
import type { Figure } from './figure.ts';
import { limitsOn } from './limits.ts';
import { scaleFor, secondsAxis } from './scales.ts';
import type { TimePlan } from './time-plans.ts';

/** One of two storms that are compared. */
export interface Side {
  readonly name: string;
  readonly tone: Tone;
  readonly result: StormResult;
}

/** The figure of one storm, with its events, its stages and the thresholds on it. */
export function timeFigure(result: StormResult, plan: TimePlan): Figure {
  const { intervals, thresholds } = result;
  const { sources, extra = [], unit } = plan;
  const limits = plan.limits === undefined ? [] : limitsOn(thresholds, plan.limits);
  const all = sources.map(({ name, tone, stroke, value }) => {
    return { name, tone, stroke, values: intervals.map((one) => value(one) ?? null) };
  });
  const lines = all.filter(isAnything);
  const columns = ['from', ...lines.map(({ name }) => name), ...extra.map(([title]) => title)];
  const rows = intervals.map((interval, i) => [
    formatMs(interval.atMs),
    ...lines.map(({ values }) => chartText(values[i], unit)),
    ...extra.map(([, cell]) => cell(interval)),
  ]);
  const chart: Chart = {
    ...chartOf(plan, intervals.map(middle), result.durationMs, lines),
    y: scaleFor(plan.label, unit, plan.isLogarithmic === true, lines, limits),
    limits,
    marks: eventMarks(result),
    spans: stageSpans(result),
  };
  return { chart, table: { columns, rows } };
}

/**
 * The figure of two storms: a colour for each side, a stroke for each quantity. Their events are left
 * out, since they come at times of their own.
 */
export function overlaidFigure(sides: readonly Side[], plan: TimePlan): Figure {
  const times = new Set(sides.flatMap(({ result }) => result.intervals.map(({ atMs }) => atMs)));
  const starts = [...times].sort((a, b) => a - b);
  const lines = plan.sources.flatMap(({ name, stroke, value }) =>
    sides.map((side): ChartLine => {
      const values = new Map(side.result.intervals.map((one) => [one.atMs, value(one)]));
      return {
        name: `${name}, ${side.name}`,
        tone: side.tone,
        stroke,
        isJoined: true,
        values: starts.map((atMs) => values.get(atMs) ?? null),
      };
    }),
  );
  const shown = lines.filter(isAnything);
  const durationMs = Math.max(...sides.map(({ result }) => result.durationMs));
  const chart: Chart = {
    ...chartOf(
      plan,
      starts.map((atMs) => atMs / 1_000),
      durationMs,
      shown,
    ),
    spans: stageSpans(sides[0]!.result),
  };
  const rows = starts.map((atMs, i) => [
    formatMs(atMs),
    ...shown.map(({ values }) => chartText(values[i], plan.unit)),
  ]);
  return { chart, table: { columns: ['from', ...shown.map(({ name }) => name)], rows } };
}

function chartOf(
  { id, title, caption, label, unit, isLogarithmic = false }: TimePlan,
  seconds: readonly number[],
  durationMs: number,
  lines: readonly ChartLine[],
): Chart {
  return {
    id,
    title,
    caption,
    x: secondsAxis('time', seconds, durationMs / 1_000),
    y: scaleFor(label, unit, isLogarithmic, lines),
    lines,
    limits: [],
    marks: [],
    spans: [],
  };
}

function isAnything({ values }: ChartLine): boolean {
  return values.some((value) => value !== null);
}

/** Where the value of an interval stands: events in it are on both sides of it. */
function middle({ atMs, durationMs }: IntervalResult): number {
  return (atMs + durationMs / 2) / 1_000;
}

function eventMarks({ events }: StormResult): ChartMark[] {
  const names = { restart: 'restart', prune: 'prune', killWorker: 'worker killed' };
  return events.map(({ atMs, kind }) => ({ at: atMs / 1_000, label: names[kind] }));
}

function stageSpans({ stages }: StormResult): ChartSpan[] {
  if (stages.length < 2) return [];
  return stages.map(({ name, startMs, durationMs }) => ({
    from: startMs / 1_000,
    to: (startMs + durationMs) / 1_000,
    label: name,
  }));
}
