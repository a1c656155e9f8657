/** What is drawn of a storm over time. */
import { formatBytes, formatCount } from '../../../terminal/format.ts';
import type { IntervalResult } from '../../result-schema.ts';
import type { ChartLine, ChartUnit } from './chart.ts';

/** A line, and where its values come from. */
export interface Source extends Pick<ChartLine, 'name' | 'tone' | 'stroke'> {
  /** Undefined where the interval has none. */
  readonly value: (interval: IntervalResult) => number | undefined;
}

/** A column that is in the table only. */
type Column = readonly [title: string, cell: (interval: IntervalResult) => string];

/** A figure to be. */
export interface TimePlan {
  readonly id: string;
  readonly title: string;
  readonly caption: string;
  /** Of the vertical axis. */
  readonly label: string;
  readonly unit: ChartUnit;
  /** @default false */
  readonly isLogarithmic?: boolean;
  readonly sources: readonly Source[];
  readonly extra?: readonly Column[];
  /** Names of the metrics whose thresholds are drawn. */
  readonly limits?: RegExp;
}

const SINCE = 'Across: time since the storm began.';
const STAGE: Column = ['stage', ({ stage }) => stage];

export const DECIDE_LATENCY: TimePlan = latency(
  'decideNs',
  'decide-latency',
  'Latency of decisions over time',
  /^decide\.(p\d+|max)$/,
);

export const WRITE_LATENCY: TimePlan = latency(
  'writeNs',
  'write-latency',
  'Latency of writes over time',
  /^(write|recordPullIntent|recordImagePulled|recordImagePullFailed|pruneUnknownRecords)\.(p\d+|max)$/,
);

/** Of an open load. Requests are not drawn beside operations: one may be several of them. */
export const REQUESTS: TimePlan = {
  id: 'requests',
  title: 'Requests over time',
  caption:
    `${SINCE} Up: requests a second, those that were to begin and those that were begun. Where fewer ` +
    'are begun than wanted the others wait, and the lag grows; where more are, it is made up for.',
  label: 'requests a second',
  unit: 'perSecond',
  sources: [
    {
      name: 'begun',
      tone: 1,
      stroke: 'solid',
      value: ({ reachedPerSecond }) => reachedPerSecond,
    },
    {
      name: 'wanted',
      tone: 2,
      stroke: 'dashed',
      value: ({ wantedPerSecond }) => wantedPerSecond,
    },
  ],
  extra: [STAGE],
};

export const THROUGHPUT: TimePlan = {
  id: 'throughput',
  title: 'Operations over time',
  caption:
    `${SINCE} Up: operations a second that were answered. A request is one operation where it is a ` +
    'decision, 16 where it is a batch of decisions, and two where it is a pull: its intent and its outcome.',
  label: 'operations a second',
  unit: 'perSecond',
  sources: [
    {
      name: 'operations',
      tone: 1,
      stroke: 'solid',
      value: ({ operationsPerSecond }) => operationsPerSecond,
    },
  ],
  extra: [
    ['failed', ({ errors }) => formatCount(errors)],
    ['wrong decisions', ({ wrongDecisions }) => formatCount(wrongDecisions)],
    STAGE,
  ],
  limits: /^operationsPerSecond$/,
};

export const LAG: TimePlan = {
  id: 'lag',
  title: 'Lag over time',
  caption:
    `${SINCE} Up: by how much 99 in 100 requests began late at most, on a logarithmic axis. A lag ` +
    'that grows says that the rate is more than this machine can do.',
  label: 'lag, p99',
  unit: 'ns',
  isLogarithmic: true,
  sources: [
    {
      name: 'lag p99',
      tone: 4,
      stroke: 'solid',
      value: ({ lagP99Ns }) => lagP99Ns || undefined,
    },
  ],
  limits: /^lag\.(p\d+|max)$/,
};

export const BATCH_SIZE: TimePlan = {
  id: 'batch-size',
  title: 'Batch size over time',
  caption:
    `${SINCE} Up: writes in one commit, on average. Writes that arrive while a commit is flushed are ` +
    'the next one, so batches grow under load.',
  label: 'writes a commit',
  unit: 'count',
  sources: [
    {
      name: 'writes a commit',
      tone: 5,
      stroke: 'solid',
      value: ({ commits, writesPerCommit }) => (commits > 0 ? writesPerCommit : undefined),
    },
  ],
  limits: /^batchSize\.(p\d+|max)$/,
};

export const COMMITS: TimePlan = {
  id: 'commits',
  title: 'Commits over time',
  caption: `${SINCE} Up: commits a second, each with one flush.`,
  label: 'commits a second',
  unit: 'perSecond',
  sources: [
    {
      name: 'commits a second',
      tone: 5,
      stroke: 'solid',
      value: ({ commits, durationMs }) => (durationMs > 0 ? (commits / durationMs) * 1_000 : 0),
    },
  ],
  extra: [
    ['commits', ({ commits }) => formatCount(commits)],
    ['written', ({ writtenBytes }) => formatBytes(writtenBytes)],
  ],
};

export const PROCESSORS: TimePlan = {
  id: 'processors',
  title: 'Processors over time',
  caption:
    `${SINCE} Up: processors kept busy; 1 is one of them all the time. The main thread makes the load ` +
    'and decides, workers write.',
  label: 'processors',
  unit: 'processors',
  sources: [
    { name: 'all threads', tone: 6, stroke: 'solid', value: ({ cpuAll }) => cpuAll },
    { name: 'main thread', tone: 1, stroke: 'dashed', value: ({ cpuMain }) => cpuMain },
  ],
};

export const EVENT_LOOP: TimePlan = {
  id: 'event-loop',
  title: 'Event-loop delay over time',
  caption:
    `${SINCE} Up: by how much 99 in 100 timers of the main thread were late at most, on a logarithmic ` +
    'axis.',
  label: 'delay, p99',
  unit: 'ns',
  isLogarithmic: true,
  sources: [
    {
      name: 'event-loop delay p99',
      tone: 4,
      stroke: 'solid',
      value: ({ eventLoopDelayP99Ns }) => eventLoopDelayP99Ns || undefined,
    },
  ],
  limits: /^eventLoopDelay\.(p\d+|max)$/,
};

export const MEMORY: TimePlan = {
  id: 'memory',
  title: 'Memory over time',
  caption: `${SINCE} Up: memory of the process, and what objects of its main thread take of it.`,
  label: 'memory',
  unit: 'bytes',
  sources: [
    { name: 'whole process', tone: 6, stroke: 'solid', value: ({ rssBytes }) => rssBytes },
    { name: 'heap in use', tone: 1, stroke: 'dashed', value: ({ heapUsedBytes }) => heapUsedBytes },
  ],
  limits: /^rssMax/,
};

/** A median, a long tail and its end; each is 0 only where there was none. */
function latency(of: 'decideNs' | 'writeNs', id: string, title: string, limits: RegExp): TimePlan {
  return {
    id,
    title,
    caption:
      `${SINCE} Up: response time, on a logarithmic axis: each step is ten times as long. An interval ` +
      'without any leaves a gap.',
    label: 'response time',
    unit: 'ns',
    isLogarithmic: true,
    sources: [
      { name: 'p50', tone: 1, stroke: 'solid', value: (interval) => interval[of].p50 || undefined },
      {
        name: 'p99',
        tone: 2,
        stroke: 'dashed',
        value: (interval) => interval[of].p99 || undefined,
      },
      {
        name: 'max',
        tone: 3,
        stroke: 'dotted',
        value: (interval) => interval[of].max || undefined,
      },
    ],
    extra: [STAGE],
    limits,
  };
}
