/** `pullwarden records import`: brings records of a file, or of another store, into a store. */
import { invalidArgument, quote } from '../../../errors.ts';
import { readExport } from '../../../records-tools/export-format.ts';
import {
  type ImportOptions,
  type ImportResult,
  importRecords,
  lossesOf,
} from '../../../records-tools/import-records.ts';
import { itemsOf, type TransferItem } from '../../../records-tools/items.ts';
import { CONFLICT_MODES, type ConflictMode } from '../../../records-tools/merge-records.ts';
import { withReader, withWriter } from '../../../records-tools/open-store.ts';
import { formatCount } from '../../../terminal/format.ts';
import { LiveLine } from '../../../terminal/live-line.ts';
import { suggestion } from '../../../util/suggest.ts';
import { type ParsedArgs, positionalsOf, UsageError } from '../../args.ts';
import { type Command, JSON_HELP, PROGRESS_HELP, progressTerminal } from '../../command.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { openInput } from '../../input.ts';
import { printJson } from '../../output.ts';
import { LossReport, ProblemReport } from '../../warnings.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from '../store-flags.ts';

export const importTool: Command = {
  summary: 'bring the records of a file or another store into a store',
  flags: {
    ...STORE_FLAGS,
    from: { type: 'string' },
    'from-options': { type: 'string' },
    'on-conflict': { type: 'string' },
    json: { type: 'boolean' },
    progress: { type: 'boolean' },
  },
  help: {
    usage: 'records import FILE|- | --from KIND:PATH [options]',
    about: [
      'Brings in a file of `records export`, or what another store holds, and makes the store if it is ' +
        'not there. It may be broken off and repeated: the result is the same. What cannot be read ' +
        'is named and counted. A record is simplified where the store has no place for a detail, as a ' +
        'kubelet has none for milliseconds; what it proves stays, or is asked for again.',
    ],
    options: [
      ['--from KIND:PATH', 'the store that is read, in place of a file'],
      ['--from-options JSON', 'as --store-options, for --from (default: nothing)'],
      ...STORE_HELP,
      [
        '--on-conflict HOW',
        'a record that is there already: merge, keep it, or replace it (default: merge)',
      ],
      JSON_HELP,
      PROGRESS_HELP,
    ],
    exitCodes: { [EXIT.FAILED]: 'could not run, not to the end, or entries were left out' },
    examples: [
      'pullwarden records import --from kubelet:./image_manager --store journal:./records',
    ],
  },
  run: runImport,
};

const SCHEMA = 'pullwarden.records.import/1';

async function runImport(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  const { values } = parsed;
  const target = storeOf(parsed);
  const onConflict = conflictOf(values['on-conflict'] as string | undefined);
  const isJson = values.json === true;
  const progress = new LiveLine(progressTerminal(parsed));
  const report = new ProblemReport(isJson);
  const lossReport = new LossReport(isJson);
  const options: ImportOptions = {
    onConflict,
    losses: lossesOf(target),
    onProblem: (problem) => {
      progress.clear();
      report.add(problem);
    },
    onLosses: (imageRef, losses) => lossReport.add(imageRef, losses),
    onProgress: (done) => progress.update(() => `${formatCount(done)} done`),
    signal,
  };
  let result: ImportResult;
  try {
    result = await withSource(parsed, signal, (items) =>
      withWriter(target, true, (accessor) => importRecords(items, accessor, options)),
    );
  } finally {
    progress.clear();
    report.end();
    lossReport.end();
  }
  const errors = [...report.all, ...lossReport.all];
  if (isJson) await printJson(SCHEMA, target.label, { ...result, errors });
  else process.stdout.write(textOf(result));
  return result.damaged + result.refused === 0 ? EXIT.PASSED : EXIT.FAILED;
}

/** Opens the source before the target: a source that is not there makes no target. */
async function withSource<T>(
  parsed: ParsedArgs,
  signal: AbortSignal,
  work: (items: AsyncIterable<TransferItem>) => Promise<T>,
): Promise<T> {
  const { values } = parsed;
  if (values.from !== undefined) {
    positionalsOf(parsed, []);
    return withReader(storeOf(parsed, 'from'), (reader) => work(itemsOf(reader)));
  }
  if (values['from-options'] !== undefined) throw new UsageError('--from-options needs --from');
  if (parsed.positionals.length === 0) {
    throw new UsageError('nothing to import: give a FILE, - for the standard input, or --from');
  }
  const [file] = positionalsOf(parsed, ['FILE']);
  const name = file === '-' ? 'standard input' : file;
  await using input = await openInput(file, 'import', signal);
  return await work(await readExport(input.stream, name));
}

function conflictOf(text: string | undefined): ConflictMode {
  if (text === undefined) return 'merge';
  const mode = CONFLICT_MODES.find((known) => known === text);
  if (mode !== undefined) return mode;
  const problem = `must be one of ${CONFLICT_MODES.join(', ')}, not ${quote(text)}${suggestion(text, CONFLICT_MODES)}`;
  throw invalidArgument('--on-conflict', problem);
}

function textOf({ intents, records, damaged, refused, lossy }: ImportResult): string {
  const outcomes = Object.entries(records).map(([what, n]) => `${formatCount(n)} ${what}`);
  const ends = [`${formatCount(damaged)} damaged`, `${formatCount(refused)} refused`];
  return (
    `intents: ${formatCount(intents.added)} added, ${formatCount(intents.unchanged)} unchanged\n` +
    `records: ${outcomes.join(', ')}\n` +
    `${ends.join(', ')}, ${formatCount(lossy)} simplified\n`
  );
}
