/** `pullwarden records`: looks after the records of a store, without an engine. */
import { errorCode, PULL_MANAGER_ERROR_CODES, quote } from '../../../errors.ts';
import { suggestion } from '../../../util/suggest.ts';
import { parseCommandArgs, UsageError } from '../../args.ts';
import { EXIT, type ExitCode } from '../../exit-codes.ts';
import { helpText } from '../../help.ts';
import { interruptible } from '../../interrupt.ts';
import { exportTool } from './export.ts';
import { importTool } from './import.ts';
import { listTool } from './list.ts';
import { pruneTool } from './prune.ts';
import { showTool } from './show.ts';
import { type Tool, warn } from './tool.ts';
import { verifyTool } from './verify.ts';

const TOOLS: Readonly<Record<string, Tool>> = {
  list: listTool,
  show: showTool,
  verify: verifyTool,
  prune: pruneTool,
  import: importTool,
  export: exportTool,
};

const HELP = `Usage: pullwarden records <tool> [options]

Tools:
${Object.entries(TOOLS)
  .map(([name, { summary }]) => `  ${name.padEnd(7)} ${summary}`)
  .join('\n')}

Each takes --store KIND:PATH, --json and --help. An engine that has the store open must be closed
first.

Example:
  pullwarden records list --store journal:./records
`;

/** Runs `pullwarden records` with its arguments. */
export async function records(args: readonly string[]): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP);
    return name === undefined ? EXIT.USAGE : EXIT.PASSED;
  }
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
  if (tool === undefined) {
    const what = name.startsWith('-') ? 'flag before the tool' : 'tool';
    throw new UsageError(`unknown ${what} ${quote(name)}${suggestion(name, Object.keys(TOOLS))}`);
  }
  return runTool(tool, rest);
}

/** Runs a tool with its arguments: help, Ctrl-C, and a hint where the store is in use. */
export async function runTool(tool: Tool, args: readonly string[]): Promise<ExitCode> {
  const parsed = parseCommandArgs(args, tool.flags);
  if (parsed.values.help === true) {
    process.stdout.write(helpText(tool.help));
    return EXIT.PASSED;
  }
  try {
    return await interruptible((signal) => tool.run(parsed, signal));
  } catch (error) {
    if (errorCode(error) === PULL_MANAGER_ERROR_CODES.STORE_IN_USE) {
      warn(
        'the store has one owner at a time: stop the engine, or copy the directory while it is stopped',
      );
    }
    throw error;
  }
}
