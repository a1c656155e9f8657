/** Names, files, readers and disks of the unfriendly kind. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { RecordWrite } from '../../src/accessors/accessor.ts';
import { runCommand } from '../../src/cli/command.ts';
import { recordsCommand } from '../../src/cli/commands/records/records.ts';
import { isOpenIn, outcomeOf, runCli, startCli } from '../support/cli.ts';
import { account } from '../support/credentials.ts';
import {
  contentOf,
  ESCAPES,
  fill,
  HOSTILE,
  hostileBatch,
  newDirectory,
  pulled,
  storeIn,
  usualBatch,
} from '../support/record-sets.ts';
import { inTime, until } from '../support/wait.ts';

/** Whatever could change a terminal, but for the line breaks and tabs of the table itself. */
const DANGEROUS = /[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|(?![\n\t])\p{Cc}/u;

const FULL = 'The disk is full, or has no inodes left: make room (see df and df -i).';

describe('hostile names', () => {
  it.each(['journal', 'lmdb'] as const)('are harmless in tables of the store %s', async (kind) => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, hostileBatch());
    const list = await runCli(['records', 'list', ...store.args()]);
    expect(list).toMatchObject({ code: 0, stderr: '' });
    expect(list.stdout).not.toMatch(DANGEROUS);
    expect(list.stdout).not.toContain('HASH');
    const lines = list.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(1 + 2 * HOSTILE.length);
    for (const line of lines) expect(line.split('\t')).toHaveLength(7);
    expect(list.stdout).toContain('\\u{1b}]0;title\\u{7}\\u{1b}[2J\\u{1b}[31mred');
    const shown = await runCli(['records', 'show', ESCAPES, ...store.args()]);
    expect(shown.code).toBe(0);
    expect(shown.stdout).not.toMatch(DANGEROUS);
    const verified = await runCli(['records', 'verify', '--all', ...store.args()]);
    expect(verified.code).toBe(0);
    expect(verified.stdout).not.toMatch(DANGEROUS);
  });

  it('survive a file of records, and are found again', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, 'journal');
    const target = storeIn(directory, 'lmdb');
    await fill(store.options, hostileBatch());
    const file = join(directory, 'out');
    expect(await runCli(['records', 'export', ...store.args(), '-o', file])).toMatchObject({
      code: 0,
    });
    expect(await runCli(['records', 'import', file, ...target.args()])).toMatchObject({ code: 0 });
    expect(await contentOf(target.options)).toEqual(await contentOf(store.options));
    const shown = await runCli(['records', 'show', '__proto__', '--json', ...target.args()]);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      intent: true,
      records: [{ imageRef: '__proto__', names: [{ name: '__proto__' }] }],
    });
    // Nothing was made outside, whatever the names said.
    expect(readdirSync(directory).sort()).toEqual(['journal-store', 'lmdb-store', 'out']);
  });
});

describe('a store that is none', () => {
  it.each(['journal', 'lmdb', 'kubelet'])(
    '%s: a file where a directory should be',
    async (kind) => {
      const file = join(newDirectory(), 'file');
      writeFileSync(file, 'mine');
      await expect(
        runCommand(recordsCommand, ['list', '--store', `${kind}:${file}`]),
      ).rejects.toThrow(`cannot read the store at ${JSON.stringify(file)}: ENOTDIR`);
      expect(readFileSync(file, 'utf8')).toBe('mine');
    },
  );

  it.each([
    ['journal', 'journal'],
    ['lmdb', 'data.mdb'],
    ['kubelet', 'directory pulled or pulling'],
  ])('%s: a directory of something else stays untouched', async (kind, missing) => {
    const directory = newDirectory();
    mkdirSync(join(directory, 'mine'));
    await expect(
      runCommand(recordsCommand, ['verify', '--store', `${kind}:${directory}`]),
    ).rejects.toThrow(`the directory holds no ${missing}`);
    expect(readdirSync(directory)).toEqual(['mine']);
  });

  it('an unreadable one is named with the reason', async () => {
    // A name that no file system takes: unreadable for root too, for whom modes are nothing.
    const path = join(newDirectory(), 'x'.repeat(5_000));
    await expect(
      runCommand(recordsCommand, ['list', '--store', `journal:${path}`]),
    ).rejects.toThrow('ENAMETOOLONG');
  });
});

describe('a file of records by a stranger', () => {
  const header = '{"format":"pullwarden-records","version":1}';
  const good = '{"kind":"intent","image":"good"}';

  it('has every line checked: bad ones are named by number, the others come in', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, 'journal');
    const secretLine = (fields: string): string =>
      `{"kind":"pulled","imageRef":"r","lastUpdatedTimeMs":1,"credentialMapping":{"n":${fields}}}`;
    const lines: [line: string, problem: string][] = [
      ['{"kind":"intent"}', 'image must be a string'],
      ['not JSON, with SECRETHASH', 'is not JSON'],
      ['[]', 'is not an object'],
      ['['.repeat(100_000), 'is not JSON'],
      ['{"kind":"intents","image":"x"}', 'kind must be intent, pulled or end'],
      ['{"kind":"__proto__"}', 'kind must be intent, pulled or end'],
      [
        '{"kind":"intent","image":"x","SECRETHASH":1}'.replace('SECRETHASH', 'more'),
        '"more" is not a known field',
      ],
      [
        '{"kind":"pulled","imageRef":"r","lastUpdatedTimeMs":1e99,"credentialMapping":{}}',
        'lastUpdatedTimeMs must be',
      ],
      [
        '{"kind":"pulled","imageRef":"r","lastUpdatedTimeMs":1,"credentialMapping":[]}',
        'credentialMapping must be',
      ],
      [secretLine('null'), 'credentials must be an object'],
      [secretLine('{"nodePodsAccessible":"SECRETHASH"}'), 'nodePodsAccessible must be a boolean'],
      [
        secretLine('{"kubernetesSecrets":[{"uid":"SECRETHASH"}]}'),
        '[0].namespace must be a string',
      ],
    ];
    const text = [header, ...lines.map(([line]) => line), good].join('\n');
    const { code, stdout, stderr } = await runCli(['records', 'import', '-', ...store.args()], {
      input: `${text}\n{"kind":"end","intents":13,"records":0,"damaged":0}\n`,
    });
    expect(code).toBe(1);
    for (const [i, [, problem]] of lines.entries()) {
      const line = stderr.split('\n').find((said) => said.includes(`line ${i + 2}: `));
      expect(line).toContain(problem);
    }
    expect(stderr).not.toContain('SECRETHASH');
    expect(stdout).toContain('12 damaged, 0 refused');
    expect((await contentOf(store.options)).intents).toEqual([{ image: 'good' }]);
  });

  it.each([
    ['', 'line 1: is not the header'],
    ['{"format":"else","version":1}\n', 'line 1: is not the header'],
    ['{"format":"pullwarden-records"}\n', 'line 1: has no version'],
    ['{"format":"pullwarden-records","version":2}\n', 'has format version 2, this version reads 1'],
  ])('that begins with %j makes no store', async (text, problem) => {
    const directory = newDirectory();
    const file = join(directory, 'in');
    writeFileSync(file, text);
    const args = ['import', file, '--store', `journal:${join(directory, 'store')}`];
    await expect(runCommand(recordsCommand, args)).rejects.toThrow(problem);
    expect(readdirSync(directory)).toEqual(['in']);
  });

  it('that cannot be read is named in one line, and makes no store', async () => {
    const directory = newDirectory();
    const file = join(directory, 'none');
    const args = ['records', 'import', file, '--store', `journal:${join(directory, 'store')}`];
    expect(await runCli(args)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        `pullwarden: import: cannot read ${JSON.stringify(file)}: ENOENT. There is nothing at that ` +
        'path, or a directory above it is missing: check how it is spelled.\n',
    });
    expect(readdirSync(directory)).toEqual([]);
  });

  it('that was cut is noticed, and may be imported again', async () => {
    const store = storeIn(newDirectory(), 'journal');
    const args = ['records', 'import', '-', ...store.args()];
    const cut = await runCli([...args, '--json'], { input: `${header}\n${good}\n{\n` });
    expect(cut.code).toBe(1);
    expect(cut.stderr).toContain('the file was cut: it has no end');
    expect(JSON.parse(cut.stdout)).toMatchObject({
      damaged: 2,
      errors: [
        { code: 'ERR_PULLMANAGER_RECORD_CORRUPT', message: 'standard input: line 3: is not JSON' },
        { message: 'standard input: the file was cut: it has no end' },
      ],
    });
    const whole = `${header}\n${good}\n{"kind":"end","intents":1,"records":0,"damaged":0}\n`;
    const again = await runCli(args, { input: whole });
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toContain('intents: 0 added, 1 unchanged');
  });
});

describe('more than a call of a function takes', () => {
  const COUNT = 130_000;

  it('would be pruned', async () => {
    const store = storeIn(newDirectory(), 'journal');
    const many = Array.from({ length: COUNT }, (_, i) => pulled(`sha256:${i}`, i, {}));
    await fill(store.options, many);
    const older = ['--until', '2030-01-01T00:00:00Z', '--keep', '-', '--allow-unmatched'];
    const args = ['records', 'prune', '--dry-run', '--json', ...older, ...store.args()];
    const outcome = await runCli(args, { input: 'none\n' });
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect((JSON.parse(outcome.stdout) as { pruned: string[] }).pruned).toHaveLength(COUNT);
  });

  it('is shown of one record', async () => {
    const store = storeIn(newDirectory(), 'journal');
    const kubernetesServiceAccounts = Array.from({ length: COUNT }, (_, i) => account(`a${i}`));
    const mapping = { 'docker.io/library/a': { kubernetesServiceAccounts } };
    await fill(store.options, [pulled('sha256:a', 1, mapping)]);
    const { code, stdout, stderr } = await runCli(['records', 'show', 'sha256:a', ...store.args()]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n').filter((line) => line.includes(' account '))).toHaveLength(COUNT);
  });
});

describe('an export', () => {
  it('fails clearly on a full disk, in a file as on the standard output', async () => {
    const store = storeIn(newDirectory(), 'journal');
    await fill(store.options, usualBatch());
    const args = ['records', 'export', ...store.args()];
    const toFile = await runCli([...args, '--output', '/dev/full']);
    expect(toFile).toMatchObject({ code: 1, stdout: '' });
    expect(toFile.stderr).toBe(`pullwarden: cannot write "/dev/full": ENOSPC. ${FULL}\n`);
    const full = openSync('/dev/full', 'w');
    const toStdout = await runCli(args, { stdout: full });
    closeSync(full);
    expect(toStdout).toEqual({
      code: 1,
      stdout: '',
      stderr: `pullwarden: cannot write the result: ENOSPC. ${FULL}\n`,
    });
  });

  it('writes over nothing unless it is told to, and leaves nothing half done', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, 'journal');
    await fill(store.options, usualBatch());
    const file = join(directory, 'out');
    writeFileSync(file, 'mine');
    const args = ['records', 'export', ...store.args(), '--output', file];
    const refused = await runCli(args);
    const problem = `${JSON.stringify(file)} is there already: give another name, or --force`;
    expect(refused).toEqual({
      code: 2,
      stdout: '',
      stderr: `pullwarden: ${problem}\nTry --help.\n`,
    });
    expect(readFileSync(file, 'utf8')).toBe('mine');
    expect(await runCli([...args, '--force'])).toMatchObject({ code: 0 });
    expect(readFileSync(file, 'utf8')).toMatch(/^\{"format":"pullwarden-records","version":1\}\n/);
    expect(readdirSync(directory).sort()).toEqual(['journal-store', 'out']);
  });

  it('does not crash when nobody reads on', async () => {
    const store = storeIn(newDirectory(), 'journal');
    const many = Array.from({ length: 5_000 }, (_, i) => pulled(`sha256:${i}`, i, {}));
    await fill(store.options, many);
    for (const tool of ['export', 'list']) {
      const child = startCli(['records', tool, ...store.args()]);
      child.stdout!.destroy();
      let stderr = '';
      child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      const [code] = (await once(child, 'exit')) as [number | null];
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    }
  });
});

describe('an import', () => {
  it.each([
    ['reads', 0],
    ['waits', 500],
  ])(
    'that is interrupted while it %s lets the store go, and is completed by another',
    async (_how, waitMs) => {
      const store = storeIn(newDirectory(), 'journal');
      await fill(store.options, []);
      const lines = Array.from({ length: 3_000 }, (_, i) =>
        JSON.stringify({
          kind: 'pulled',
          imageRef: `sha256:${i}`,
          lastUpdatedTimeMs: i,
          credentialMapping: {},
        }),
      );
      const head = ['{"format":"pullwarden-records","version":1}', ...lines].join('\n');
      const fifo = join(newDirectory(), 'fifo');
      execFileSync('mkfifo', [fifo]);
      const child = startCli(['records', 'import', fifo, ...store.args()]);
      const outcome = outcomeOf(child);
      // The writer stays: the import waits for lines that do not come.
      const writer = await open(fifo, 'w');
      await writer.write(`${head}\n`);
      await delay(waitMs);
      child.kill('SIGINT');
      const { code, stdout } = await inTime('the import', outcome);
      await writer.close();
      expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
      const end = '{"kind":"end","intents":0,"records":3000,"damaged":0}';
      const again = await runCli(['records', 'import', '-', ...store.args()], {
        input: `${head}\n${end}\n`,
      });
      expect(again).toMatchObject({ code: 0, stderr: '' });
      expect((await contentOf(store.options)).records).toHaveLength(3_000);
    },
  );

  it('that is interrupted before anybody writes to its pipe ends', async () => {
    const directory = newDirectory();
    const fifo = join(directory, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const store = storeIn(directory, 'journal');
    const child = startCli(['records', 'import', fifo, ...store.args()]);
    const outcome = outcomeOf(child);
    await until('the pipe is open', () => isOpenIn(child, fifo));
    child.kill('SIGINT');
    expect(await inTime('the import', outcome)).toMatchObject({ code: 130, stdout: '' });
    expect(readdirSync(directory)).toEqual(['fifo']);
  });

  it.each([
    ['merge', 'new', ['a', 'b']],
    ['keep', 'old', ['a']],
    ['replace', 'new', ['b']],
  ])('with --on-conflict %s', async (how, winner, names) => {
    const directory = newDirectory();
    const source = storeIn(directory, 'journal', 'source');
    const target = storeIn(directory, 'journal', 'target');
    const proof = (hash: string) => ({
      kubernetesSecrets: [{ uid: 'u', namespace: 'n', name: 's', credentialHash: hash }],
    });
    const write = (hash: string, name: string, time: number): RecordWrite[] => [
      pulled('ref', time, { both: proof(hash), [name]: { nodePodsAccessible: true } }),
    ];
    await fill(target.options, write('old', 'a', 1));
    await fill(source.options, write('new', 'b', 2));
    const args = ['records', 'import', ...source.args('from'), ...target.args()];
    expect(await runCli([...args, '--on-conflict', how])).toMatchObject({ code: 0 });
    const [record] = (await contentOf(target.options)).records;
    expect(record!.credentialMapping).toEqual({
      both: proof(winner),
      ...Object.fromEntries(names.map((name) => [name, { nodePodsAccessible: true }])),
    });
  });
});
