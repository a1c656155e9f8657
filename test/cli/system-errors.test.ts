/** What a person is told where the operating system refuses something: what was tried, and what to do. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/cli/command.ts';
import { checkCommand } from '../../src/cli/commands/check.ts';
import { compareCommand } from '../../src/cli/commands/compare.ts';
import { recordsCommand } from '../../src/cli/commands/records/records.ts';
import { stormCommand } from '../../src/cli/commands/storm.ts';
import { adviceOn, messageOf } from '../../src/cli/system-errors.ts';
import { PullManagerError, storeError } from '../../src/errors.ts';
import { runCli } from '../support/cli.ts';

const NOTHING = /^There is nothing at that path/;
const NO_DIRECTORY = /is a file and no directory|^Something else is there already/;
const NO_FILE = /^That is a directory/;

let home: string;

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'pw-errors-'));
  mkdirSync(join(home, 'directory'));
  writeFileSync(join(home, 'file'), '');
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

describe('advice', () => {
  it.each([
    [['list', '--store', 'journal:@none'], recordsCommand, '@none', NOTHING],
    [['list', '--store', 'journal:@file'], recordsCommand, '@file', NO_DIRECTORY],
    [['list', '--store', 'lmdb:@file/x'], recordsCommand, '@file/x', NO_DIRECTORY],
    [['list', '--store', 'module:@none.mjs'], recordsCommand, '@none.mjs', /no such module/],
    [['import', '@none', '--store', 'journal:@new'], recordsCommand, '@none', NOTHING],
    [['import', '@directory', '--store', 'journal:@new'], recordsCommand, '@directory', NO_FILE],
    [['a', 'b', '--store', 'kubelet:@none'], checkCommand, '@none', NOTHING],
    [['a', 'b', '--store', 'kubelet:@file'], checkCommand, '@file', NO_DIRECTORY],
    [['a', 'b', '--secret-file', '@none'], checkCommand, '@none', NOTHING],
    [['@none', '@none'], compareCommand, '@none', NOTHING],
    [['@directory', '@none'], compareCommand, '@directory', NO_FILE],
    [['@none.json'], stormCommand, '@none.json', NOTHING],
    [['smoke', '--images', '@directory'], stormCommand, '@directory', NO_FILE],
    [['--replay', '@none'], stormCommand, '@none', NOTHING],
    [['smoke', '--html', '@none/x.html'], stormCommand, '@none/x.html', NOTHING],
    [['smoke', '--store', 'journal:@file'], stormCommand, '@file', NO_DIRECTORY],
  ])('is given on what %j is refused for', async (args, command, named, advice) => {
    const within = (text: string): string => text.replace('@', `${home}/`);
    const error: unknown = await runCommand(command, args.map(within)).then(
      () => undefined,
      (refusal: unknown) => refusal,
    );
    expect(messageOf(error)).toContain(within(named));
    expect(adviceOn(error)).toMatch(advice);
  });

  it.each([
    ['EACCES', /run as the owner, or change the permissions/],
    ['EPERM', /immutable/],
    ['EROFS', /read-only/],
    ['ENOSPC', /make room/],
    ['EMFILE', /ulimit -n/],
  ])('is given on %s, whatever failed with it', (code, advice) => {
    const cause = Object.assign(new Error('x'), { code });
    expect(adviceOn(storeError('cannot take the store directory "/x"', cause))).toMatch(advice);
    expect(adviceOn(new Error(`scenario /x: cannot be read (${code})`))).toMatch(advice);
    const own = new PullManagerError('STORE_UNAVAILABLE', '"/x" is a file', { cause });
    expect(adviceOn(own)).toMatch(advice);
  });

  it('is not given on other errors', () => {
    const cause = Object.assign(new Error('x'), { code: 'constructor' });
    for (const error of [
      new Error('there is no "ENOENT"'),
      new Error('wrong: EVERYTHING'),
      new Error('odd', { cause }),
      'ENOENT: not even an error',
    ]) {
      expect(adviceOn(error)).toBeUndefined();
    }
  });
});

it('says what was tried where Node names a call of the system', async () => {
  const path = join(home, 'none', 'x-');
  const error: unknown = await mkdtemp(path).catch((refusal: unknown) => refusal);
  expect((error as Error).message).toMatch(/^ENOENT: no such file or directory, mkdtemp/);
  expect(messageOf(error)).toBe(
    `cannot make a directory "${(error as { path: string }).path}": ENOENT`,
  );
  expect(adviceOn(error)).toMatch(NOTHING);
});

describe('on the command line', () => {
  it('all of it is one line, and no call for help', async () => {
    const file = join(home, 'none.json');
    expect(await runCli(['compare', file, file])).toEqual({
      code: 2,
      stdout: '',
      stderr:
        `pullwarden: ERR_PULLMANAGER_INVALID_ARGUMENT: "${file}" cannot be read: ENOENT. There is ` +
        'nothing at that path, or a directory above it is missing: check how it is spelled.\n',
    });
  });

  it.each([
    {
      socket: '@s',
      store: 'journal:@file',
      said: /is a file, or lies below one\. Something else is there already: give another path/,
    },
    { socket: '@file/s', store: 'journal:@a', said: / ENOTDIR\. Something in that path is a file/ },
    {
      socket: '@directory',
      store: 'journal:@b',
      said: /"[^"]*directory" is there already and is no/,
    },
  ])('the agent says why it cannot start: $socket, $store', async ({ socket, store, said }) => {
    const within = (text: string): string => text.replace('@', `${home}/`);
    const places = ['--socket', within(socket), '--store', within(store)];
    const { code, stderr } = await runCli(['agent', '--runtime', '/none.sock', ...places]);
    expect(stderr).toMatch(said);
    expect(code).toBe(1);
  });

  it('the agent refuses a path that is too long for a socket before it makes anything', async () => {
    const store = join(home, 'never');
    const places = ['--socket', `/tmp/${'s'.repeat(120)}`, '--store', `journal:${store}`];
    const { code, stderr } = await runCli(['agent', '--runtime', '/none.sock', ...places]);
    expect(stderr).toMatch(/--socket is 25 bytes too long for a socket, give a shorter path: "/);
    expect(existsSync(store)).toBe(false);
    expect(code).toBe(2);
  });
});
