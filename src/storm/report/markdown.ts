/** The result of a storm as Markdown, for a pull request. */
import { DECISION_REASONS } from '../../metrics/stats.ts';
import {
  formatBytes,
  formatCount,
  formatMs,
  formatNs,
  formatShare,
} from '../../terminal/format.ts';
import { harmless } from '../../terminal/text.ts';
import { OPERATIONS } from '../operations.ts';
import type { StormResult } from '../result-schema.ts';
import { begunText, shareBegun } from './rate.ts';
import { formatLimit, formatMetric, stormVerdict } from './verdict.ts';

const WRONG_SHOWN = 3;

/**
 * The result as GitHub-flavoured Markdown, ending in a line break. Texts of a scenario stand as code,
 * in which nothing is a link, a mention or HTML.
 */
export function markdownReport(result: StormResult): string {
  const { word, reasons } = stormVerdict(result);
  const blocks: (string | undefined)[] = [
    `### pullwarden storm ${code(result.scenario)}: ${word}`,
    sentence(reasons.join('; ')),
    thresholdsTable(result),
    latencyTable(result),
    figuresTable(result),
    wrongText(result),
    again(result),
  ];
  return `${blocks.filter((block) => block !== undefined).join('\n\n')}\n`;
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function thresholdsTable({ thresholds }: StormResult): string | undefined {
  if (thresholds.length === 0) return undefined;
  const rows = thresholds.map((threshold) => [
    code(threshold.rule),
    code(threshold.metric),
    code(formatLimit(threshold)),
    formatMetric(threshold.actual, threshold.unit),
    threshold.passed ? '✓ kept' : '✕ **crossed**',
  ]);
  return table(['threshold', 'metric', 'limit', 'actual', 'outcome'], rows, 3);
}

function latencyTable({ perOperation, load }: StormResult): string | undefined {
  const rows = OPERATIONS.filter((operation) => perOperation[operation].count > 0).map(
    (operation) => {
      const { count, responseNs } = perOperation[operation];
      const { p50, p90, p99, p999, max } = responseNs;
      return [code(operation), formatCount(count), ...[p50, p90, p99, p999, max].map(formatNs)];
    },
  );
  if (rows.length === 0) return undefined;
  const time = load.model === 'open' ? 'response time of' : 'latency of';
  return table([time, 'count', 'p50', 'p90', 'p99', 'p99.9', 'max'], rows, 1);
}

function figuresTable(result: StormResult): string {
  const { arrivals, batchSize, commitLatencyNs: commit, cpu, decisions, memory } = result;
  const all = Math.max(
    1,
    DECISION_REASONS.reduce((sum, reason) => sum + decisions[reason], 0),
  );
  const reasons = DECISION_REASONS.filter((reason) => decisions[reason] > 0);
  const rows: string[][] = [
    [
      'throughput',
      `${formatCount(result.operationsPerSecond)} operations/s ` +
        `(${formatCount(result.operations)} in ${formatMs(result.durationMs)})`,
    ],
  ];
  if (arrivals) {
    const { lagNs } = arrivals;
    rows.push(
      ['rate reached', `${shareBegun(arrivals)}: ${begunText(arrivals)}`],
      ['lag', `p50 ${formatNs(lagNs.p50)}, p99 ${formatNs(lagNs.p99)}, max ${formatNs(lagNs.max)}`],
    );
  }
  rows.push(
    [
      'decisions',
      reasons.map((reason) => `${reason} ${formatShare(decisions[reason] / all)}`).join(', '),
    ],
    ['commits', `${formatCount(commit.count)}, p99 ${formatNs(commit.p99)}`],
    ['batch size', `p50 ${formatCount(batchSize.p50)}, p99 ${formatCount(batchSize.p99)} writes`],
    ['processor time', `${formatNs(cpu.perOperationNs)} an operation`],
    ['memory', `${formatBytes(memory.rssMaxBytes)} at most`],
    [
      'checked',
      `${formatCount(result.wrongDecisions)} wrong decisions, ` +
        `${formatCount(result.wrongRecords)} wrong records, ` +
        `${formatCount(result.errors)} failed operations`,
    ],
  );
  return table(['figure', 'value'], rows, 2);
}

function wrongText({ wrong, problems, wrongDecisions }: StormResult): string | undefined {
  const lines = wrong
    .slice(0, WRONG_SHOWN)
    .map(
      ({ method, image, tenant, given, possible }) =>
        `- ${code(method)} of ${code(image)} for tenant ${code(tenant)}: given ${code(given)}, ` +
        `possible ${code(possible.join(' or '))}`,
    );
  const hidden = wrongDecisions - lines.length;
  if (lines.length > 0 && hidden > 0) lines.push(`- and ${formatCount(hidden)} more`);
  lines.push(...problems.slice(0, WRONG_SHOWN).map((problem) => `- ${code(problem)}`));
  return lines.length === 0 ? undefined : ['**Wrong**', '', ...lines].join('\n');
}

function again({ command, machine, storeLabel, startedAt }: StormResult): string {
  const { cpu, cores, node, platform, pullwarden } = machine;
  const place = `${cpu}, ${cores} cores, ${platform}, Node ${node}, pullwarden ${pullwarden}`;
  return [
    '<details><summary>Run it again</summary>',
    '',
    code(command),
    '',
    `Store ${code(storeLabel)}, on ${code(place)}, ${code(startedAt)}.`,
    '',
    '</details>',
  ].join('\n');
}

/** @param lefts - so many columns, from the first one, hold words; the others hold figures. */
function table(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  lefts: number,
): string {
  // A table is cut into cells before anything else: also code must not have a bare bar.
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = titles.map((_, i) => (i < lefts ? '---' : '---:'));
  return [line(titles), line(rule), ...rows.map(line)].join('\n');
}

/** A text of others as code, in which nothing is Markdown. */
function code(text: string): string {
  const plain = harmless(text);
  const longest = Math.max(0, ...Array.from(plain.matchAll(/`+/g), ([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  // A tick at an end would lengthen the fence, and code must not be empty.
  const pad = plain === '' || plain.startsWith('`') || plain.endsWith('`') ? ' ' : '';
  return `${fence}${pad}${plain}${pad}${fence}`;
}
