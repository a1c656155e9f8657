/** `pullwarden compare`: what changed between the storms of two builds, and what is only noise. */
import { invalidArgument, quote } from '../../errors.ts';
import { compareResults, MAX_REGRESSION_DEFAULT } from '../../storm/compare/compare.ts';
import { readResults } from '../../storm/compare/read-results.ts';
import { comparisonMarkdown, comparisonText } from '../../storm/compare/report.ts';
import { htmlComparison } from '../../storm/report/html/comparison-page.ts';
import { type ParsedArgs, positionalsOf } from '../args.ts';
import { COLOR_HELP, type Command, JSON_HELP, paintOf, terminalWidth } from '../command.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { FileOutput, StandardOutput } from '../output.ts';
import { refuseOneFile } from '../report-files.ts';

const DEFAULT_PERCENT = `${MAX_REGRESSION_DEFAULT * 100}%`;

export const compareCommand: Command = {
  summary: 'compare the storms of two builds: what changed, and what is only noise',
  flags: {
    'max-regression': { type: 'string' },
    metric: { type: 'string', multiple: true },
    force: { type: 'boolean' },
    json: { type: 'boolean' },
    html: { type: 'string' },
    markdown: { type: 'string' },
  },
  help: {
    usage: 'compare A B [options]',
    about: [
      'Compares the results of the same storm with two builds, metric by metric. A and B are files with ' +
        'what `storm --json` printed, one result or several on lines of their own; each run counts as one ' +
        'measurement. A metric got worse where its change is beyond the limit and its band excludes that ' +
        'there is none. Best measured in turns: see docs/ci.md.',
    ],
    options: [
      [
        '--max-regression SHARE',
        `change for the worse that is accepted, for example 5% (default: ${DEFAULT_PERCENT})`,
      ],
      [
        '--metric NAME',
        'fail on this metric, a name or a pattern; repeatable (default: cpuPerOperation under closed ' +
          'load, decide.p99 and recordImagePulled.p99 under open load)',
      ],
      [
        '--force',
        'compare what was measured on different machines, or of one scenario with different settings ' +
          '(default: refuse)',
      ],
      JSON_HELP,
      ['--html FILE', 'write a page with the charts of both, one over the other (default: none)'],
      ['--markdown FILE', 'write the comparison for a pull request (default: none)'],
      COLOR_HELP,
    ],
    exitCodes: {
      [EXIT.FAILED]: 'could not run, or too few runs to tell',
      [EXIT.CROSSED]: 'a metric got worse',
    },
    examples: [
      'pullwarden storm --concurrency 64 --seed 1 --json >> main.jsonl   # with one build',
      'pullwarden storm --concurrency 64 --seed 1 --json >> branch.jsonl # the other; 8 such turns',
      'pullwarden compare main.jsonl branch.jsonl --max-regression 10% --html compare.html',
    ],
  },
  run: compare,
};

async function compare(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  const [pathOfA, pathOfB] = positionalsOf(parsed, ['A', 'B']);
  const { values } = parsed;
  const maxRegression = shareOf(values['max-regression'] as string | undefined);
  const reports = (['html', 'markdown'] as const).flatMap((name) => {
    const path = values[name] as string | undefined;
    return path === undefined ? [] : [{ what: `--${name}`, path }];
  });
  refuseOneFile(reports, [
    { what: 'A', path: pathOfA },
    { what: 'B', path: pathOfB },
  ]);
  const a = await readResults(pathOfA, signal);
  const b = await readResults(pathOfB, signal);
  const comparison = compareResults(a, b, {
    maxRegression,
    metrics: (values.metric ?? []) as readonly string[],
    force: values.force === true,
    labels: [pathOfA, pathOfB],
  });
  const output = new StandardOutput();
  await output.write(
    values.json === true
      ? `${JSON.stringify(comparison)}\n`
      : comparisonText(comparison, paintOf(parsed), terminalWidth()),
  );
  await output.end();
  const { html, markdown } = values;
  const write = (path: string, text: string): Promise<void> => writeFile(path, text, signal);
  if (html !== undefined) await write(html as string, htmlComparison(comparison, a, b));
  if (markdown !== undefined) await write(markdown as string, comparisonMarkdown(comparison));
  if (comparison.passed) return EXIT.PASSED;
  return comparison.regressions.length > 0 ? EXIT.CROSSED : EXIT.FAILED;
}

const SHARE = /^(\d+(?:\.\d+)?)(%?)$/;

/** `10%` or `0.1` as a share. */
function shareOf(text = DEFAULT_PERCENT): number {
  const match = SHARE.exec(text);
  const share = Number(match?.[1]) / (match?.[2] === '%' ? 100 : 1);
  if (share > 0 && share < 1) return share;
  const problem = `${quote(text)} is no share above 0 and below 1: write 10% or 0.1`;
  throw invalidArgument('--max-regression', problem);
}

/** A report takes the place of the last one. */
async function writeFile(path: string, text: string, signal: AbortSignal): Promise<void> {
  const file = await FileOutput.create(path, true, signal);
  try {
    await file.write(text);
    await file.end();
  } catch (error) {
    await file.discard();
    throw error;
  }
}
