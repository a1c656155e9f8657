/** What the tools for records have in common. */
import { formatCount } from '../../../storm/report/format.ts';
import { type Paint, paintFor } from '../../../storm/report/style.ts';
import type { Flag, ParsedArgs } from '../../args.ts';
import type { ExitCode } from '../../exit-codes.ts';
import type { HelpPage, HelpRow } from '../../help.ts';
import { printable } from '../../terminal-text.ts';

/** One tool: its flags, its help, and its work. */
export interface Tool {
  /** One line, for the list of tools. */
  readonly summary: string;
  readonly flags: Readonly<Record<string, Flag>>;
  readonly help: HelpPage;
  readonly run: (parsed: ParsedArgs, signal: AbortSignal) => Promise<ExitCode>;
}

export const JSON_HELP: HelpRow = ['--json', 'print the result as one JSON object'];
export const COLOR_HELP: HelpRow = ['--no-color', 'no colours (also: NO_COLOR)'];
export const PROGRESS_HELP: HelpRow = ['--no-progress', 'no live line, even on a terminal'];

/** Columns of the terminal that takes the result; undefined where it is none. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY === true ? process.stdout.columns || 80 : undefined;
}

/** Colours as they are wanted on the standard output. */
export function paintOf({ values }: ParsedArgs): Paint {
  const wanted = values.color === undefined ? undefined : values.color === true;
  return paintFor(process.stdout, process.env, wanted);
}

/** One line on stderr, harmless whatever it names. */
export function warn(text: string): void {
  process.stderr.write(`pullwarden: ${printable(text)}\n`);
}

const PROBLEMS_SHOWN = 20;

/** Reports the first problems on stderr, and counts the rest. */
export class ProblemReport {
  readonly #all: string[] = [];
  #count = 0;
  readonly #keeps: boolean;

  /** @param keeps - whether all problems are kept, for `--json`. */
  constructor(keeps: boolean) {
    this.#keeps = keeps;
  }

  /** What was reported, if it is kept. */
  get all(): readonly string[] {
    return this.#all;
  }

  add(problem: string): void {
    this.#count++;
    if (this.#keeps) this.#all.push(problem);
    if (this.#count <= PROBLEMS_SHOWN) warn(problem);
  }

  /** Says how many there were beyond those shown. */
  end(): void {
    const hidden = this.#count - PROBLEMS_SHOWN;
    if (hidden > 0) warn(`${formatCount(hidden)} more of this kind, not shown`);
  }
}
