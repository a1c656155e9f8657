/** `pullwarden records prune`: deletes the records of images that the runtime no longer has. */
import { invalidArgument, quote } from '../../../errors.ts';
import { problemOf } from '../../../records-tools/items.ts';
import { type RecordsReader, withReader, withWriter } from '../../../records-tools/open-store.ts';
import { type PrunePlan, planPrune, prune } from '../../../records-tools/prune.ts';
import { formatCount, plural } from '../../../terminal/format.ts';
import { LiveLine } from '../../../terminal/live-line.ts';
import { printable } from '../../../terminal/text.ts';
import { linesOf } from '../../../util/lines.ts';
import { type ParsedArgs, positionalsOf, requiredFlags } from '../../args.ts';
import { type Command, JSON_HELP, PROGRESS_HELP, progressTerminal } from '../../command.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { openInput } from '../../input.ts';
import { printJson, StandardOutput } from '../../output.ts';
import { ProblemReport } from '../../warnings.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from '../store-flags.ts';

export const pruneTool: Command = {
  summary: 'delete the records of images that the runtime no longer has',
  flags: {
    ...STORE_FLAGS,
    keep: { type: 'string' },
    until: { type: 'string' },
    'dry-run': { type: 'boolean' },
    'allow-empty': { type: 'boolean' },
    'allow-unmatched': { type: 'boolean' },
    json: { type: 'boolean' },
    progress: { type: 'boolean' },
  },
  help: {
    usage: 'records prune --keep FILE|- --until TIME [options]',
    about: [
      'Deletes each pulled record that was last updated before TIME and whose imageRef is not in the ' +
        'list of all images that the runtime has, one imageRef a line. Take TIME before you ask the ' +
        'runtime for its list. Intents, and records that cannot be read, stay.',
      'The list has to be whole and of imageRefs, not of names: without its record an image that is ' +
        'still on the node looks preloaded, and the default policy lets every pod use it. An imageRef ' +
        'is the field id of ListImages of the CRI: `crictl images --quiet --no-trunc` prints it.',
    ],
    options: [
      ...STORE_HELP,
      ['--keep FILE', 'the list; - for the standard input (required)'],
      ['--until TIME', 'for example 2026-01-31T12:00:00Z (required)'],
      ['--dry-run', 'only print what would be deleted (default: delete)'],
      ['--allow-empty', 'believe an empty list: delete all older records (default: refuse)'],
      [
        '--allow-unmatched',
        'believe a list that has none of the records: delete all older records (default: refuse)',
      ],
      JSON_HELP,
      PROGRESS_HELP,
    ],
    exitCodes: { [EXIT.FAILED]: 'could not run, not to the end, or records could not be read' },
    examples: ['pullwarden records prune --keep refs.txt --until 2026-01-31T12:00:00Z --dry-run'],
  },
  run: runPrune,
};

const SCHEMA = 'pullwarden.records.prune/1';

async function runPrune(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  positionalsOf(parsed, []);
  const { values } = parsed;
  const store = storeOf(parsed);
  const [keep, until] = requiredFlags(parsed, ['keep', 'until']);
  const untilMs = timeOf(until);
  const isDry = values['dry-run'] === true;
  const imageRefs = await readRefs(keep, signal);
  if (imageRefs.size === 0 && values['allow-empty'] !== true) {
    const problem = 'is empty: a runtime without images is rare, a command that failed is not';
    throw invalidArgument('--keep', `${problem}; give --allow-empty if it is so`);
  }
  const plan = async (reader: RecordsReader): Promise<PrunePlan> => {
    const planned = await planPrune(reader, imageRefs, untilMs);
    if (imageRefs.size > 0 && values['allow-unmatched'] !== true) checkMatched(planned);
    return planned;
  };
  const isJson = values.json === true;
  const output = new StandardOutput();
  const progress = new LiveLine(progressTerminal(parsed));
  const pruned: string[] = [];
  const onPruned = async (chunk: readonly string[]): Promise<void> => {
    for (const ref of chunk) pruned.push(ref);
    progress.update(() => `${formatCount(pruned.length)} records deleted`);
    const what = isDry ? 'would prune' : 'pruned';
    if (!isJson) for (const ref of chunk) await output.write(`${what}\t${printable(ref)}\n`);
  };
  let planned: PrunePlan | undefined;
  try {
    if (isDry) {
      planned = await withReader(store, plan);
      await onPruned(planned.prunable);
    } else {
      await withWriter(store, false, async (accessor) => {
        planned = await plan(accessor);
        await prune(accessor, planned, onPruned, signal);
      });
    }
  } finally {
    progress.clear();
    // Also what was deleted before it was interrupted or failed.
    if (!isJson) await output.end();
  }
  const { kept, errors } = planned!;
  if (isJson) {
    const result = { dryRun: isDry, pruned, kept, errors: errors.map(problemOf) };
    await printJson(SCHEMA, store.label, result);
  } else {
    const what = isDry ? 'would be pruned' : 'pruned';
    const sums = `${plural(pruned.length, 'record')} ${what}, ${formatCount(kept)} kept`;
    await output.write(`${sums}, ${plural(errors.length, 'error')}\n`);
    await output.end();
  }
  const report = new ProblemReport(false);
  for (const error of errors) report.add(problemOf(error));
  report.end();
  return errors.length === 0 ? EXIT.PASSED : EXIT.FAILED;
}

function checkMatched({ isUnmatched }: PrunePlan): void {
  if (!isUnmatched) return;
  const problem =
    'lists none of the records of the store: is it of imageRefs, and not of names? The record of an ' +
    'image that is still on the node keeps it from looking preloaded, which the default policy lets ' +
    'every pod use; give --allow-unmatched if none of these images is there any more';
  throw invalidArgument('--keep', problem);
}

async function readRefs(file: string, signal: AbortSignal): Promise<Set<string>> {
  const refs = new Set<string>();
  await using input = await openInput(file, '--keep', signal);
  for await (const { number, text } of linesOf(input.stream)) {
    if (text === undefined) throw invalidArgument('--keep', `line ${number}: is not UTF-8`);
    if (text !== '') refs.add(text);
  }
  return refs;
}

const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/;

function timeOf(text: string): number {
  const ms = ISO_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(ms)) return ms;
  const example = 'like 2026-01-31T12:00:00Z, with its zone';
  throw invalidArgument('--until', `must be a date and time ${example}, not ${quote(text)}`);
}
