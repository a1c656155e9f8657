#!/usr/bin/env node
/** The `pullwarden` command. */
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { errorCode, PULL_MANAGER_ERROR_CODES } from '../errors.ts';
import { harmless } from '../terminal/text.ts';
import { UsageError } from './args.ts';
import { type CommandGroup, runCommand } from './command.ts';
import { agentCommand } from './commands/agent.ts';
import { checkCommand } from './commands/check.ts';
import { compareCommand } from './commands/compare.ts';
import { recordsCommand } from './commands/records/records.ts';
import { stormCommand } from './commands/storm.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { adviceOn, messageOf } from './system-errors.ts';

const PULLWARDEN: CommandGroup = {
  summary: 'decides who may use a container image that is already on a machine',
  noun: 'command',
  help: {
    usage: '<command> [options]',
    about: [],
    options: [
      ['--help', 'show this help, or that of a command'],
      ['--version', 'show the version'],
    ],
    exitCodes: { [EXIT.CROSSED]: 'threshold crossed, wrong decision, or a metric that got worse' },
    examples: [
      "pullwarden storm smoke --threshold 'decide.p99<2ms'",
      'pullwarden compare main.jsonl branch.jsonl',
    ],
  },
  members: {
    storm: stormCommand,
    compare: compareCommand,
    records: recordsCommand,
    check: checkCommand,
    agent: agentCommand,
  },
};

async function main(args: readonly string[]): Promise<ExitCode> {
  if (args[0] !== '--version' && args[0] !== '-v') return runCommand(PULLWARDEN, args);
  process.stdout.write(`${version()}\n`);
  return EXIT.PASSED;
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

/** One line on stderr; stacks, and what others' errors say, only where somebody asked for it. */
function report(error: unknown, args: readonly string[]): ExitCode {
  const code = errorCode(error);
  const isUsage = error instanceof UsageError || (code !== undefined && USAGE_CODES.includes(code));
  const message = messageOf(error);
  const advice = adviceOn(error);
  const told = advice === undefined ? message : `${message}. ${advice}`;
  const isDebug = args.includes('--debug');
  const text = isDebug ? stacksOf(error) : told.split('\n').map(harmless).join('\n');
  // Of an error of the system itself, the message ends with its code.
  const prefix = code === undefined || message.endsWith(`: ${code}`) ? '' : `${code}: `;
  process.stderr.write(`pullwarden: ${prefix}${text}\n`);
  if (!isDebug && hasUntoldCause(error)) process.stderr.write('Try --debug to see its cause.\n');
  if (isUsage && advice === undefined) process.stderr.write('Try --help.\n');
  return isUsage ? EXIT.USAGE : EXIT.FAILED;
}

const CAUSES_MAX = 8;

/** The stacks of an error and of what it was caused by, harmless for a terminal. */
function stacksOf(error: unknown): string {
  const stacks: string[] = [];
  for (let one = error; one !== undefined && stacks.length < CAUSES_MAX; ) {
    stacks.push(one instanceof Error ? (one.stack ?? String(one)) : inspect(one));
    one = one instanceof Error ? one.cause : undefined;
  }
  return stacks.join('\ncaused by: ').split('\n').map(harmless).join('\n');
}

/** Whether an error was caused by one of others, whose text is not shown: it may have secrets in it. */
function hasUntoldCause(error: unknown): boolean {
  if (!(error instanceof Error) || error.cause === undefined) return false;
  return errorCode(error.cause) === undefined;
}

const args = process.argv.slice(2);
let isOutputLost = false;

// Whoever reads us may stop before we are done (`| head`): that is no failure of ours.
process.stdout.on('error', (error: unknown) => {
  if (errorCode(error) === 'EPIPE' || isOutputLost) return;
  isOutputLost = true;
  process.exitCode = report(new Error(`cannot write the result: ${errorCode(error)}`), args);
});

// What is said beside the result is for who listens; the work goes on without.
process.stderr.on('error', () => {});

/** Exit code of Node where a module that is being loaded waits for what never comes. */
const UNSETTLED = 13;
/** So long may what was loaded keep the process after its work is done. */
const EXIT_GRACE_MS = 2_000;

// Nobody must take a process that ended without a word for one whose checks all held.
const refuseSilence = (code: number): void => {
  if (code !== EXIT.PASSED && code !== UNSETTLED) return;
  const problem = 'ended before its work was done: what it waited for can never come';
  process.exitCode = report(new Error(problem), args);
};
process.once('exit', refuseSilence);

function end(code: ExitCode): void {
  process.removeListener('exit', refuseSilence);
  process.exitCode = code;
  // A module of others may have left a timer or a thread behind, or a failed engine may hang.
  const exit = (): void => void process.stdout.write('', () => process.exit());
  setTimeout(exit, EXIT_GRACE_MS).unref();
}

main(args).then(
  (code) => end(isOutputLost ? EXIT.FAILED : code),
  (error: unknown) => end(report(error, args)),
);
