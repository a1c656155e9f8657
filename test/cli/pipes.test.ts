/** Pipes on whose other end nobody is, or nobody does anything: the command still ends when told to. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type CliOptions, isOpenIn, outcomeOf, startCli } from '../support/cli.ts';
import { fill, newDirectory, pulled, storeIn } from '../support/record-sets.ts';
import { inTime, until } from '../support/wait.ts';

function newPipe(directory = newDirectory()): string {
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  return path;
}

/** Starts a command that does not outlive the test, whatever it waits for. */
function start(args: readonly string[], options?: CliOptions): ChildProcess {
  const child = startCli(args, options);
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

/** Whether a process has begun to listen to signals: SIGHUP is the last one, and not Node's own. */
function isListening({ pid }: ChildProcess): boolean {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return (BigInt(`0x${/^SigCgt:\s*([\da-f]+)$/m.exec(status)![1]}`) & 1n) === 1n;
}

const interrupted = { code: 130, stdout: '', stderr: 'pullwarden: interrupted\n' };

describe('a command that waits for a pipe is interrupted', () => {
  it.each([
    ['results that nobody writes', (pipe: string) => ['compare', pipe, pipe]],
    ['a scenario that nobody writes', (pipe: string) => ['storm', pipe]],
    ['images that nobody writes', (pipe: string) => ['storm', '--images', pipe]],
    ['a report that nobody reads', (pipe: string) => ['storm', '--html', pipe]],
    [
      'records that nobody reads',
      (pipe: string) => ['records', 'export', '--output', pipe, '--store', `journal:${pipe}-store`],
    ],
  ])('for %s', async (_, argsFor) => {
    const pipe = newPipe();
    await fill({ kind: 'journal', path: `${pipe}-store` }, []);
    const child = start(argsFor(pipe));
    const outcome = outcomeOf(child);
    await until('the command is interruptible', () => isListening(child));
    child.kill('SIGINT');
    expect(await inTime('the command', outcome)).toEqual(interrupted);
  });

  it('that takes no more, when told twice', async () => {
    const directory = newDirectory();
    const pipe = newPipe(directory);
    const store = storeIn(directory, 'journal');
    const many = Array.from({ length: 5_000 }, (_, i) => pulled(`sha256:${i}`, i, {}));
    await fill(store.options, many);
    const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const child = start(['records', 'export', '--output', pipe, ...store.args()]);
    const outcome = outcomeOf(child);
    await until('the pipe is open', () => isOpenIn(child, pipe));
    await delay(300);
    child.kill('SIGINT');
    await delay(100);
    child.kill('SIGINT');
    expect(await inTime('the export', outcome)).toMatchObject({ code: 130, stdout: '' });
    closeSync(reader);
  });
});

describe('a pipe', () => {
  it('takes an export as a file does', async () => {
    const directory = newDirectory();
    const pipe = newPipe(directory);
    const store = storeIn(directory, 'journal');
    const many = Array.from({ length: 3_000 }, (_, i) => pulled(`sha256:${i}`, i, {}));
    await fill(store.options, many);
    const child = start(['records', 'export', '--output', pipe, ...store.args()]);
    const outcome = outcomeOf(child);
    const text = execFileSync('cat', [pipe], { encoding: 'utf8' });
    expect(await outcome).toMatchObject({ code: 0, stderr: '' });
    const lines = text.trimEnd().split('\n');
    expect(lines).toHaveLength(3_002);
    expect(JSON.parse(lines.at(-1)!)).toEqual({
      kind: 'end',
      intents: 0,
      records: 3_000,
      damaged: 0,
    });
  });

  it('whose reader leaves is named', async () => {
    const directory = newDirectory();
    const pipe = newPipe(directory);
    const store = storeIn(directory, 'journal');
    const many = Array.from({ length: 5_000 }, (_, i) => pulled(`sha256:${i}`, i, {}));
    await fill(store.options, many);
    const child = start(['records', 'export', '--output', pipe, ...store.args()]);
    const outcome = outcomeOf(child);
    execFileSync('head', ['-c', '10', pipe]);
    expect(await outcome).toEqual({
      code: 1,
      stdout: '',
      stderr: `pullwarden: cannot write ${JSON.stringify(pipe)}: EPIPE\n`,
    });
  });
});

describe('what is said beside the result', () => {
  it('may be read by nobody', async () => {
    const store = storeIn(newDirectory(), 'journal');
    const input = `{"format":"pullwarden-records","version":1}\n${'{\n'.repeat(50)}`;
    const child = start(['records', 'import', '-', '--json', ...store.args()], { input });
    child.stderr!.destroy();
    const { code, stdout } = await outcomeOf(child);
    expect({ code, result: JSON.parse(stdout) }).toMatchObject({
      code: 1,
      result: { damaged: 51 },
    });
  });
});
