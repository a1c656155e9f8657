/** The summary of a storm, for people. */
import { formatCount, plural } from '../../terminal/format.ts';
import { type Paint, PLAIN } from '../../terminal/style.ts';
import { harmlessTexts } from '../../terminal/text.ts';
import type { StormResult, ThresholdResult } from '../result-schema.ts';
import type { WrongAnswer } from '../wrong-answer.ts';
import { type Figure, figuresOf } from './summary-figures.ts';
import { operationTable, rampText, stageTable } from './summary-tables.ts';
import { formatMetric, stormVerdict } from './verdict.ts';

const WIDTH = 80;
const LABEL_WIDTH = 14;
/** Wrong answers that are printed in full. */
const WRONG_SHOWN = 5;

/** The summary as text, ending in a line break. */
export function formatSummary(given: StormResult, paint: Paint = PLAIN): string {
  // Names of files, stages, images and what stores say may come from anybody.
  const result = harmlessTexts(given);
  const lines = [
    `${paint('bold', `pullwarden storm ${result.scenario}`)}  seed ${result.seed}`,
    ...wrapped(settings(result), ' · ', WIDTH).map((line) => paint('dim', line)),
    '',
    ...operationTable(result, paint),
    ...stageTable(result, paint),
    '',
    ...figuresOf(result).flatMap((figure) => labelled(figure, paint)),
    ...result.thresholds.flatMap((threshold) => thresholdLines(threshold, paint)),
    ...wrongLines(result, paint),
    '',
    ...verdictLines(result, paint),
  ];
  return `${lines.join('\n')}\n`;
}

function settings(result: StormResult): string[] {
  const { images, tenants, load, stages, workers, storeLabel, policy } = result;
  const ofStages = stages.length > 1 ? [plural(stages.length, 'stage')] : [];
  const ofLoad =
    load.model === 'open'
      ? [`${rampText(load)} requests/s`, `up to ${plural(load.callersMax, 'caller')}`]
      : [`${rampText(load)} callers`];
  return [
    ...(stages.length > 1 ? ofStages : ofLoad),
    plural(images, 'image'),
    plural(tenants, 'tenant'),
    plural(workers, 'worker'),
    storeLabel,
    policy,
  ];
}

/** Parts in lines of a width, each part whole. */
function wrapped(parts: readonly string[], separator: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of parts) {
    const longer = line === '' ? part : line + separator + part;
    if (line !== '' && longer.length > width) {
      lines.push(line);
      line = part;
    } else {
      line = longer;
    }
  }
  return [...lines, line];
}

function labelled([label, text]: Figure, paint: Paint): string[] {
  return wrapped(text.split(' '), ' ', WIDTH - LABEL_WIDTH - 1).map(
    (line, index) => `${paint('dim', (index === 0 ? label : '').padEnd(LABEL_WIDTH))} ${line}`,
  );
}

function thresholdLines(threshold: ThresholdResult, paint: Paint): string[] {
  const { rule, metric, actual, unit, passed } = threshold;
  const mark = passed ? paint('green', 'kept') : paint('red', 'crossed');
  const about = rule.startsWith(metric) ? '' : ` ${metric}`;
  const text = `${rule} ${mark}:${about} ${formatMetric(actual, unit)}`;
  return [`${paint('dim', 'threshold'.padEnd(LABEL_WIDTH))} ${text}`];
}

function wrongLines(result: StormResult, paint: Paint): string[] {
  const lines: string[] = [];
  for (const wrong of result.wrong.slice(0, WRONG_SHOWN)) {
    lines.push('', paint('red', 'wrong decision'), ...formatWrong(wrong, result.command));
  }
  const more = result.wrongDecisions - Math.min(WRONG_SHOWN, result.wrong.length);
  if (more > 0) lines.push('', `and ${formatCount(more)} more wrong decisions`);
  if (result.problems.length > 0) {
    lines.push('', paint('red', 'wrong records'), `  replay      ${result.command}`);
    lines.push(...result.problems.map((text) => `  ${text}`));
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

function verdictLines(result: StormResult, paint: Paint): string[] {
  const { word, reasons } = stormVerdict(result);
  const style = word === 'PASSED' ? 'green' : 'red';
  const words = `${word}: ${reasons.join('; ')}`.split(' ');
  return wrapped(words, ' ', WIDTH).map((line) => paint(style, line));
}
