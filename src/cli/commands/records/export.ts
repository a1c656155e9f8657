/** `pullwarden records export`: everything in a store as a file of lines. */
import { endLine, headerLine, itemLine } from '../../../records-tools/export-format.ts';
import { itemsOf, type TransferItem } from '../../../records-tools/items.ts';
import { withReader } from '../../../records-tools/open-store.ts';
import { formatCount, plural } from '../../../terminal/format.ts';
import { LiveLine } from '../../../terminal/live-line.ts';
import { type ParsedArgs, positionalsOf, UsageError } from '../../args.ts';
import { type Command, PROGRESS_HELP, progressTerminal } from '../../command.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { FileOutput, type Output, printJson, StandardOutput } from '../../output.ts';
import { ProblemReport, warn } from '../../warnings.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from '../store-flags.ts';

export const exportTool: Command = {
  summary: 'write everything in a store to a file',
  flags: {
    ...STORE_FLAGS,
    output: { type: 'string', short: 'o' },
    force: { type: 'boolean' },
    json: { type: 'boolean' },
    progress: { type: 'boolean' },
  },
  help: {
    usage: 'records export [options]',
    about: [
      'Writes all intents and pulled records, one JSON object a line (docs/records-format.md). The ' +
        'file has the hashes of credentials in it: it is readable to its owner only, and should stay so.',
    ],
    options: [
      ...STORE_HELP,
      ['--output FILE', 'where to; - for the standard output (default: -)'],
      ['--force', 'write over a file that is there (default: refuse)'],
      ['--json', 'print what was written as one JSON object; needs --output FILE'],
      PROGRESS_HELP,
    ],
    exitCodes: { [EXIT.FAILED]: 'could not run, not to the end, or records could not be read' },
    examples: ['pullwarden records export --store journal:./records --output records.ndjson'],
  },
  run: runExport,
};

const SCHEMA = 'pullwarden.records.export/1';

async function runExport(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  positionalsOf(parsed, []);
  const { values } = parsed;
  const store = storeOf(parsed);
  const path = (values.output as string | undefined) ?? '-';
  const isJson = values.json === true;
  if (isJson && path === '-') throw new UsageError('--json needs --output FILE');
  const progress = new LiveLine(progressTerminal(parsed));
  const report = new ProblemReport(isJson);
  const counts = { intents: 0, records: 0, damaged: 0 };
  try {
    await withReader(store, async (reader) => {
      await withOutput(path, values.force === true, signal, async (output) => {
        await output.write(headerLine());
        for await (const item of itemsOf(reader)) {
          signal.throwIfAborted();
          if (output.isClosed) return;
          await writeItem(item, output, counts, report);
          progress.update(() => `${formatCount(counts.intents + counts.records)} written`);
        }
        await output.write(endLine(counts));
      });
    });
  } finally {
    progress.clear();
  }
  report.end();
  if (isJson) {
    await printJson(SCHEMA, store.label, { output: path, ...counts, errors: report.all });
  } else if (path !== '-') {
    const sums = `${plural(counts.intents, 'intent')} and ${plural(counts.records, 'record')}`;
    process.stdout.write(`${sums} exported, ${formatCount(counts.damaged)} damaged\n`);
  }
  return counts.damaged === 0 ? EXIT.PASSED : EXIT.FAILED;
}

async function writeItem(
  item: TransferItem,
  output: Output,
  counts: { intents: number; records: number; damaged: number },
  report: ProblemReport,
): Promise<void> {
  if (item.kind === 'damaged') {
    counts.damaged++;
    report.add(item.problem);
    return;
  }
  if (item.kind === 'intent') counts.intents++;
  else counts.records++;
  await output.write(itemLine(item));
}

/** Gives `work` where the records go. A file is there as a whole, or not at all. */
async function withOutput(
  path: string,
  replaces: boolean,
  signal: AbortSignal,
  work: (output: Output) => Promise<void>,
): Promise<void> {
  if (path === '-') {
    if (process.stdout.isTTY === true) {
      warn('the hashes of credentials are about to be shown on a terminal: better --output FILE');
    }
    const output = new StandardOutput();
    await work(output);
    return output.end();
  }
  const file = await FileOutput.create(path, replaces, signal);
  try {
    await work(file);
    await file.end();
  } catch (error) {
    await file.discard();
    throw error;
  }
}
