/** The files of examples/ci: their commands are run as they stand there, and they are in docs/ci.md. */
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { newDirectory } from '../storm/trace/kit.ts';
import { PROGRAM } from '../support/program.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const EXAMPLES = join(ROOT, 'examples', 'ci');
const run = promisify(execFile);

/** Texts of `key: |` blocks, of one-line values, and of list items under `key:`; in their order. */
function scriptsOf(yaml: string, key: 'run' | 'script'): string[] {
  const scripts: string[] = [];
  const lines = yaml.split('\n');
  for (const [number, line] of lines.entries()) {
    const match = new RegExp(`^( *(?:- )?)${key}:(.*)$`).exec(line);
    if (match === null) continue;
    const [, before = '', value = ''] = match;
    const depth = before.length;
    const block: string[] = [];
    for (const inner of lines.slice(number + 1)) {
      if (inner.trim() !== '' && inner.search(/\S/) <= depth) break;
      block.push(inner.trim());
    }
    if (value.trim() === '|') scripts.push(block.join('\n'));
    else if (value.trim() === '') scripts.push(...block.map((item) => item.replace(/^- /, '')));
    else scripts.push(value.trim());
  }
  return scripts.filter((script) => script.trim() !== '');
}

/** A project that has pullwarden installed, with scenarios that are over soon. */
async function newProject(): Promise<{ directory: string; env: NodeJS.ProcessEnv }> {
  const directory = await newDirectory();
  const bin = join(directory, '.bin');
  await mkdir(bin);
  const program = PROGRAM.map((word) => `'${word}'`).join(' ');
  // `npx [--prefix DIRECTORY] pullwarden …` is all that is asked of npx.
  const npx =
    `#!/bin/sh\n[ "$1" = --prefix ] && shift 2\n[ "$1" = pullwarden ] || exit 70\nshift\n` +
    `exec '${process.execPath}' ${program} "$@"\n`;
  await writeFile(join(bin, 'npx'), npx);
  await chmod(join(bin, 'npx'), 0o755);
  // The threads of a checkout look for its loader from the working directory.
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  await cp(EXAMPLES, join(directory, 'ci'), { recursive: true });
  const shorten = async (name: string, own: object): Promise<void> => {
    const path = join(directory, 'ci', name);
    const scenario = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...scenario, records: 200, ...own }));
  };
  await shorten('storm.json', { rate: 100, duration: '1s' });
  await shorten('compare.json', { operations: 2_000 });
  const summary = join(directory, 'summary.md');
  const PATH = `${bin}${delimiter}${process.env.PATH}`;
  return { directory, env: { ...process.env, PATH, GITHUB_STEP_SUMMARY: summary } };
}

/** The script with two turns, which is enough to see that it runs. */
function shortened(script: string): string {
  return script.replace(/for turn in [\d ]+;/, 'for turn in 1 2;');
}

/** Runs scripts one after the other; answers where. */
async function play(scripts: readonly string[]): Promise<{ directory: string }> {
  const { directory, env } = await newProject();
  for (const script of scripts) {
    try {
      await run('sh', ['-e', '-c', shortened(script)], { cwd: directory, env });
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      // What is so short may cross any limit: what counts is that there is a verdict.
      const isVerdict = code === 99 || (code === 1 && stdout.includes('FAILED: too few runs'));
      if (!isVerdict) throw new Error(`${script}: ${code}\n${stdout}\n${stderr}`, { cause: error });
    }
  }
  return { directory };
}

describe('the examples for CI', () => {
  it.each([
    { file: 'github-actions.yml', key: 'run', count: 5 },
    { file: 'gitlab-ci.yml', key: 'script', count: 4 },
  ] as const)('are commands that run: $file', async ({ file, key, count }) => {
    const scripts = scriptsOf(await readFile(join(EXAMPLES, file), 'utf8'), key).filter(
      (script) => script.includes('pullwarden') || script.includes('SUMMARY'),
    );
    expect(scripts).toHaveLength(count);
    const { directory } = await play(scripts);
    for (const report of ['storm.html', 'storm.md', 'storm.xml', 'compare.html', 'compare.md']) {
      expect((await stat(join(directory, report))).size, report).toBeGreaterThan(0);
    }
  });

  it.each(['github-actions.yml', 'gitlab-ci.yml', 'storm.json', 'compare.json'])(
    'are in the document as they are: %s',
    async (file) => {
      const document = await readFile(join(ROOT, 'docs', 'ci.md'), 'utf8');
      expect(document).toContain(await readFile(join(EXAMPLES, file), 'utf8'));
    },
  );
});

/** The block of shell of a document that compares. */
async function comparisonOf(document: string): Promise<string> {
  const text = await readFile(join(ROOT, document), 'utf8');
  const blocks = Array.from(text.matchAll(/^```sh\n(.*?)^```$/gms), ([, block]) => block!);
  const found = blocks.filter((block) => block.includes('pullwarden compare'));
  expect(found).toHaveLength(1);
  return found[0]!;
}

describe('the smallest comparison', () => {
  it.each(['README.md', 'docs/ci.md'])('of %s gives a verdict', async (document) => {
    const block = await comparisonOf(document);
    expect(block.match(/--seed 1 .*--json/g)).toHaveLength(2);
    const script = block
      .replace(/^git worktree .*$/m, '')
      .replaceAll(/npm run --silent (?:--prefix \S+ )?storm --/g, 'npx pullwarden storm')
      .replaceAll('--ops 20000', '--ops 200 --records 50 --tenants 20');
    const { directory } = await play([script]);
    const results = await Promise.all(
      [...block.matchAll(/>> (\S+)/g)].map(([, name]) => readFile(join(directory, name!), 'utf8')),
    );
    for (const text of results) expect(text.trim().split('\n')).toHaveLength(2);
  });
});
