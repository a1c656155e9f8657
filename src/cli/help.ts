/** Help pages: all of one look, no line wider than 100 columns. */
import { EXIT } from './exit-codes.ts';

/** A flag with its placeholder, or a word, and what it does. */
export type HelpRow = readonly [flag: string, help: string];

/** Rows under a title of their own. */
export interface HelpSection {
  readonly title: string;
  readonly rows: readonly HelpRow[];
}

/** What `--help` shows. */
export interface HelpPage {
  /** After `pullwarden`. */
  readonly usage: string;
  /** Paragraphs. */
  readonly about: readonly string[];
  /** Above the options. @default none */
  readonly section?: HelpSection;
  readonly options: readonly HelpRow[];
  /** Meaning of exit codes beyond those of every command, by code. */
  readonly exitCodes?: Readonly<Record<number, string>>;
  /** Command lines, at least one. */
  readonly examples: readonly string[];
}

const HELP_WIDTH = 100;

/** The text of a help page, ending in a line break. */
export function helpText({
  usage,
  about,
  section,
  options,
  exitCodes,
  examples,
}: HelpPage): string {
  const codes = Object.entries({
    [EXIT.PASSED]: 'passed',
    [EXIT.FAILED]: 'could not run, or not to the end',
    [EXIT.USAGE]: 'wrong usage',
    [EXIT.INTERRUPTED]: 'interrupted',
    ...exitCodes,
  }).map(([code, meaning]) => `${code} ${meaning}`);
  const blocks = [
    `Usage: pullwarden ${usage}`,
    ...about.map((paragraph) => wrapped(paragraph, 0)),
    ...(section === undefined ? [] : [titled(section)]),
    titled({ title: 'Options', rows: options }),
    wrapped(`Exit codes: ${codes.join(', ')}.`, 0),
    [examples.length === 1 ? 'Example:' : 'Examples:', ...examples].join('\n  '),
  ];
  return `${blocks.join('\n\n')}\n`;
}

/** Two columns: flags, and what they do. */
function titled({ title, rows }: HelpSection): string {
  const width = Math.max(...rows.map(([flag]) => flag.length));
  const lines = rows.map(([flag, help]) => `  ${flag.padEnd(width)}  ${wrapped(help, width + 4)}`);
  return [`${title}:`, ...lines].join('\n');
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
