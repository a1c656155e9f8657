/** The figures of a storm's summary that are no table: a label and a sentence each. */
import { DECISION_REASONS } from '../../metrics/stats.ts';
import {
  formatBytes,
  formatCount,
  formatMs,
  formatNs,
  formatShare,
  plural,
} from '../../terminal/format.ts';
import type { StormResult } from '../result-schema.ts';
import { begunText, shareBegun } from './rate.ts';

/** A label, and what it is about. */
export type Figure = readonly [label: string, text: string];

/** What happened, in the order in which people ask. */
export function figuresOf(result: StormResult): Figure[] {
  return [
    ...load(result),
    ...answers(result),
    ...store(result),
    ...events(result),
    ...machine(result),
    ...checks(result),
    ...troubles(result),
    ...repetition(result),
  ];
}

function load(result: StormResult): Figure[] {
  const { arrivals } = result;
  const figures: Figure[] = [
    [
      'throughput',
      `${formatCount(result.operationsPerSecond)} operations/s ` +
        `(${formatCount(result.operations)} in ${formatMs(result.durationMs)})`,
    ],
  ];
  if (arrivals === undefined) return figures;
  const { lagNs } = arrivals;
  figures.push(['rate reached', `${shareBegun(arrivals)}: ${begunText(arrivals)}`]);
  const { p50, p99, max } = lagNs;
  figures.push([
    'lag',
    `requests began late by p50 ${formatNs(p50)}, p99 ${formatNs(p99)}, max ${formatNs(max)}`,
  ]);
  return figures;
}

function answers({ decisions, localShare }: StormResult): Figure[] {
  const decided = DECISION_REASONS.reduce((all, name) => all + decisions[name], 0);
  const reasons = DECISION_REASONS.filter((reason) => decisions[reason] > 0).map(
    (reason) => `${reason} ${formatShare(decisions[reason] / Math.max(1, decided))}`,
  );
  return [
    ['decisions', reasons.join(', ')],
    ['without a hop', `${formatShare(localShare)} of the decisions`],
  ];
}

function store({ batchSize, commitLatencyNs: commit, ...result }: StormResult): Figure[] {
  return [
    [
      'commits',
      `${formatCount(commit.count)}, p50 ${formatNs(commit.p50)}, p99 ${formatNs(commit.p99)}, ` +
        `max ${formatNs(commit.max)}`,
    ],
    [
      'batch size',
      `p50 ${formatCount(batchSize.p50)}, p99 ${formatCount(batchSize.p99)}, ` +
        `max ${formatCount(batchSize.max)} writes`,
    ],
    [
      'left',
      `${plural(result.records, 'record')}, ${plural(result.intents, 'intent')}, ` +
        `${formatBytes(result.writtenBytes)} written`,
    ],
  ];
}

function events(result: StormResult): Figure[] {
  const { prunedRecords, prunings, restarts, workersKilled } = result;
  const words: string[] = [];
  if (restarts > 0) {
    const times = result.events.filter(({ kind }) => kind === 'restart');
    const longest = Math.max(0, ...times.map(({ durationMs }) => durationMs));
    words.push(`${plural(restarts, 'restart')} of ${formatMs(longest)} at most`);
  }
  if (prunings > 0)
    words.push(`${plural(prunings, 'pruning')} of ${plural(prunedRecords, 'record')}`);
  if (workersKilled > 0) {
    words.push(
      `${plural(workersKilled, 'worker')} killed, over which ` +
        `${plural(result.expectedErrors, 'operation')} failed`,
    );
  }
  return words.length === 0 ? [] : [['events', words.join('; ')]];
}

function machine({ cpu, durationMs, eventLoopDelayNs, memory, ...result }: StormResult): Figure[] {
  const busy = (ms: number): string => (ms / Math.max(1, durationMs)).toFixed(2);
  const threads =
    cpu.mainMs === undefined || cpu.workersMs === undefined
      ? ''
      : ` (main thread ${busy(cpu.mainMs)}, others ${busy(cpu.workersMs)})`;
  return [
    [
      'processors',
      `${busy(cpu.allMs)} of ${result.machine.cores} busy${threads}, ` +
        `${formatNs(cpu.perOperationNs)} an operation`,
    ],
    [
      'event loop',
      `late by p99 ${formatNs(eventLoopDelayNs.p99)}, max ${formatNs(eventLoopDelayNs.max)}`,
    ],
    ['memory', `${formatBytes(memory.rssMaxBytes)} at most`],
  ];
}

function checks({ verified, overheadNs, wrongDecisions }: StormResult): Figure[] {
  const checked = verified.exact + verified.either + verified.unverifiable;
  const count = checked + wrongDecisions;
  const all = Math.max(1, count);
  const figures: Figure[] = [
    [
      'checked',
      verified.isOn
        ? `${plural(count, 'decision')}: ${formatShare(verified.exact / all)} had one right ` +
          `answer, ${formatShare(verified.either / all)} overlapped a write, ` +
          `${formatShare(verified.unverifiable / all)} could not be judged`
        : 'nothing (--no-verify)',
    ],
  ];
  if (overheadNs !== undefined) {
    const driver = formatNs(overheadNs.driverNs);
    const verify = formatNs(overheadNs.verifyNs);
    const checking = verified.isOn
      ? `and ${verify} to check it`
      : `checking it would cost ${verify}`;
    figures.push(['storm itself', `${driver} an operation, ${checking}`]);
  }
  return figures;
}

function troubles({ errors, errorCodes }: StormResult): Figure[] {
  if (errors === 0) return [];
  const codes = Object.entries(errorCodes).map(([code, count]) => `${code} ${formatCount(count)}`);
  return [['errors', codes.join(', ')]];
}

function repetition({ runs, load: { model } }: StormResult): Figure[] {
  if (runs.length < 2) return [];
  const range = (metric: string, format: (value: number) => string): string => {
    const values = runs.flatMap((run) => run[metric] ?? []);
    if (values.length === 0) return 'none';
    return `${format(Math.min(...values))} to ${format(Math.max(...values))}`;
  };
  const by = model === 'open' ? 'decide p99' : 'operations/s';
  return [
    [
      'runs',
      `${formatCount(runs.length)}: ${range('operationsPerSecond', formatCount)} operations/s, ` +
        `decide p99 ${range('decide.p99', formatNs)}; shown is the median by ${by}`,
    ],
  ];
}
