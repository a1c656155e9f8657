/** `pullwarden records verify`: every entry of a store looked at, and bad ones put aside. */
import type { Finding } from '../../../accessors/inspection.ts';
import { type VerifyResult, verifyStore } from '../../../records-tools/verify.ts';
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
    all: { type: 'boolean' },
    json: { type: 'boolean' },
    progress: { type: 'boolean' },
  },
  help: {
    usage: 'records verify [options]',
    about: [
      'Says of each entry whether it is valid, undecodable (present, but no record), misfiled (under ' +
        "another one's key) or an orphan (a temporary file that a crash left). A store that cannot be " +
        'opened because a file is damaged is a finding, with file and offset.',
      '--repair takes bad entries out of the store and keeps them aside; nothing is deleted, and ' +
        'what was replaced meanwhile stays. A journal and the store of a module cannot be repaired so.',
    ],
    options: [
      ...STORE_HELP,
      ['--repair', 'put bad entries into quarantine (default: only look)'],
      ['--all', 'print valid entries too (default: only what is wrong)'],
      JSON_HELP,
      PROGRESS_HELP,
      COLOR_HELP,
    ],
    exitCodes: { [EXIT.FAILED]: 'could not run, or something wrong is in the store' },
    example: 'pullwarden records verify --store lmdb:./records --repair',
  },
  run: verify,
};

const SCHEMA = 'pullwarden.records.verify/1';

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
  try {
    const result = await verifyStore(store, { repairs, onFinding, signal });
    progress.clear();
    if (isJson) await output.write(`],${JSON.stringify(result).slice(1)}\n`);
    else await printSummary(result, output, paint);
    await output.end();
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
  const { counts, quarantined, remarks, passed } = result;
  for (const remark of remarks) await output.write(`remark ${printable(remark)}\n`);
  const parts = Object.entries(counts).map(([verdict, n]) => `${formatCount(n)} ${verdict}`);
  const moved = quarantined === 0 ? '' : `; ${formatCount(quarantined)} put into quarantine`;
  const verdict = passed ? paint('green', 'PASSED') : paint('red', 'FAILED');
  await output.write(`${verdict}: ${parts.join(', ')}${moved}\n`);
}
