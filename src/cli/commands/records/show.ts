/** `pullwarden records show`: everything about one image, but for hashes. */
import { quote } from '../../../errors.ts';
import { PulledRecord } from '../../../records/record.ts';
import { sortedRecords } from '../../../records-tools/items.ts';
import { type RecordsReader, withReader } from '../../../records-tools/open-store.ts';
import {
  detailOf,
  type NameDetail,
  type ProofDetail,
  type RecordDetail,
  recordKeysOf,
  type SecretDetail,
} from '../../../records-tools/summaries.ts';
import type { Paint } from '../../../terminal/style.ts';
import { printable } from '../../../terminal/text.ts';
import { type ParsedArgs, positionalsOf } from '../../args.ts';
import { COLOR_HELP, type Command, JSON_HELP, paintOf } from '../../command.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { printJson, StandardOutput } from '../../output.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from '../store-flags.ts';

export const showTool: Command = {
  summary: 'show one record in full, but for hashes',
  flags: { ...STORE_FLAGS, json: { type: 'boolean' } },
  help: {
    usage: 'records show IMAGEREF|IMAGE [options]',
    about: [
      'Shows the record of an imageRef; or, if there is none, every record that has the image under ' +
        'its name, and whether an intent for the image is there. Of a hash it says only whether one ' +
        'is recorded.',
    ],
    options: [...STORE_HELP, JSON_HELP, COLOR_HELP],
    exitCodes: { [EXIT.FAILED]: 'could not run, or nothing was found' },
    examples: ['pullwarden records show sha256:c0ffee --store journal:./records'],
  },
  run: show,
};

const SCHEMA = 'pullwarden.records.show/1';

interface Found {
  readonly records: readonly RecordDetail[];
  /** Whether there is an intent for the very text. */
  readonly intent: boolean;
}

async function show(parsed: ParsedArgs): Promise<ExitCode> {
  const [query] = positionalsOf(parsed, ['IMAGEREF or IMAGE']);
  const store = storeOf(parsed);
  const found = await withReader(store, (reader) => find(reader, query));
  if (found.records.length === 0 && !found.intent) {
    const message = `neither a record nor an intent of ${quote(query)} is in the store`;
    throw new Error(message);
  }
  if (parsed.values.json === true) await printJson(SCHEMA, store.label, { query, ...found });
  else {
    const output = new StandardOutput();
    await output.write(textOf(query, found, paintOf(parsed)));
    await output.end();
  }
  return EXIT.PASSED;
}

async function find(reader: RecordsReader, query: string): Promise<Found> {
  const intent = await reader.imagePullIntentExists(query);
  const record = await reader.getImagePulledRecord(query);
  if (record !== undefined) return { records: [detailOf(record)], intent };
  const names = recordKeysOf(query);
  const { records, errors } = await reader.listImagePulledRecords();
  const matching = records.filter((given) =>
    PulledRecord.from(given).proofs.some(({ imageName }) => names.has(imageName)),
  );
  // Among what cannot be read may be the one that is meant.
  const [error] = errors;
  if (matching.length === 0 && error !== undefined && !intent) throw error;
  return { records: sortedRecords(matching).map(detailOf), intent };
}

function textOf(query: string, { records, intent }: Found, paint: Paint): string {
  const blocks = records.map((record) => recordLines(record, paint).join('\n'));
  if (intent) blocks.push(`intent       ${printable(query)}\n  a pull of it was begun`);
  return `${blocks.join('\n\n')}\n`;
}

function recordLines({ imageRef, lastUpdatedTime, names }: RecordDetail, paint: Paint): string[] {
  return [
    `imageRef     ${paint('bold', printable(imageRef))}`,
    `updated      ${lastUpdatedTime ?? 'at no known time'}`,
    ...(names.length === 0 ? ['names        none: nobody has proven access'] : []),
    ...names.flatMap(nameLines),
  ];
}

function nameLines(detail: NameDetail): string[] {
  const { name, nodePodsAccessible, secrets, serviceAccounts, provenAt } = detail;
  const lines = [`name         ${printable(name)}`];
  if (nodePodsAccessible)
    lines.push(`  node-wide  every pod of the node may use it${at(provenAt)}`);
  for (const secret of secrets) lines.push(secretLine(secret));
  for (const account of serviceAccounts) lines.push(`  account    ${coordinates(account)}`);
  if (lines.length === 1) lines.push('  nobody has proven access');
  return lines;
}

function secretLine(secret: SecretDetail): string {
  const hash = secret.hashRecorded ? 'hash recorded' : 'no hash';
  return `  secret     ${coordinates(secret)}, ${hash}`;
}

function coordinates({ namespace, name, uid, provenAt }: ProofDetail): string {
  return `${printable(namespace)}/${printable(name)} uid ${printable(uid)}${at(provenAt)}`;
}

function at(provenAt: string | undefined): string {
  return provenAt === undefined ? '' : `, proven ${provenAt}`;
}
