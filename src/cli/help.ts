/** Help pages: all of one look, no line wider than 100 columns. */
import { EXIT } from './exit-codes.ts';

/** A flag with its placeholder, and what it does. */
export type HelpRow = readonly [flag: string, help: string];

/** What `--help` of a command shows. */
export interface HelpPage {
  /** After `pullwarden`. */
  readonly usage: string;
  /** Paragraphs. */
  readonly about: readonly string[];
  readonly options: readonly HelpRow[];
  /** Meaning of exit codes beyond those of every command, by code. */
  readonly exitCodes?: Readonly<Record<number, string>>;
  readonly example: string;
}

/** Flags of every command, at the end of its list. */
export const COMMON_HELP: readonly HelpRow[] = [
  ['--debug', 'show the stack of an error'],
  ['--help', 'show this help'],
];

const HELP_WIDTH = 100;

/** The text of a help page, ending in a line break. */
export function helpText({ usage, about, options, exitCodes, example }: HelpPage): string {
  const rows = [...options, ...COMMON_HELP];
  const codes = Object.entries({
    [EXIT.PASSED]: 'passed',
    [EXIT.FAILED]: 'could not run, or not to the end',
    [EXIT.USAGE]: 'wrong usage',
    [EXIT.INTERRUPTED]: 'interrupted',
    ...exitCodes,
  }).map(([code, meaning]) => `${code} ${meaning}`);
  return `Usage: pullwarden ${usage}

${about.map((paragraph) => wrapped(paragraph, 0)).join('\n\n')}

Options:
${helpRows(rows)}

${wrapped(`Exit codes: ${codes.join(', ')}.`, 0)}

Example:
  ${example}
`;
}

/** Two columns: flags, and what they do. */
export function helpRows(rows: readonly HelpRow[]): string {
  const width = Math.max(...rows.map(([flag]) => flag.length));
  return rows
    .map(([flag, help]) => `  ${flag.padEnd(width)}  ${wrapped(help, width + 4)}`)
    .join('\n');
}

/** The text in lines that fit beside a column of `indent` characters. */
function wrapped(text: string, indent: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > HELP_WIDTH - indent) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
}
