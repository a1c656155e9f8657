/** `pullwarden records list`: the intents and pulled records of a store, a line each. */
import type { PullManagerError } from '../../../errors.ts';
import { compareUtf8, type PulledRecord } from '../../../records/record.ts';
import { problemOf, sortedRecords } from '../../../records-tools/items.ts';
import { type RecordsReader, withReader } from '../../../records-tools/open-store.ts';
import {
  intentFilter,
  type RecordSummary,
  recordFilter,
  summaryOf,
} from '../../../records-tools/summaries.ts';
import { formatCount, plural } from '../../../terminal/format.ts';
import { type Column, tableLines } from '../../../terminal/table.ts';
import { type ParsedArgs, positionalsOf } from '../../args.ts';
import { COLOR_HELP, type Command, JSON_HELP, paintOf, terminalWidth } from '../../command.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { type Output, StandardOutput } from '../../output.ts';
import { ProblemReport } from '../../warnings.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from '../store-flags.ts';

export const listTool: Command = {
  summary: 'list intents and pulled records',
  flags: {
    ...STORE_FLAGS,
    intents: { type: 'boolean' },
    pulled: { type: 'boolean' },
    image: { type: 'string' },
    namespace: { type: 'string' },
    json: { type: 'boolean' },
  },
  help: {
    usage: 'records list [options]',
    about: [
      'Lists intents and pulled records, in the order of their keys. On a terminal the table is cut to ' +
        'its width, and what matters less left out; elsewhere it is tab-separated and whole, and the first line names the columns. ' +
        'What is unprintable is written as \\u{…}. Hashes are not shown.',
    ],
    options: [
      ...STORE_HELP,
      ['--intents', 'only intents (default: both)'],
      ['--pulled', 'only pulled records (default: both)'],
      ['--image NAME', 'only of this image, whatever its tag or digest (default: all)'],
      [
        '--namespace NS',
        'only records that a secret or service account of it has opened (default: all)',
      ],
      JSON_HELP,
      COLOR_HELP,
    ],
    examples: ['pullwarden records list --store journal:./records --namespace team-a'],
  },
  run: list,
};

const SCHEMA = 'pullwarden.records.list/1';

const COLUMNS: readonly Column[] = [
  { title: 'KIND' },
  { title: 'KEY', shrinksTo: 24, shortened: withShortDigests },
  { title: 'NAMES', shrinksTo: 20, shortened: withShortDigests },
  { title: 'SECRETS', align: 'right', dropped: 3 },
  { title: 'ACCOUNTS', align: 'right', dropped: 2 },
  { title: 'NODE-WIDE', dropped: 4 },
  { title: 'UPDATED', dropped: 1 },
];

/** Long hexadecimal numbers by their first 12 digits: enough to tell images apart. */
function withShortDigests(text: string): string {
  return text.replace(/\b([\da-f]{12})[\da-f]{20,}\b/gi, '$1…');
}

interface Listed {
  readonly intents: readonly string[];
  readonly records: readonly PulledRecord[];
  readonly errors: readonly PullManagerError[];
}

async function list(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  positionalsOf(parsed, []);
  const store = storeOf(parsed);
  const listed = await withReader(store, (reader) => read(reader, parsed));
  signal.throwIfAborted();
  const output = new StandardOutput();
  if (parsed.values.json === true) await printListing(listed, store.label, output, signal);
  else await printTable(listed, parsed, output, signal);
  await output.end();
  const problems = new ProblemReport(false);
  for (const error of listed.errors) problems.add(problemOf(error));
  problems.end();
  return listed.errors.length === 0 ? EXIT.PASSED : EXIT.FAILED;
}

async function read(reader: RecordsReader, { values }: ParsedArgs): Promise<Listed> {
  const image = values.image as string | undefined;
  const namespace = values.namespace as string | undefined;
  // Both flags are as good as none.
  const isAll = (values.intents === true) === (values.pulled === true);
  const none = { records: [], errors: [] };
  const wantsIntents = isAll || values.intents === true;
  const intents = wantsIntents ? await reader.listImagePullIntents() : none;
  const wantsPulled = isAll || values.pulled === true;
  const pulled = wantsPulled ? await reader.listImagePulledRecords() : none;
  const isWantedIntent = intentFilter({ image, namespace });
  return {
    intents: intents.records
      .map((intent) => intent.image)
      .filter(isWantedIntent)
      .sort(compareUtf8),
    records: sortedRecords(pulled.records.filter(recordFilter({ image, namespace }))),
    errors: [...intents.errors, ...pulled.errors],
  };
}

async function printTable(
  { intents, records, errors }: Listed,
  parsed: ParsedArgs,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const rows = [
    ...intents.map((image) => ['intent', image, '-', '-', '-', '-', '-']),
    ...records.map((record) => rowOf(summaryOf(record))),
  ];
  const width = terminalWidth();
  const paint = paintOf(parsed);
  let isTitle = true;
  for (const line of tableLines(COLUMNS, rows, width)) {
    if (output.isClosed) return;
    signal.throwIfAborted();
    await output.write(`${isTitle ? paint('bold', line) : line}\n`);
    isTitle = false;
  }
  if (width === undefined) return;
  const summary = `${plural(intents.length, 'intent')}, ${plural(records.length, 'pulled record')}`;
  const damaged = errors.length === 0 ? '' : `, ${formatCount(errors.length)} damaged`;
  await output.write(`\n${paint('dim', summary + damaged)}\n`);
}

function rowOf({ imageRef, lastUpdatedTime, names }: RecordSummary): string[] {
  const sum = (count: (name: RecordSummary['names'][number]) => number): string =>
    String(names.reduce((total, name) => total + count(name), 0));
  return [
    'pulled',
    imageRef,
    names.map(({ name }) => name).join(', ') || '-',
    sum(({ secrets }) => secrets),
    sum(({ serviceAccounts }) => serviceAccounts),
    names.some(({ nodePodsAccessible }) => nodePodsAccessible) ? 'yes' : 'no',
    lastUpdatedTime ?? '-',
  ];
}

/** Bit by bit: the text of 100,000 records in one piece would take as much memory again. */
async function printListing(
  { intents, records, errors }: Listed,
  label: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const head = { schema: SCHEMA, store: label, errors: errors.map(problemOf) };
  await output.write(`${JSON.stringify(head).slice(0, -1)},"intents":[`);
  let separator = '';
  for (const image of intents) {
    await output.write(separator + JSON.stringify({ image }));
    separator = ',';
  }
  await output.write('],"pulled":[');
  separator = '';
  for (const record of records) {
    if (output.isClosed) return;
    signal.throwIfAborted();
    await output.write(separator + JSON.stringify(summaryOf(record)));
    separator = ',';
  }
  await output.write(']}\n');
}
