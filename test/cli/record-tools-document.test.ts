/** The examples of docs/record-tools.md, run as they stand there. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { consoleExamplesOf } from '../support/documents.ts';
import { newDirectory } from '../support/record-sets.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

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
  const all = consoleExamplesOf('record-tools.md');
  expect(all.length).toBeGreaterThan(8);
  for (const { command, output } of all) {
    const printed = execFileSync('sh', ['-c', command], { cwd: directory, env, encoding: 'utf8' });
    expect(printed, command).toBe(output);
  }
});
