#!/usr/bin/env node
/** The `pullwarden` command. */
import { readFileSync } from 'node:fs';
import { errorCode, PULL_MANAGER_ERROR_CODES, quote } from '../errors.ts';
import { suggestion } from '../util/suggest.ts';
import { UsageError } from './args.ts';
import { check } from './commands/check.ts';
import { records } from './commands/records/records.ts';
import { storm } from './commands/storm.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';

/** A command: runs with its arguments and answers the exit code. */
type Command = (args: readonly string[]) => Promise<ExitCode>;

const COMMANDS: Readonly<Record<string, { readonly run: Command; readonly help: string }>> = {
  storm: { run: storm, help: 'run a pull storm against the engine and check every decision' },
  records: {
    run: records,
    help: 'list, show, verify, prune, import or export the records of a store',
  },
  check: { run: check, help: 'ask for one decision, and why' },
};

const HELP = `Usage: pullwarden <command> [options]

Commands:
${Object.entries(COMMANDS)
  .map(([name, { help }]) => `  ${name.padEnd(8)} ${help}`)
  .join('\n')}

Options:
  --help     show this help, or that of a command
  --version  show the version

Exit codes: 0 passed, 1 could not run, 2 wrong usage, 99 threshold crossed or wrong decision,
130 interrupted.

Example:
  pullwarden storm smoke --threshold 'decide.p99<2ms'
`;

async function main(args: readonly string[]): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP);
    return name === undefined ? EXIT.USAGE : EXIT.PASSED;
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version()}\n`);
    return EXIT.PASSED;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const what = name.startsWith('-') ? 'flag' : 'command';
    const known = what === 'flag' ? ['--help', '--version'] : Object.keys(COMMANDS);
    throw new UsageError(`unknown ${what} ${quote(name)}${suggestion(name, known)}`);
  }
  return command.run(rest);
}

function version(): string {
  // The same file from a checkout (src/cli) and from the build (dist/src/cli).
  const up = import.meta.url.endsWith('.js') ? '../../../' : '../../';
  const text = readFileSync(new URL(`${up}package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

const USAGE_CODES: readonly string[] = [
  PULL_MANAGER_ERROR_CODES.INVALID_ARGUMENT,
  PULL_MANAGER_ERROR_CODES.ALLOWLIST_PATTERN_INVALID,
];

/** One line on stderr; the stack only where somebody asked for it. */
function report(error: unknown, args: readonly string[]): ExitCode {
  const code = errorCode(error);
  const isUsage = error instanceof UsageError || (code !== undefined && USAGE_CODES.includes(code));
  const message = error instanceof Error ? error.message : String(error);
  const text = args.includes('--debug') && error instanceof Error ? error.stack : message;
  const prefix = code === undefined ? '' : `${code}: `;
  process.stderr.write(`pullwarden: ${prefix}${text}\n`);
  if (isUsage) process.stderr.write('Try --help.\n');
  return isUsage ? EXIT.USAGE : EXIT.FAILED;
}

const args = process.argv.slice(2);
let isOutputLost = false;

// Whoever reads us may stop before we are done (`| head`): that is no failure of ours.
process.stdout.on('error', (error: unknown) => {
  if (errorCode(error) === 'EPIPE' || isOutputLost) return;
  isOutputLost = true;
  process.exitCode = report(new Error(`cannot write the result: ${errorCode(error)}`), args);
});

main(args).then(
  (code) => {
    process.exitCode = isOutputLost ? EXIT.FAILED : code;
  },
  (error: unknown) => {
    process.exitCode = report(error, args);
  },
);
