/** The examples of the help pages about storms: they run as they stand there. */
import { execFile } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { PROGRAM } from '../support/program.ts';
import { newDirectory } from '../support/record-sets.ts';

const SMALL = '--ops 100 --records 50 --tenants 20 --workers 0';

async function examplesOf(...command: readonly string[]): Promise<string[]> {
  const { stdout } = await runCli([...command, '--help']);
  const [, examples = ''] = stdout.split(/^Examples:\n/m);
  return examples.trim().split(/\n */);
}

/** Runs a line of a shell; a storm is a small one. */
function play(line: string, cwd: string): Promise<{ code: number; output: string }> {
  const program = [process.execPath, ...PROGRAM].map((word) => `'${word}'`).join(' ');
  const small = line.replace(/^pullwarden storm/, `$& ${SMALL}`);
  const script = small.replace(/^pullwarden/, program);
  return new Promise((resolve) => {
    execFile('sh', ['-c', script], { cwd }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr });
    });
  });
}

describe('the examples of the help', () => {
  it('have a limit of a time, and a comparison', async () => {
    for (const command of [[], ['storm']]) {
      const text = (await examplesOf(...command)).join('\n');
      expect(text).toMatch(/--threshold 'decide\.p99<2ms'/);
      expect(text).toMatch(/pullwarden compare /);
    }
  });

  it('run, one after the other', async () => {
    const lines = [...(await examplesOf('storm')), ...(await examplesOf('compare'))];
    expect(lines).toHaveLength(6);
    const cwd = newDirectory();
    for (const line of lines) {
      const { code, output } = await play(line, cwd);
      // So small a storm may cross any limit, and so few say nothing: what counts is a verdict.
      const isVerdict = code === 0 || code === 99 || output.includes('FAILED: too few runs');
      expect(isVerdict, `${line}: ${code}\n${output}`).toBe(true);
    }
  });
});
