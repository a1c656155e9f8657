/** The examples of docs/record-tools.md, run as they stand there. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { newDirectory } from '../support/record-sets.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const DOCUMENT = readFileSync(new URL('../../docs/record-tools.md', import.meta.url), 'utf8');

/** The commands of the document and what it says they print. */
function examples(): { command: string; output: string }[] {
  const blocks = [...DOCUMENT.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
  return blocks.flatMap((text) =>
    text
      .split(/^\$ /m)
      .slice(1)
      .map((example) => {
        const lines = example.split('\n');
        let end = 1;
        while (lines[end]!.startsWith('> ')) end++;
        const command = [lines[0]!, ...lines.slice(1, end).map((line) => line.slice(2))];
        return { command: command.join('\n'), output: lines.slice(end).join('\n') };
      }),
  );
}

it('prints what the document says it prints', async () => {
  const directory = newDirectory();
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  const loader = import.meta.resolve('tsx');
  const script = `#!/bin/sh\nexec '${process.execPath}' --import '${loader}' '${MAIN}' "$@"\n`;
  writeFileSync(join(bin, 'pullwarden'), script);
  chmodSync(join(bin, 'pullwarden'), 0o755);
  const env = {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    FORCE_COLOR: undefined,
  };
  const all = examples();
  expect(all.length).toBeGreaterThan(8);
  for (const { command, output } of all) {
    const printed = execFileSync('sh', ['-c', command], { cwd: directory, env, encoding: 'utf8' });
    expect(printed, command).toBe(output);
  }
});
