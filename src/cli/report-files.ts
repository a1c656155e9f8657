/** The reports of a storm that flags ask for: opened before it, written after it. */
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

/** Files for reports. A file that is there is replaced, and only by a whole report. */
export class ReportFiles {
  readonly #files: readonly { readonly name: ReportName; readonly output: FileOutput }[];

  private constructor(files: readonly { name: ReportName; output: FileOutput }[]) {
    this.#files = files;
  }

  /**
   * Begins every file, so that a place that cannot be written to is found before the storm.
   *
   * @throws `UsageError` for an empty name, or one given twice; else an error that names the file.
   */
  static async begin({ values }: ParsedArgs): Promise<ReportFiles> {
    const wanted = NAMES.flatMap((name) => {
      const path = values[name];
      return typeof path === 'string' ? [{ name, path }] : [];
    });
    for (const { name, path } of wanted) {
      if (path === '') throw new UsageError(`--${name} needs the name of a file`);
      const other = wanted.find((one) => one.name !== name && one.path === path);
      if (other !== undefined) {
        throw new UsageError(`--${name} and --${other.name} name one file: ${path}`);
      }
    }
    const files: { name: ReportName; output: FileOutput }[] = [];
    try {
      for (const { name, path } of wanted) {
        files.push({ name, output: await FileOutput.create(path, true) });
      }
    } catch (error) {
      await new ReportFiles(files).discard();
      throw error;
    }
    return new ReportFiles(files);
  }

  /** Writes every report. Rejects where one cannot be written; those before it are there. */
  async write(result: StormResult): Promise<void> {
    for (const { name, output } of this.#files) {
      await output.write(REPORTS[name][1](result));
      await output.end();
    }
  }

  /** Gives up what is not written yet: nothing is left of it. */
  async discard(): Promise<void> {
    for (const { output } of this.#files) await output.discard();
  }
}
