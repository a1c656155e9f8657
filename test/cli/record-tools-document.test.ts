/** The examples of docs/record-tools.md, run as they stand there. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { fill, newDirectory, pulled } from '../support/record-sets.ts';

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
        const end = example.indexOf('\n');
        return { command: example.slice(0, end), output: example.slice(end + 1) };
      }),
  );
}

it('prints what the document says it prints', async () => {
  const directory = newDirectory();
  const secret = { uid: '7f', namespace: 'team-a', name: 'pull', credentialHash: 'a5f0' };
  await fill({ kind: 'journal', path: join(directory, 'records') }, [
    { op: 'writeIntent', image: 'registry.example.com/team-b/api:2' },
    pulled('sha256:c0ffee', Date.parse('2026-01-31T12:00:00Z'), {
      'registry.example.com/team-a/app': { kubernetesSecrets: [secret] },
    }),
    pulled('sha256:beef', Date.parse('2026-01-30T12:00:00Z'), {
      'docker.io/library/base': { nodePodsAccessible: true },
    }),
  ]);
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
