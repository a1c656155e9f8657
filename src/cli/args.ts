/** Reads the command line: flags from one table, with suggestions for what was mistyped. */
import { parseArgs } from 'node:util';
import { quote } from '../errors.ts';
import { suggestion } from '../util/suggest.ts';

/** A flag of a command. */
export interface Flag {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  readonly short?: string;
}

/** Flags that every command takes. */
export const COMMON_FLAGS: Readonly<Record<string, Flag>> = {
  help: { type: 'boolean', short: 'h' },
  debug: { type: 'boolean' },
  color: { type: 'boolean' },
};

/** Longer flags are shortened in messages. */
const SHOWN_LENGTH_MAX = 64;

/** Above it, the parser's time grows with the square of their number. */
const ARGUMENTS_MAX = 16_000;

/** A command line that was called in a wrong way; the message says how to do better. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What a command line said. Values of repeatable flags are lists. */
export interface ParsedArgs {
  readonly values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  readonly positionals: readonly string[];
}

/**
 * Parses the arguments of one command. `--no-NAME` turns a boolean flag off.
 *
 * @throws `UsageError` for an unknown flag, a missing value, or a value where none is taken, and for
 * more than 16,000 arguments; each letter of `-abc` is one.
 */
export function parseCommandArgs(
  args: readonly string[],
  flags: Readonly<Record<string, Flag>>,
): ParsedArgs {
  if (argumentCount(args) > ARGUMENTS_MAX) {
    throw new UsageError(`there are more than ${ARGUMENTS_MAX} arguments`);
  }
  const options = { ...COMMON_FLAGS, ...flags };
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { type, short }]) => [
        name,
        short === undefined ? { type } : { type, short },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, string | boolean | string[]> = Object.create(null);
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { rawName, value } = token;
    const isNegative = token.name.startsWith('no-') && !Object.hasOwn(options, token.name);
    const name = isNegative ? token.name.slice(3) : token.name;
    const flag = Object.hasOwn(options, name) ? options[name] : undefined;
    if (flag === undefined || (isNegative && flag.type !== 'boolean')) {
      const known = Object.entries(options).flatMap(([word, { type }]) =>
        type === 'boolean' ? [`--${word}`, `--no-${word}`] : [`--${word}`],
      );
      const shown = rawName.length > SHOWN_LENGTH_MAX ? quote(rawName) : rawName;
      throw new UsageError(`unknown flag ${shown}${suggestion(rawName, known)}`);
    }
    if (flag.type === 'boolean') {
      if (value !== undefined) throw new UsageError(`${rawName} takes no value`);
      values[name] = !isNegative;
    } else {
      // `--seed --json` is a forgotten value, and not a strange one.
      const isForgotten = token.inlineValue === false && value?.startsWith('--');
      if (value === undefined || isForgotten) throw new UsageError(`${rawName} needs a value`);
      if (flag.multiple !== true) values[name] = value;
      else if (values[name] === undefined) values[name] = [value];
      else (values[name] as string[]).push(value);
    }
  }
  return { values, positionals };
}

function argumentCount(args: readonly string[]): number {
  let count = 0;
  for (const arg of args) count += arg.startsWith('-') && arg[1] !== '-' ? arg.length : 1;
  return count;
}

/** The values of flags that must be given: all that are missing are named at once. */
export function requiredFlags<const N extends readonly string[]>(
  { values }: ParsedArgs,
  names: N,
): { [K in keyof N]: string } {
  refuseMissing(names.filter((name) => values[name] === undefined).map((name) => `--${name}`));
  return names.map((name) => values[name]) as { [K in keyof N]: string };
}

function refuseMissing(missing: readonly string[]): void {
  const last = missing.at(-1);
  if (last === undefined) return;
  const others = missing.slice(0, -1).join(', ');
  throw new UsageError(others === '' ? `${last} is missing` : `${others} and ${last} are missing`);
}

/** The positional arguments, of which there must be as many as there are names. */
export function positionalsOf<const N extends readonly string[]>(
  { positionals }: ParsedArgs,
  names: N,
): { [K in keyof N]: string } {
  refuseMissing(names.slice(positionals.length));
  if (positionals.length > names.length) {
    throw new UsageError(`unexpected argument ${quote(positionals[names.length]!)}`);
  }
  return positionals as unknown as { [K in keyof N]: string };
}
