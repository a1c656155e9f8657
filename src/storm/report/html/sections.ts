/** The parts of a report that are words and tables. */
import { DECISION_REASONS } from '../../../metrics/stats.ts';
import {
  formatBytes,
  formatCount,
  formatMs,
  formatNs,
  formatShare,
  plural,
} from '../../../terminal/format.ts';
import { OPERATIONS } from '../../recorder.ts';
import type {
  Environment,
  Load,
  Quantiles,
  Ramp,
  StageResult,
  StormResult,
} from '../../result-schema.ts';
import type { WrongAnswer } from '../../wrong-answer.ts';
import { begunText, shareBegun } from '../rate.ts';
import { formatLimit, formatMetric, type StormVerdict, stormVerdict } from '../verdict.ts';
import { type Table, table } from './figure.ts';
import { html, type Markup } from './markup.ts';

/** A figure that says a lot by itself. */
export interface Tile {
  readonly label: string;
  readonly value: string;
  readonly note?: string | undefined;
  readonly isBad?: boolean;
}

const MARKS: Readonly<Record<StormVerdict['word'], string>> = {
  PASSED: '✓',
  FAILED: '✕',
  INTERRUPTED: '‖',
};

/** Whether it passed, in a word and a mark, and why not. */
export function verdictBox(result: StormResult): Markup {
  const { word, reasons } = stormVerdict(result);
  return box(word, MARKS[word], reasons);
}

/** A verdict with its mark; the class of the box is the word. */
export function box(word: string, mark: string, reasons: readonly string[]): Markup {
  return html`<div class="verdict ${word.toLowerCase()}" role="status"><span class="mark" aria-hidden="true">${mark}</span>
<p><strong>${word}</strong>: ${reasons.join('; ')}</p></div>`;
}

/** Thresholds with limit and actual value. */
export function thresholdsTable({ thresholds }: StormResult): Markup {
  if (thresholds.length === 0) {
    return html`<p>None was set. A rule such as <code>--threshold 'decide.p99&lt;2ms'</code> makes the storm fail where it is crossed.</p>`;
  }
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Thresholds"><table class="thresholds">
<thead><tr><th scope="col">metric<th scope="col">limit<th scope="col">actual<th scope="col">outcome<th scope="col">rule</thead>
<tbody>
${thresholds.map(
  (
    threshold,
  ) => html`<tr><th scope="row">${metricName(threshold.metric)}<td>${formatLimit(threshold)}<td>${formatMetric(threshold.actual, threshold.unit)}<td>${outcome(threshold.passed)}<td><code>${threshold.rule}</code>
`,
)}</tbody>
</table></div>`;
}

/** The name of a metric, which may be broken behind its points. */
export function metricName(name: string): Markup {
  const [first, ...rest] = name.split('.');
  return html`${first}${rest.map((word) => html`.<wbr>${word}`)}`;
}

function outcome(isKept: boolean): Markup {
  return isKept
    ? html`<span class="good"><span aria-hidden="true">✓</span> kept</span>`
    : html`<span class="bad"><span aria-hidden="true">✕</span> crossed</span>`;
}

/** The figures that are asked for first. */
export function keyFigures(result: StormResult): Tile[] {
  const { arrivals, cpu, memory, perOperation, verified } = result;
  const { decide, recordImagePulled } = perOperation;
  const tiles: Tile[] = [
    {
      label: 'throughput',
      value: `${formatCount(result.operationsPerSecond)} /s`,
      note: `${formatCount(result.operations)} operations in ${formatMs(result.durationMs)}`,
    },
  ];
  if (arrivals !== undefined && arrivals !== null) {
    const { lagNs } = arrivals;
    tiles.push(
      { label: 'rate reached', value: shareBegun(arrivals), note: begunText(arrivals) },
      { label: 'lag, p99', value: formatNs(lagNs.p99), note: `longest ${formatNs(lagNs.max)}` },
    );
  }
  for (const [label, { count, responseNs }] of [
    ['decision, p99', decide],
    ['recorded pull, p99', recordImagePulled],
  ] as const) {
    if (count === 0) continue;
    const note = `p50 ${formatNs(responseNs.p50)}, longest ${formatNs(responseNs.max)}`;
    tiles.push({ label, value: formatNs(responseNs.p99), note });
  }
  tiles.push(
    {
      label: 'wrong decisions',
      value: formatCount(result.wrongDecisions),
      note: verified.isOn ? checkedText(result) : 'decisions were not checked',
      isBad: result.wrongDecisions > 0,
    },
    {
      label: 'wrong records',
      value: formatCount(result.wrongRecords),
      note: `${formatCount(result.records)} records and ${formatCount(result.intents)} intents in the end`,
      isBad: result.wrongRecords > 0,
    },
    {
      label: 'failed operations',
      value: formatCount(result.errors),
      note: errorText(result),
      isBad: result.errors > 0,
    },
    {
      label: 'processor time',
      value: formatNs(cpu.perOperationNs),
      note: `an operation; ${formatMs(cpu.allMs)} in all`,
    },
    {
      label: 'memory, most',
      value: formatBytes(memory.rssMaxBytes),
      note: `heap ${formatBytes(memory.heapUsedMaxBytes)}`,
    },
  );
  return tiles;
}

/** Tiles as a list. */
export function tileList(tiles: readonly Tile[]): Markup {
  return html`<dl class="tiles">${tiles.map(
    ({ label, value, note, isBad = false }) =>
      html`<div class="tile${isBad ? ' bad' : ''}"><dt>${label}</dt><dd><b>${value}</b> <small>${note}</small></dd></div>`,
  )}</dl>`;
}

function checkedText({ verified: { exact, either, unverifiable } }: StormResult): string {
  const all = exact + either + unverifiable;
  const share = all === 0 ? 0 : exact / all;
  return `of ${formatCount(all)} checked; ${formatShare(share)} had one right answer`;
}

function errorText({ errorCodes, expectedErrors }: StormResult): string {
  const texts = Object.entries(errorCodes).map(
    ([code, count]) => `${formatCount(count)} × ${code}`,
  );
  if (expectedErrors > 0)
    texts.push(`${formatCount(expectedErrors)} more where a worker was killed`);
  return texts.join(', ') || 'every call was answered';
}

/** Latencies of every operation: response times and, where they differ, service times. */
export function operationsTable({ perOperation, load }: StormResult): Markup {
  const rows = OPERATIONS.filter((operation) => perOperation[operation].count > 0).flatMap(
    (operation) => {
      const { count, responseNs, serviceNs } = perOperation[operation];
      const row = (time: string, of: Quantiles): string[] => {
        return [operation, time, formatCount(count), ...quantileCells(of)];
      };
      const response = row('response', responseNs);
      return load.model === 'open' ? [response, row('service', serviceNs)] : [response];
    },
  );
  return table({ columns: ['operation', 'time', 'count', ...QUANTILES], rows }, 'Latencies');
}

const QUANTILES = ['p50', 'p90', 'p99', 'p99.9', 'p99.99', 'max'];

function quantileCells(of: Quantiles): string[] {
  return [of.p50, of.p90, of.p99, of.p999, of.p9999, of.max].map(formatNs);
}

/** One row a stage. */
export function stagesTable({ stages }: StormResult): Table {
  return {
    columns: [
      'stage',
      'from',
      'load',
      'operations/s',
      'decide p99',
      'pulled p99',
      'lag p99',
      'errors',
      'wrong',
    ],
    rows: stages.map((stage) => [
      stage.name,
      `${formatMs(stage.startMs)}, for ${formatMs(stage.durationMs)}`,
      loadText(stage.load),
      formatCount(stage.operationsPerSecond),
      formatNs(stage.perOperation.decide.responseNs.p99),
      formatNs(stage.perOperation.recordImagePulled.responseNs.p99),
      stage.arrivals ? formatNs(stage.arrivals.lagNs.p99) : '–',
      formatCount(stage.errors),
      formatCount(stage.wrongDecisions),
    ]),
  };
}

/** The load of a whole storm in words: from the least to the greatest where its stages differ. */
export function stormLoadText({ load, stages }: StormResult): string {
  if (stages.length < 2) return loadText(load);
  const ramps = stages.map((stage) => rampOf(stage.load)).flatMap(({ from, to }) => [from, to]);
  const span = { from: Math.min(...ramps), to: Math.max(...ramps) };
  const whole: Load =
    load.model === 'open'
      ? { ...load, ratePerSecond: span, callersMax: Math.max(...stages.map(callersOf)) }
      : { ...load, concurrency: span };
  return `${plural(stages.length, 'stage')} of ${loadText(whole)}`;
}

function rampOf(load: Load): Ramp {
  return load.model === 'open' ? load.ratePerSecond : load.concurrency;
}

function callersOf({ load }: StageResult): number {
  return load.model === 'open' ? load.callersMax : rampOf(load).to;
}

/** A load in words. */
function loadText(load: Load): string {
  return load.model === 'open'
    ? `${rampText(load.ratePerSecond)} requests/s, at most ${formatCount(load.callersMax)} at once`
    : `${rampText(load.concurrency)} callers`;
}

function rampText({ from, to }: Ramp): string {
  return from === to ? formatCount(from) : `${formatCount(from)} to ${formatCount(to)}`;
}

/** How often each reason was given, with a bar. */
export function decisionsTable({ decisions, localShare }: StormResult): Markup {
  const all = DECISION_REASONS.reduce((sum, reason) => sum + decisions[reason], 0);
  const share = (reason: (typeof DECISION_REASONS)[number]): number =>
    all === 0 ? 0 : decisions[reason] / all;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Decisions by reason"><table>
<thead><tr><th scope="col">reason<th scope="col">decisions<th scope="col">share<th scope="col"><span class="unseen">bar</span></thead>
<tbody>
${DECISION_REASONS.map(
  (
    reason,
  ) => html`<tr><th scope="row">${reason}<td>${formatCount(decisions[reason])}<td>${formatShare(share(reason))}<td><svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width="${share(reason) * 100}" height="10"/></svg>
`,
)}</tbody>
</table></div>
<p>${formatShare(localShare)} of the decisions were answered without a trip to a worker.</p>`;
}

/** What was done to the engine. */
export function eventsTable({ events }: StormResult): Table {
  return {
    columns: ['at', 'event', 'took', 'detail'],
    rows: events.map(({ atMs, kind, durationMs, detail }) => [
      formatMs(atMs),
      kind,
      formatMs(durationMs),
      detail,
    ]),
  };
}

/** Wrong decisions with all that is needed to see them again, and wrong records. */
export function wrongList(result: StormResult): Markup {
  const hidden = result.wrongDecisions - result.wrong.length;
  return html`${result.wrong.map(wrongAnswer)}
${hidden > 0 ? html`<p>And ${formatCount(hidden)} more wrong decisions.</p>` : undefined}
${result.problems.length === 0 ? undefined : html`<h3>Wrong records</h3><ul>${result.problems.map((text) => html`<li>${text}</li>`)}</ul>`}`;
}

function wrongAnswer(wrong: WrongAnswer): Markup {
  const rows: [string, string][] = [
    [
      'operation',
      `${formatCount(wrong.operation)}: caller ${wrong.caller}, step ${wrong.step}, ${wrong.method}`,
    ],
    ['image', wrong.image],
    ['imageRef', wrong.imageRef],
    ['tenant', wrong.tenant],
    ['given', wrong.given],
    ['possible', wrong.possible.join(' or ')],
    ...wrong.state.map((line): [string, string] => ['model', line]),
  ];
  return html`<div class="wrong"><h3>Wrong decision</h3>${definitions(rows)}</div>`;
}

/** Pairs of a name and a value. */
export function definitions(rows: readonly (readonly [string, string])[]): Markup {
  return html`<dl class="facts">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** The machine of a result. */
export function machineRows(machine: Environment): [string, string][] {
  return [
    ['processor', `${machine.cpu}, ${formatCount(machine.cores)} cores`],
    ['memory', formatBytes(machine.memoryBytes)],
    ['platform', machine.platform],
    ['Node.js', machine.node],
    ['pullwarden', machine.pullwarden],
  ];
}
