/** `pullwarden records verify`: every entry of a store looked at, and bad ones put aside. */
import type { Finding } from '../../../accessors/inspection.ts';
import { invalidArgument } from '../../../errors.ts';
import {
  type VerdictCounts,
  type VerifyResult,
  verifyStore,
} from '../../../records-tools/verify.ts';
import { formatCount } from '../../../terminal/format.ts';
import { LiveLine } from '../../../terminal/live-line.ts';
import type { Paint } from '../../../terminal/style.ts';
import { printable } from '../../../terminal/text.ts';
import { type ParsedArgs, positionalsOf } from '../../args.ts';
import {
  COLOR_HELP,
  type Command,
  JSON_HELP,
  PROGRESS_HELP,
  paintOf,
  progressTerminal,
} from '../../command.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { type Output, StandardOutput } from '../../output.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from '../store-flags.ts';

export const verifyTool: Command = {
  summary: 'look at every entry; exit 1 when something is wrong',
  flags: {
    ...STORE_FLAGS,
    repair: { type: 'boolean' },
    'accept-preloaded': { type: 'boolean' },
    all: { type: 'boolean' },
    json: { type: 'boolean' },
    progress: { type: 'boolean' },
  },
  help: {
    usage: 'records verify [options]',
    about: [
      'Says of each entry whether it is valid, undecodable (present, but no record), misfiled (under ' +
        "another one's key), an orphan (a temporary file that a crash left) or unread (of a version " +
        'that --compatibility does not read, or the system could not read it: no damage, and never ' +
        'repaired). A store that cannot be ' +
        'opened because a file is damaged is a finding, with file and offset.',
      '--repair takes bad entries out of the store and keeps them aside; nothing is deleted, and ' +
        'what was replaced meanwhile stays. While a ' +
        'bad record or intent is there, its image must be pulled. After this the image looks ' +
        'preloaded: under the default policy every pod may use it. Remove the image from the node ' +
        'first, or run with AlwaysVerify until it was pulled again; then add --accept-preloaded, ' +
        'without which only orphans are taken out. A journal and the store of a module cannot be ' +
        'repaired that way.',
    ],
    options: [
      ...STORE_HELP,
      ['--repair', 'put bad entries into quarantine (default: only look)'],
      [
        '--accept-preloaded',
        'with --repair: images whose records are put aside may look preloaded (default: refuse)',
      ],
      ['--all', 'print valid entries too (default: only what is wrong)'],
      JSON_HELP,
      PROGRESS_HELP,
      COLOR_HELP,
    ],
    exitCodes: {
      [EXIT.FAILED]: 'could not run, or something wrong or unread is in the store',
      [EXIT.USAGE]:
        'wrong usage, or --repair without --accept-preloaded where images are concerned',
    },
    examples: ['pullwarden records verify --store lmdb:./records'],
  },
  run: verify,
};

const SCHEMA = 'pullwarden.records.verify/1';
const VERDICTS: readonly (keyof VerdictCounts)[] = [
  'valid',
  'undecodable',
  'misfiled',
  'orphan',
  'unread',
];

async function verify(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  positionalsOf(parsed, []);
  const { values } = parsed;
  const store = storeOf(parsed);
  const isJson = values.json === true;
  const output = new StandardOutput();
  const paint = paintOf(parsed);
  const progress = new LiveLine(progressTerminal(parsed));
  let looked = 0;
  let separator = '';
  const onFinding = async (finding: Finding): Promise<void> => {
    looked++;
    progress.update(() => `${formatCount(looked)} entries`);
    if (finding.verdict === 'valid' && values.all !== true) return;
    const text = isJson ? separator + JSON.stringify(finding) : findingLines(finding, paint);
    separator = ',';
    progress.clear();
    await output.write(text);
  };
  if (isJson) {
    const head = JSON.stringify({ schema: SCHEMA, store: store.label });
    await output.write(`${head.slice(0, -1)},"findings":[`);
  }
  const repairs = values.repair === true;
  const acceptsPreloaded = values['accept-preloaded'] === true;
  try {
    const result = await verifyStore(store, {
      repairs,
      acceptsPreloaded,
      onFinding,
      signal,
    });
    progress.clear();
    if (isJson) await output.write(`],${JSON.stringify(result).slice(1)}\n`);
    else await printSummary(result, output, paint);
    await output.end();
    if (result.isRefused) {
      const problem = `needs --accept-preloaded, nothing was repaired. ${result.consequence}`;
      throw invalidArgument('--repair', problem);
    }
    return result.passed ? EXIT.PASSED : EXIT.FAILED;
  } finally {
    progress.clear();
  }
}

function findingLines(finding: Finding, paint: Paint): string {
  const { kind, verdict, location, key, reason, offset, quarantinedTo } = finding;
  const color = verdict === 'valid' ? 'green' : 'red';
  const subject = key === undefined ? '' : ` ${printable(key)}`;
  const lines = [`${paint(color, verdict)} ${kind}${subject}`];
  const where = offset === undefined ? '' : ` at offset ${offset}`;
  lines.push(`  where  ${printable(location)}${where}`);
  if (reason !== undefined) lines.push(`  why    ${printable(reason)}`);
  if (quarantinedTo !== undefined) lines.push(`  now    ${printable(quarantinedTo)}`);
  return `${lines.join('\n')}\n`;
}

async function printSummary(result: VerifyResult, output: Output, paint: Paint): Promise<void> {
  const { counts, left, quarantined, remarks, passed, consequence } = result;
  for (const remark of remarks) await output.write(`remark ${printable(remark)}\n`);
  if (consequence !== undefined && !result.isRefused) {
    await output.write(`${paint('yellow', 'WARNING')}: ${consequence}.\n`);
  }
  if (quarantined > 0) {
    const moved = VERDICTS.map((verdict) => [verdict, counts[verdict] - left[verdict]] as const);
    await output.write(`put into quarantine: ${textOf(moved.filter(([, n]) => n > 0))}\n`);
  }
  const verdict = passed ? paint('green', 'PASSED') : paint('red', 'FAILED');
  const now = quarantined === 0 ? '' : ' in the store now';
  const parts = VERDICTS.map((name) => [name, left[name]] as const);
  await output.write(`${verdict}: ${textOf(parts)}${now}\n`);
}

function textOf(counts: readonly (readonly [verdict: string, n: number])[]): string {
  return counts.map(([verdict, n]) => `${formatCount(n)} ${verdict}`).join(', ');
}
