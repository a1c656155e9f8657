/** A comparison as text, for terminals and for pull requests. */
import { plural } from '../../terminal/format.ts';
import { type Paint, PLAIN } from '../../terminal/style.ts';
import { type Column, tableLines } from '../../terminal/table.ts';
import { harmless, printable } from '../../terminal/text.ts';
import { formatMetric } from '../report/verdict.ts';
import type { ComparedSide, Comparison, MetricComparison, Verdict } from './comparison.ts';

const WORDS: Readonly<Record<Verdict, string>> = {
  regression: 'worse',
  improvement: 'better',
  unchanged: 'unchanged',
  noise: 'within noise',
  untold: 'too few runs',
};
const STYLES: Partial<Record<Verdict, 'red' | 'green'>> = {
  regression: 'red',
  improvement: 'green',
};
const LEGEND = '* decides. A, B: medians. change: the middle one of all differences between runs.';
/** Of a table that goes to no terminal. */
const WIDTH = 120;

/** A relative change with its sign, for example `+12.3 %`. */
export function formatChange(change: number | undefined): string {
  if (change === undefined) return '';
  const percent = change * 100;
  const digits = Math.abs(percent) < 99.95 ? 1 : 0;
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(digits)} %`;
}

/** The comparison for people, ending in a line break. */
export function comparisonText(
  comparison: Comparison,
  paint: Paint = PLAIN,
  width: number = WIDTH,
): string {
  const { metrics, warnings, passed, scenario } = comparison;
  const rows = metrics.map(rowOf);
  const [head = '', ...lines] = tableLines(COLUMNS, rows, width);
  const body = lines.map((line, i) => {
    const style = STYLES[metrics[i]!.verdict];
    return style === undefined ? line : paint(style, line);
  });
  const text = [
    paint('bold', `pullwarden compare  ${printable(scenario)}`),
    ...sides(comparison).map((line) => paint('dim', line)),
    '',
    paint('dim', head),
    ...body,
    paint('dim', LEGEND),
    '',
    ...warnings.map((warning) => `${paint('yellow', 'note')}  ${printable(warning)}`),
    paint(passed ? 'green' : 'red', conclusion(comparison)),
  ];
  return `${text.join('\n')}\n`;
}

/** The comparison as GitHub-flavoured Markdown, ending in a line break. */
export function comparisonMarkdown(comparison: Comparison): string {
  const { metrics, warnings, passed, scenario } = comparison;
  const table = (of: readonly MetricComparison[]): string[] => [
    `| ${COLUMNS.map(({ title }) => title).join(' | ')} |`,
    `| ${COLUMNS.map(({ align }) => (align === 'right' ? '---:' : '---')).join(' | ')} |`,
    ...of.map((metric) => `| ${rowOf(metric).map(escaped).join(' | ')} |`),
  ];
  const gating = metrics.filter(({ isGating }) => isGating);
  const others = metrics.filter(({ isGating }) => !isGating);
  const lines = [
    `### ${passed ? '✅' : '❌'} pullwarden compare: ${escaped(scenario)}`,
    '',
    escaped(conclusion(comparison)),
    '',
    ...table(gating),
    '',
    ...warnings.map((warning) => `> ${escaped(warning)}\n`),
  ];
  if (others.length > 0) {
    const summary = `${plural(others.length, 'other metric')}, for information`;
    lines.push(
      `<details><summary>${summary}</summary>`,
      '',
      ...table(others),
      '',
      '</details>',
      '',
    );
  }
  lines.push(...sides(comparison).map((line) => `- ${escaped(line)}`));
  return `${lines.join('\n')}\n`;
}

const COLUMNS: readonly Column[] = [
  { title: 'metric' },
  { title: 'A', align: 'right' },
  { title: 'B', align: 'right' },
  { title: 'change', align: 'right' },
  { title: 'band', align: 'right' },
  { title: 'verdict' },
];

function rowOf({
  metric,
  unit,
  isGating,
  a,
  b,
  change,
  band,
  verdict,
}: MetricComparison): string[] {
  return [
    isGating ? `${metric} *` : metric,
    formatMetric(a.median, unit),
    formatMetric(b.median, unit),
    formatChange(change),
    band === undefined ? '' : `${formatChange(band.low)} to ${formatChange(band.high)}`,
    WORDS[verdict],
  ];
}

function sides({ a, b }: Comparison): string[] {
  const line = (letter: string, { label, machine, startedAt, runCount }: ComparedSide): string =>
    `${letter}: ${printable(label)}, ${plural(runCount, 'run')} from ${startedAt}, ` +
    `pullwarden ${machine.pullwarden}, Node ${machine.node}, ${machine.cpu} (${machine.cores})`;
  return [line('A', a), line('B', b)].map(printable);
}

/** One sentence with the outcome. */
function conclusion({ metrics, regressions, maxRegression, passed }: Comparison): string {
  const limit = `${(maxRegression * 100).toFixed(1).replace('.0', '')} %`;
  if (passed) {
    const gating = metrics.filter(({ isGating }) => isGating).map(({ metric }) => metric);
    return `PASSED: no change for the worse beyond ${limit} of ${gating.join(', ')}`;
  }
  if (regressions.length === 0) return 'FAILED: too few runs to tell a change from noise';
  const changes = metrics
    .filter(({ metric }) => regressions.includes(metric))
    .map(({ metric, change }) => `${metric} ${formatChange(change)}`);
  return `FAILED: worse by more than ${limit}: ${changes.join(', ')}`;
}

function escaped(text: string): string {
  return harmless(text).replace(/[\\|<>*_`[\]]/g, (char) => `\\${char}`);
}
