/** What happened over the time of a storm, as figures. */
import { formatBytes, formatCount, formatMs, formatNs } from '../../../terminal/format.ts';
import type { IntervalResult, StormResult } from '../../result-schema.ts';
import { formatDecimal } from '../verdict.ts';
import type { Chart, ChartLine, ChartMark, ChartSpan, ChartUnit } from './chart.ts';
import type { Figure, Table } from './figure.ts';
import { limitsOn } from './limits.ts';
import { scaleFor, secondsAxis } from './scales.ts';

const NONE = '–';

/** A column of a table over time, and how a line of a chart gets its values. */
type Column = readonly [title: string, cell: (interval: IntervalResult) => string];
type Look = Pick<ChartLine, 'name' | 'tone' | 'stroke'>;
type Source = readonly [look: Look, value: (interval: IntervalResult) => number | undefined];

interface Plan {
  readonly id: string;
  readonly title: string;
  readonly caption: string;
  readonly label: string;
  readonly unit: ChartUnit;
  readonly isLogarithmic?: boolean;
  readonly sources: readonly Source[];
  readonly columns: readonly Column[];
  /** Names of the metrics whose thresholds are drawn. */
  readonly limits?: RegExp;
}

const LATENCY_CAPTION =
  'Across: time since the storm began. Up: response time, on a logarithmic axis: each line up is ten ' +
  'times as long. An interval without any leaves a gap.';

const latencyPlan = (of: 'decideNs' | 'writeNs', title: string, limits: RegExp): Plan => ({
  id: of === 'decideNs' ? 'decide-latency' : 'write-latency',
  title,
  caption: LATENCY_CAPTION,
  label: 'response time',
  unit: 'ns',
  isLogarithmic: true,
  // The median of a latency is 0 only where there was none.
  sources: [
    [{ name: 'p50', tone: 1, stroke: 'solid' }, (interval) => interval[of].p50 || undefined],
    [{ name: 'p99', tone: 2, stroke: 'dashed' }, (interval) => interval[of].p99 || undefined],
    [{ name: 'max', tone: 3, stroke: 'dotted' }, (interval) => interval[of].max || undefined],
  ],
  columns: [
    ['p50', (interval) => latency(interval[of].p50)],
    ['p99', (interval) => latency(interval[of].p99)],
    ['max', (interval) => latency(interval[of].max)],
    ['stage', ({ stage }) => stage],
  ],
  limits,
});

const LATENCIES: readonly Plan[] = [
  latencyPlan('decideNs', 'Latency of decisions over time', /^decide\.(p\d+|max)$/),
  latencyPlan(
    'writeNs',
    'Latency of writes over time',
    /^(write|recordPullIntent|recordImagePulled|recordImagePullFailed|pruneUnknownRecords)\.(p\d+|max)$/,
  ),
];

const THROUGHPUT: Plan = {
  id: 'throughput',
  title: 'Throughput over time',
  caption:
    'Across: time since the storm began. Up: operations a second. In an open load, the requests a ' +
    'second that were to begin are drawn too; a request is one decision, a batch of them, or a pull of ' +
    'several operations.',
  label: 'a second',
  unit: 'perSecond',
  sources: [
    [
      { name: 'operations reached', tone: 1, stroke: 'solid' },
      ({ operationsPerSecond }) => operationsPerSecond,
    ],
    [
      { name: 'requests wanted', tone: 2, stroke: 'dashed' },
      ({ wantedPerSecond }) => wantedPerSecond ?? undefined,
    ],
  ],
  columns: [
    ['operations a second', ({ operationsPerSecond }) => formatCount(operationsPerSecond)],
    [
      'requests wanted',
      ({ wantedPerSecond }) => (wantedPerSecond == null ? NONE : formatCount(wantedPerSecond)),
    ],
    ['failed', ({ errors }) => formatCount(errors)],
    ['wrong decisions', ({ wrongDecisions }) => formatCount(wrongDecisions)],
    ['stage', ({ stage }) => stage],
  ],
  limits: /^operationsPerSecond$/,
};

const LAG: Plan = {
  id: 'lag',
  title: 'Lag over time',
  caption:
    'Across: time since the storm began. Up: by how much 99 in 100 requests began late at most, on a ' +
    'logarithmic axis. A lag that grows says that the rate is more than this machine can do.',
  label: 'lag, p99',
  unit: 'ns',
  isLogarithmic: true,
  sources: [
    [{ name: 'lag p99', tone: 4, stroke: 'solid' }, ({ lagP99Ns }) => lagP99Ns || undefined],
  ],
  columns: [['lag p99', ({ lagP99Ns }) => latency(lagP99Ns)]],
  limits: /^lag\.(p\d+|max)$/,
};

const COMMITS: readonly Plan[] = [
  {
    id: 'batch-size',
    title: 'Batch size over time',
    caption:
      'Across: time since the storm began. Up: writes in one commit, on average. Writes that arrive ' +
      'while a commit is flushed are the next one, so batches grow under load.',
    label: 'writes a commit',
    unit: 'count',
    sources: [
      [
        { name: 'writes a commit', tone: 5, stroke: 'solid' },
        ({ commits, writesPerCommit }) => (commits > 0 ? writesPerCommit : undefined),
      ],
    ],
    columns: [
      [
        'writes a commit',
        ({ commits, writesPerCommit }) => (commits > 0 ? formatDecimal(writesPerCommit) : NONE),
      ],
      ['commits', ({ commits }) => formatCount(commits)],
      ['written', ({ writtenBytes }) => formatBytes(writtenBytes)],
    ],
  },
  {
    id: 'commits',
    title: 'Commits over time',
    caption: 'Across: time since the storm began. Up: commits a second, each with one flush.',
    label: 'commits a second',
    unit: 'perSecond',
    sources: [[{ name: 'commits a second', tone: 5, stroke: 'solid' }, commitsPerSecond]],
    columns: [
      ['commits a second', (interval) => formatCount(commitsPerSecond(interval))],
      ['commits', ({ commits }) => formatCount(commits)],
    ],
  },
];

const MACHINE: readonly Plan[] = [
  {
    id: 'processors',
    title: 'Processors over time',
    caption:
      'Across: time since the storm began. Up: processors kept busy; 1 is one of them all the time. The ' +
      'main thread makes the load and decides, workers write.',
    label: 'processors',
    unit: 'processors',
    sources: [
      [{ name: 'all threads', tone: 6, stroke: 'solid' }, ({ cpuAll }) => cpuAll],
      [{ name: 'main thread', tone: 1, stroke: 'dashed' }, ({ cpuMain }) => cpuMain ?? undefined],
    ],
    columns: [
      ['all threads', ({ cpuAll }) => cpuAll.toFixed(2)],
      ['main thread', ({ cpuMain }) => (cpuMain == null ? NONE : cpuMain.toFixed(2))],
    ],
  },
  {
    id: 'event-loop',
    title: 'Event-loop delay over time',
    caption:
      'Across: time since the storm began. Up: by how much 99 in 100 timers of the main thread were ' +
      'late at most, on a logarithmic axis.',
    label: 'delay, p99',
    unit: 'ns',
    isLogarithmic: true,
    sources: [
      [
        { name: 'event-loop delay p99', tone: 4, stroke: 'solid' },
        ({ eventLoopDelayP99Ns }) => eventLoopDelayP99Ns || undefined,
      ],
    ],
    columns: [['event-loop delay p99', ({ eventLoopDelayP99Ns }) => latency(eventLoopDelayP99Ns)]],
    limits: /^eventLoopDelay\.(p\d+|max)$/,
  },
  {
    id: 'memory',
    title: 'Memory over time',
    caption:
      'Across: time since the storm began. Up: memory of the process, and what objects of its main ' +
      'thread take of it.',
    label: 'memory',
    unit: 'bytes',
    sources: [
      [{ name: 'whole process', tone: 6, stroke: 'solid' }, ({ rssBytes }) => rssBytes],
      [{ name: 'heap in use', tone: 1, stroke: 'dashed' }, ({ heapUsedBytes }) => heapUsedBytes],
    ],
    columns: [
      ['whole process', ({ rssBytes }) => formatBytes(rssBytes)],
      ['heap in use', ({ heapUsedBytes }) => formatBytes(heapUsedBytes)],
    ],
    limits: /^rssMax/,
  },
];

/** Latencies of decisions and of writes. */
export function latencyFigures(result: StormResult): Figure[] {
  return LATENCIES.map((plan) => timeFigure(result, plan));
}

/** Throughput and, in an open load, lag. */
export function throughputFigures(result: StormResult): Figure[] {
  const plans = result.load.model === 'open' ? [THROUGHPUT, LAG] : [THROUGHPUT];
  return plans.map((plan) => timeFigure(result, plan));
}

/** Batch sizes and commits. */
export function commitFigures(result: StormResult): Figure[] {
  return COMMITS.map((plan) => timeFigure(result, plan));
}

/** Processors, event loop and memory. */
export function machineFigures(result: StormResult): Figure[] {
  return MACHINE.map((plan) => timeFigure(result, plan));
}

function timeFigure(result: StormResult, plan: Plan): Figure {
  const { intervals, thresholds, durationMs } = result;
  const lines = plan.sources
    .map(([look, value]) => ({ ...look, values: intervals.map((one) => value(one) ?? null) }))
    .filter(({ values }) => values.some((value) => value !== null));
  const limits = plan.limits === undefined ? [] : limitsOn(thresholds, plan.limits);
  const { id, title, caption, label, unit, isLogarithmic = false } = plan;
  const chart: Chart = {
    id,
    title,
    caption,
    x: secondsAxis('time', intervals.map(middle), durationMs / 1_000),
    y: scaleFor(label, unit, isLogarithmic, lines, limits),
    lines,
    limits,
    marks: eventMarks(result),
    spans: stageSpans(result),
  };
  return { chart, table: timeTable(intervals, plan.columns) };
}

function timeTable(intervals: readonly IntervalResult[], columns: readonly Column[]): Table {
  return {
    columns: ['from', ...columns.map(([title]) => title)],
    rows: intervals.map((one) => [formatMs(one.atMs), ...columns.map(([, cell]) => cell(one))]),
  };
}

/** Where the value of an interval stands: events in it are on both sides of it. */
function middle({ atMs, durationMs }: IntervalResult): number {
  return (atMs + durationMs / 2) / 1_000;
}

function eventMarks({ events }: StormResult): ChartMark[] {
  const names = { restart: 'restart', prune: 'prune', killWorker: 'worker killed' };
  return events.map(({ atMs, kind }) => ({ at: atMs / 1_000, label: names[kind] ?? kind }));
}

function stageSpans({ stages }: StormResult): ChartSpan[] {
  if (stages.length < 2) return [];
  return stages.map(({ name, startMs, durationMs }) => ({
    from: startMs / 1_000,
    to: (startMs + durationMs) / 1_000,
    label: name,
  }));
}

function commitsPerSecond({ commits, durationMs }: IntervalResult): number {
  return durationMs > 0 ? (commits / durationMs) * 1_000 : 0;
}

function latency(ns: number): string {
  return ns > 0 ? formatNs(ns) : NONE;
}
