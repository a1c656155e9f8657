/** The tables of a storm's summary: operations, and stages where there is more than one. */
import { formatCount, formatMs, formatNs, formatShare } from '../../terminal/format.ts';
import type { Paint } from '../../terminal/style.ts';
import { OPERATIONS } from '../operations.ts';
import type { Load, QuantilesNs, StageResult, StormResult } from '../result-schema.ts';

/** Latencies by operation; in an open load with what the calls themselves took. */
export function operationTable(result: StormResult, paint: Paint): string[] {
  const header = ['response time', 'count', 'p50', 'p90', 'p99', 'p99.9', 'max'];
  const isOpen = result.load.model === 'open';
  const rows = OPERATIONS.filter((operation) => result.perOperation[operation].count > 0).flatMap(
    (operation) => {
      const { count, responseNs, serviceNs } = result.perOperation[operation];
      const row = [operation, formatCount(count), ...latencies(responseNs)];
      return isOpen ? [row, ['  of it the call', '', ...latencies(serviceNs)]] : [row];
    },
  );
  return painted(
    alignColumns([header, ...rows]),
    paint,
    (row) => row > 0 && isOpen && row % 2 === 0,
  );
}

function latencies({ p50, p90, p99, p999, max }: QuantilesNs): string[] {
  return [p50, p90, p99, p999, max].map(formatNs);
}

/** One line for each stage; nothing where there is only one. */
export function stageTable({ stages }: StormResult, paint: Paint): string[] {
  if (stages.length < 2) return [];
  const isOpen = stages[0]!.load.model === 'open';
  const header = isOpen
    ? ['stage', 'time', 'requests/s', 'reached', 'ops/s', 'decide p50', 'p99', 'lag p99']
    : ['stage', 'time', 'callers', 'ops/s', 'decide p50', 'p99', 'max'];
  const rows = stages.map((stage) => [
    stage.name,
    formatMs(stage.durationMs),
    rampText(stage.load),
    ...(isOpen ? [reachedText(stage)] : []),
    formatCount(stage.operationsPerSecond),
    formatNs(stage.perOperation.decide.responseNs.p50),
    formatNs(stage.perOperation.decide.responseNs.p99),
    formatNs(isOpen ? (stage.arrivals?.lagNs.p99 ?? 0) : stage.perOperation.decide.responseNs.max),
  ]);
  return ['', ...painted(alignColumns([header, ...rows]), paint, () => false)];
}

/** A load as one number, or as two where it moves. */
export function rampText(load: Load): string {
  const { from, to } = load.model === 'open' ? load.ratePerSecond : load.concurrency;
  return from === to ? formatCount(from) : `${formatCount(from)} to ${formatCount(to)}`;
}

function reachedText({ arrivals }: StageResult): string {
  if (arrivals === undefined || arrivals.scheduled === 0) return '';
  return formatShare(Math.min(1, arrivals.started / arrivals.scheduled));
}

function painted(
  lines: readonly string[],
  paint: Paint,
  isDim: (row: number) => boolean,
): string[] {
  return lines.map((line, row) => (row === 0 || isDim(row) ? paint('dim', line) : line));
}

function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  '),
  );
}
