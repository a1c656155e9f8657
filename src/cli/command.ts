/** What all commands have in common: how one is described, found and run. */
import { errorCode, PULL_MANAGER_ERROR_CODES, quote } from '../errors.ts';
import type { Terminal } from '../terminal/live-line.ts';
import { type Paint, paintFor } from '../terminal/style.ts';
import { suggestion } from '../util/suggest.ts';
import { type Flag, type ParsedArgs, parseCommandArgs, UsageError } from './args.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { type HelpPage, type HelpRow, helpText } from './help.ts';
import { interruptible } from './interrupt.ts';
import { warn } from './warnings.ts';

/** A command: its flags, its help, and its work. */
export interface Command {
  /** One line, for the list of commands. */
  readonly summary: string;
  readonly flags: Readonly<Record<string, Flag>>;
  /** Without the flags of every command, which are added. */
  readonly help: HelpPage;
  /** Whether it runs until it is told to end, which then is no interruption. @default false */
  readonly isService?: boolean;
  /** Resolves with the exit code. The signal aborts at Ctrl-C. */
  readonly run: (parsed: ParsedArgs, signal: AbortSignal) => Promise<ExitCode>;
}

/** Commands under one word. */
export interface CommandGroup {
  readonly summary: string;
  /** What its members are, for example `tool`. */
  readonly noun: string;
  /** Without the list of its members, which is added. */
  readonly help: HelpPage;
  readonly members: Readonly<Record<string, Command | CommandGroup>>;
}

export const JSON_HELP: HelpRow = ['--json', 'print the result as one JSON object'];
export const COLOR_HELP: HelpRow = ['--no-color', 'no colours (also: NO_COLOR)'];
export const PROGRESS_HELP: HelpRow = ['--no-progress', 'no live view, even on a terminal'];

const COMMON_HELP: readonly HelpRow[] = [
  [
    '--debug',
    'show the stack of an error and of its causes, which may have secrets of a store module in it',
  ],
  ['--help', 'show this help'],
];

/**
 * Runs a command, or the one of a group that the first argument names.
 *
 * @throws `UsageError` for arguments that it does not take; what the command throws.
 */
export function runCommand(
  command: Command | CommandGroup,
  args: readonly string[],
): Promise<ExitCode> {
  return 'members' in command ? runMember(command, args) : runOne(command, args);
}

async function runMember(
  { noun, help, members }: CommandGroup,
  args: readonly string[],
): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const rows = Object.entries(members).map(([word, { summary }]): HelpRow => [word, summary]);
    const title = `${noun[0]!.toUpperCase()}${noun.slice(1)}s`;
    process.stdout.write(helpText({ ...help, section: { title, rows } }));
    return name === undefined ? EXIT.USAGE : EXIT.PASSED;
  }
  const member = Object.hasOwn(members, name) ? members[name] : undefined;
  if (member !== undefined) return runCommand(member, rest);
  const isFlag = name.startsWith('-');
  const what = isFlag ? `flag ${quote(name)} before the ${noun}` : `${noun} ${quote(name)}`;
  const known = isFlag ? help.options.map(([flag]) => flag) : Object.keys(members);
  throw new UsageError(`unknown ${what}${suggestion(name, known)}`);
}

async function runOne(command: Command, args: readonly string[]): Promise<ExitCode> {
  const parsed = parseCommandArgs(args, command.flags);
  if (parsed.values.help === true) {
    const { help } = command;
    process.stdout.write(helpText({ ...help, options: [...help.options, ...COMMON_HELP] }));
    return EXIT.PASSED;
  }
  try {
    return await interruptible((signal) => command.run(parsed, signal), command.isService);
  } catch (error) {
    if (errorCode(error) === PULL_MANAGER_ERROR_CODES.STORE_IN_USE) {
      warn(
        'the store has one owner at a time: stop the engine, or copy the directory while it is stopped',
      );
    }
    throw error;
  }
}

/** Columns of the terminal that takes the result; undefined where it is none. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY === true ? process.stdout.columns || 80 : undefined;
}

/** The terminal for a live line; undefined where there is none, or none is wanted. */
export function progressTerminal({ values }: ParsedArgs): Terminal | undefined {
  return process.stderr.isTTY === true && values.progress !== false ? process.stderr : undefined;
}

/** Colours as they are wanted on the standard output. */
export function paintOf({ values }: ParsedArgs): Paint {
  const wanted = values.color === undefined ? undefined : values.color === true;
  return paintFor(process.stdout, process.env, wanted);
}
