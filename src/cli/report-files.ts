/** The reports of a storm that flags ask for: opened before it, written after it. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { htmlReport } from '../storm/report/html/report.ts';
import { junitReport } from '../storm/report/junit.ts';
import { markdownReport } from '../storm/report/markdown.ts';
import type { StormResult } from '../storm/result-schema.ts';
import { type Flag, type ParsedArgs, UsageError } from './args.ts';
import type { HelpRow } from './help.ts';
import { FileOutput } from './output.ts';

const REPORTS = {
  html: ['a page with charts', htmlReport],
  markdown: ['a report for a pull request', markdownReport],
  junit: ['a report for CI systems', junitReport],
} as const;
type ReportName = keyof typeof REPORTS;
const NAMES = Object.keys(REPORTS) as ReportName[];

export const REPORT_FLAGS: Readonly<Record<string, Flag>> = Object.fromEntries(
  NAMES.map((name) => [name, { type: 'string' }]),
);
export const REPORT_HELP: readonly HelpRow[] = NAMES.map((name) => [
  `--${name} FILE`,
  `write ${REPORTS[name][0]} (default: none)`,
]);

/** A file, and what names it on the command line. */
export interface NamedFile {
  readonly what: string;
  readonly path: string;
}

/**
 * Throws `UsageError` for a report without a name, and for one that would replace another or what is
 * read. Devices may be named as often as wanted.
 */
export function refuseOneFile(reports: readonly NamedFile[], inputs: readonly NamedFile[]): void {
  for (const [index, { what, path }] of reports.entries()) {
    if (path === '') throw new UsageError(`${what} needs the name of a file`);
    const other = [...reports.slice(index + 1), ...inputs].find((one) => isOneFile(path, one.path));
    if (other !== undefined) {
      throw new UsageError(`${what} and ${other.what} name one file: ${path}`);
    }
  }
}

function isOneFile(a: string, b: string): boolean {
  const [ofA, ofB] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }));
  if (ofA === undefined || ofB === undefined) return resolve(a) === resolve(b);
  return ofA.isFile() && ofA.dev === ofB.dev && ofA.ino === ofB.ino;
}

/** Files for reports. A file that is there is replaced, and only by a whole report. */
export class ReportFiles {
  readonly #files: readonly { readonly name: ReportName; readonly output: FileOutput }[];

  private constructor(files: readonly { name: ReportName; output: FileOutput }[]) {
    this.#files = files;
  }

  /**
   * Begins every file, so that a place that cannot be written to is found before the storm.
   *
   * @param inputs - Files that are read, which no report may replace.
   * @param signal - Ends the wait for who reads a pipe.
   * @throws `UsageError` for an empty name, or a file named twice; else an error that names the file.
   */
  static async begin(
    { values }: ParsedArgs,
    inputs: readonly NamedFile[] = [],
    signal?: AbortSignal,
  ): Promise<ReportFiles> {
    const wanted = NAMES.flatMap((name) => {
      const path = values[name];
      return typeof path === 'string' ? [{ name, path }] : [];
    });
    refuseOneFile(
      wanted.map(({ name, path }) => ({ what: `--${name}`, path })),
      inputs,
    );
    const files: { name: ReportName; output: FileOutput }[] = [];
    try {
      for (const { name, path } of wanted) {
        files.push({ name, output: await FileOutput.create(path, true, signal) });
      }
    } catch (error) {
      await new ReportFiles(files).discard();
      throw error;
    }
    return new ReportFiles(files);
  }

  /** Writes every report. Rejects where one cannot be written; the others are there. */
  async write(result: StormResult): Promise<void> {
    const errors: unknown[] = [];
    for (const { name, output } of this.#files) {
      try {
        await output.write(REPORTS[name][1](result));
        await output.end();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Gives up what is not written yet: nothing is left of it. */
  async discard(): Promise<void> {
    for (const { output } of this.#files) await output.discard();
  }
}
