/** The summary of a storm, for people. */
import { DECISION_REASONS } from '../../metrics/stats.ts';
import {
  formatBytes,
  formatCount,
  formatMs,
  formatNs,
  formatShare,
  plural,
} from '../../terminal/format.ts';
import { type Paint, PLAIN } from '../../terminal/style.ts';
import { OPERATIONS } from '../recorder.ts';
import type { StormResult } from '../result.ts';
import type { MetricUnit, ThresholdResult } from '../thresholds.ts';
import type { WrongAnswer } from '../wrong-answer.ts';

const LABEL_WIDTH = 14;
/** Wrong answers that are printed in full. */
const WRONG_SHOWN = 5;

/** The summary as text, ending in a line break. */
export function formatSummary(result: StormResult, paint: Paint = PLAIN): string {
  const lines = [
    `${paint('bold', `pullwarden storm ${result.scenario}`)}  seed ${result.seed}`,
    paint('dim', settings(result)),
    '',
    ...operationTable(result, paint),
    '',
    ...figures(result).map(([label, text]) => labelled(label, text, paint)),
    ...result.thresholds.map((threshold) => thresholdLine(threshold, paint)),
    ...wrongLines(result, paint),
    '',
    verdict(result, paint),
  ];
  return `${lines.join('\n')}\n`;
}

function settings(result: StormResult): string {
  const { images, tenants, concurrency, workers, storeLabel, policy } = result;
  return [
    plural(images, 'image'),
    plural(tenants, 'tenant'),
    plural(concurrency, 'caller'),
    plural(workers, 'worker'),
    storeLabel,
    policy,
  ].join(' · ');
}

function operationTable(result: StormResult, paint: Paint): string[] {
  const header = ['operation', 'count', 'p50', 'p99', 'p99.9', 'max'];
  const rows = OPERATIONS.filter((operation) => result.operationCounts[operation] > 0).map(
    (operation) => {
      const { p50, p99, p999, max } = result.latencyNs[operation];
      const count = formatCount(result.operationCounts[operation]);
      return [operation, count, ...[p50, p99, p999, max].map(formatNs)];
    },
  );
  const [head = '', ...body] = alignColumns([header, ...rows]);
  return [paint('dim', head), ...body];
}

function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('   '),
  );
}

function figures(result: StormResult): [label: string, text: string][] {
  const { batchSize, commitLatencyNs: commit, decisions, verified } = result;
  const decided = Math.max(
    1,
    DECISION_REASONS.reduce((all, name) => all + decisions[name], 0),
  );
  const reasons = DECISION_REASONS.filter((reason) => decisions[reason] > 0).map(
    (reason) => `${reason} ${formatShare(decisions[reason] / decided)}`,
  );
  const checked = verified.exact + verified.either + verified.unverifiable;
  const all = Math.max(1, checked + result.wrongDecisions);
  const lines: [string, string][] = [
    [
      'throughput',
      `${formatCount(result.operationsPerSecond)} operations/s ` +
        `(${formatCount(result.operations)} in ${formatMs(result.durationMs)})`,
    ],
    ['decisions', reasons.join(', ')],
    ['without a hop', `${formatShare(result.localShare)} of the decisions`],
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
  if (result.restarts > 0 || result.prunings > 0) {
    lines.push([
      'events',
      `${plural(result.restarts, 'restart')}, ${plural(result.prunings, 'pruning')} of ` +
        plural(result.prunedRecords, 'record'),
    ]);
  }
  lines.push([
    'checked',
    `${formatCount(all)} decisions: ${formatShare(verified.exact / all)} had one right answer, ` +
      `${formatShare(verified.either / all)} overlapped a write, ` +
      `${formatShare(verified.unverifiable / all)} could not be judged`,
  ]);
  const { overheadNs } = result;
  if (overheadNs !== undefined) {
    const driver = formatNs(overheadNs.driverNs);
    const verify = formatNs(overheadNs.verifyNs);
    lines.push(['storm itself', `${driver} an operation, and ${verify} to check it`]);
  }
  if (result.errors > 0) {
    const codes = Object.entries(result.errorCodes).map(([code, count]) => `${code} ${count}`);
    lines.push(['errors', codes.join(', ')]);
  }
  return lines;
}

function labelled(label: string, text: string, paint: Paint): string {
  return `${paint('dim', label.padEnd(LABEL_WIDTH))} ${text}`;
}

function thresholdLine(threshold: ThresholdResult, paint: Paint): string {
  const { rule, metric, actual, unit, passed } = threshold;
  const mark = passed ? paint('green', 'kept') : paint('red', 'crossed');
  const about = rule.startsWith(metric) ? '' : ` ${metric}`;
  return labelled('threshold', `${rule} ${mark}:${about} ${formatMetric(actual, unit)}`, paint);
}

function formatMetric(value: number, unit: MetricUnit): string {
  switch (unit) {
    case 'ns':
      return formatNs(value);
    case 'bytes':
      return formatBytes(value);
    case 'share':
      return formatShare(value);
    case 'count':
      return formatCount(value);
  }
}

function wrongLines(result: StormResult, paint: Paint): string[] {
  const lines: string[] = [];
  for (const wrong of result.wrong.slice(0, WRONG_SHOWN)) {
    lines.push('', paint('red', 'wrong decision'), ...formatWrong(wrong, result.command));
  }
  const more = result.wrongDecisions - Math.min(WRONG_SHOWN, result.wrong.length);
  if (more > 0) lines.push('', `and ${formatCount(more)} more wrong decisions`);
  if (result.problems.length > 0) {
    lines.push('', paint('red', 'wrong records'), ...result.problems.map((text) => `  ${text}`));
    const hidden = result.wrongRecords - result.problems.length;
    if (hidden > 0) lines.push(`  and ${formatCount(hidden)} more`);
  }
  return lines;
}

/** A wrong decision with everything that is needed to see it again. */
export function formatWrong(wrong: WrongAnswer, command: string): string[] {
  return [
    `  replay      ${command}`,
    `  operation   ${wrong.operation}: caller ${wrong.caller}, step ${wrong.step}, ${wrong.method}`,
    `  image       ${wrong.image}`,
    `  imageRef    ${wrong.imageRef}`,
    `  tenant      ${wrong.tenant}`,
    `  given       ${wrong.given}`,
    `  possible    ${wrong.possible.join(' or ')}`,
    ...wrong.state.map((line) => `  model       ${line}`),
  ];
}

function verdict(result: StormResult, paint: Paint): string {
  const failures: string[] = [];
  if (result.wrongDecisions > 0) {
    failures.push(plural(result.wrongDecisions, 'wrong decision'));
  }
  if (result.wrongRecords > 0) failures.push(plural(result.wrongRecords, 'wrong record'));
  if (result.errors > 0) failures.push(plural(result.errors, 'failed operation'));
  const crossed = result.thresholds.filter(({ passed }) => !passed).length;
  if (crossed > 0) failures.push(`${plural(crossed, 'threshold')} crossed`);
  const suffix = result.interrupted ? ' (interrupted)' : '';
  if (failures.length > 0) return paint('red', `FAILED${suffix}: ${failures.join(', ')}`);
  const right = 'every decision was right, and what is stored is what was acknowledged';
  return paint('green', `PASSED${suffix}: ${right}`);
}
