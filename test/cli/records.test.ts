/** `pullwarden records` as a process, on every store that a process can share. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { runCommand } from '../../src/cli/command.ts';
import { recordsCommand } from '../../src/cli/commands/records/records.ts';
import { runCli } from '../support/cli.ts';
import {
  APP,
  BASE,
  contentOf,
  fill,
  KINDS,
  newDirectory,
  pulled,
  storeIn,
  usualBatch,
} from '../support/record-sets.ts';

/** Names and sizes of all files: what a tool that only reads may not change. */
function filesOf(path: string): string[] {
  return readdirSync(path)
    .filter((name) => !/^LOCK|lock\.mdb$/.test(name))
    .map((name) => `${name} ${readFileSync(join(path, name)).toString('base64')}`);
}

/** What a tool prints on a terminal of this width. */
async function onTerminal(columns: number, args: string[]): Promise<string> {
  let text = '';
  const { stdout } = process;
  const before = { isTTY: stdout.isTTY, columns: stdout.columns };
  const write = vi.spyOn(stdout, 'write').mockImplementation((chunk, ...rest: unknown[]) => {
    text += String(chunk);
    const done = rest.at(-1);
    if (typeof done === 'function') done();
    return true;
  });
  Object.assign(stdout, { isTTY: true, columns });
  try {
    await runCommand(recordsCommand, args);
  } finally {
    Object.assign(stdout, before);
    write.mockRestore();
  }
  return text;
}

describe.each(KINDS)('records on the store %s', (kind) => {
  it('lists intents and records, tab-separated, without hashes', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const { code, stdout, stderr } = await runCli(['records', 'list', ...store.args()]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n').map((line) => line.split('\t'))).toEqual([
      ['KIND', 'KEY', 'NAMES', 'SECRETS', 'ACCOUNTS', 'NODE-WIDE', 'UPDATED'],
      ['intent', `${APP}:next`, '-', '-', '-', '-', '-'],
      ['pulled', 'sha256:app', `${BASE}, ${APP}`, '2', '1', 'no', '2023-11-14T22:13:20.123Z'],
      ['pulled', 'sha256:base', BASE, '0', '0', 'yes', '2023-11-14T22:13:20.456Z'],
      ['pulled', 'sha256:unproven', '-', '0', '0', 'no', '-'],
      [''],
    ]);
  });

  it('lists as one JSON object, and only what is asked for', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const list = async (
      ...args: string[]
    ): Promise<{ intents: unknown[]; pulled: { imageRef: string }[] }> => {
      const { code, stdout } = await runCli([
        'records',
        'list',
        ...store.args(),
        '--json',
        ...args,
      ]);
      expect(code).toBe(0);
      expect(stdout).not.toContain('hash-');
      return JSON.parse(stdout) as never;
    };
    expect(await list()).toMatchObject({
      schema: 'pullwarden.records.list/1',
      errors: [],
      intents: [{ image: `${APP}:next` }],
      pulled: [
        {
          imageRef: 'sha256:app',
          lastUpdatedTime: '2023-11-14T22:13:20.123Z',
          names: [
            { name: BASE, nodePodsAccessible: false, secrets: 0, serviceAccounts: 0 },
            { name: APP, nodePodsAccessible: false, secrets: 2, serviceAccounts: 1 },
          ],
        },
        { imageRef: 'sha256:base' },
        { imageRef: 'sha256:unproven', lastUpdatedTime: null, names: [] },
      ],
    });
    expect((await list('--intents')).pulled).toEqual([]);
    expect((await list('--pulled')).intents).toEqual([]);
    const base = await list('--image', 'base:3');
    expect(base.pulled.map(({ imageRef }) => imageRef)).toEqual(['sha256:app', 'sha256:base']);
    expect(base.intents).toEqual([]);
    expect(await list('--image', APP)).toMatchObject({ intents: [{}], pulled: [{}] });
    const ofNamespace = await list('--namespace', 'namespace-c');
    expect(ofNamespace).toMatchObject({ intents: [], pulled: [{ imageRef: 'sha256:app' }] });
  });

  it('shows a record by its imageRef or a name of it, with coordinates and without hashes', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const shown = await runCli(['records', 'show', `${APP}:next`, ...store.args()]);
    expect(shown).toEqual({
      code: 0,
      stderr: '',
      stdout: `imageRef     sha256:app
updated      2023-11-14T22:13:20.123Z
name         ${BASE}
  nobody has proven access
name         ${APP}
  secret     namespace-a/pull-a uid uid-a, proven 2023-11-14T22:13:19.999Z, hash recorded
  secret     namespace-b/pull-b uid uid-b, no hash
  account    namespace-c/account-c uid uid-c

intent       ${APP}:next
  a pull of it was begun
`,
    });
    const json = await runCli(['records', 'show', 'sha256:app', ...store.args(), '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      schema: 'pullwarden.records.show/1',
      intent: false,
      records: [{ names: [{}, { secrets: [{ hashRecorded: true }, { hashRecorded: false }] }] }],
    });
    expect(json.stdout).not.toContain('hash-');
    const none = await runCli(['records', 'show', 'sha256:none', ...store.args()]);
    expect(none).toMatchObject({ code: 1, stdout: '' });
    expect(none.stderr).toContain('neither a record nor an intent of "sha256:none"');
  });

  it('verifies a good store', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const { code, stdout } = await runCli(['records', 'verify', ...store.args()]);
    expect(stdout).toBe('PASSED: 4 valid, 0 undecodable, 0 misfiled, 0 orphan, 0 unread\n');
    expect(code).toBe(0);
    const all = await runCli(['records', 'verify', ...store.args(), '--all', '--json']);
    expect(JSON.parse(all.stdout)).toMatchObject({
      schema: 'pullwarden.records.verify/1',
      findings: [{ kind: 'intent', verdict: 'valid' }, {}, {}, { kind: 'pulled' }],
      passed: true,
    });
  });

  it('prunes by the rules of pruneUnknownRecords', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, kind);
    await fill(store.options, [
      ...usualBatch(),
      pulled('sha256:listed', 1, {}),
      pulled('sha256:equal', 1_700_000_000_124, {}),
    ]);
    const keep = join(directory, 'refs.txt');
    writeFileSync(keep, 'sha256:listed\r\n\nsha256:else\n');
    const args = ['records', 'prune', ...store.args(), '--until', '2023-11-14T22:13:20.124Z'];
    const dry = await runCli([...args, '--keep', keep, '--dry-run']);
    expect(dry).toMatchObject({
      code: 0,
      stdout:
        'would prune\tsha256:app\nwould prune\tsha256:unproven\n' +
        '2 records would be pruned, 3 kept, 0 errors\n',
    });
    expect((await contentOf(store.options)).records).toHaveLength(5);
    const wet = await runCli([...args, '--keep', '-', '--json'], { input: 'sha256:listed' });
    expect(JSON.parse(wet.stdout)).toMatchObject({
      schema: 'pullwarden.records.prune/1',
      dryRun: false,
      pruned: ['sha256:app', 'sha256:unproven'],
      kept: 3,
      errors: [],
    });
    const left = await contentOf(store.options);
    const refs = left.records.map(({ imageRef }) => imageRef);
    expect(refs).toEqual(['sha256:base', 'sha256:equal', 'sha256:listed']);
    expect(left.intents).toHaveLength(1);
  });

  it('believes no empty list unless it is told to', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const args = [
      'records',
      'prune',
      ...store.args(),
      '--until',
      '2030-01-01T00:00:00Z',
      '--keep',
      '-',
    ];
    const refused = await runCli(args, { input: '\n\n' });
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('--allow-empty');
    expect((await contentOf(store.options)).records).toHaveLength(3);
    expect(await runCli([...args, '--allow-empty'])).toMatchObject({ code: 0 });
    expect((await contentOf(store.options)).records).toEqual([]);
  });

  it('believes no list that has none of the records unless it is told to', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const args = ['records', 'prune', ...store.args(), '--until', '2030-01-01T00:00:00Z'];
    const named = { input: `${APP}:1\n${BASE}\n` };
    for (const dry of [[], ['--dry-run']]) {
      const refused = await runCli([...args, '--keep', '-', ...dry], named);
      expect(refused).toMatchObject({ code: 2, stdout: '' });
      expect(refused.stderr).toContain('lists none of the records of the store');
      expect(refused.stderr).toContain('--allow-unmatched');
    }
    expect((await contentOf(store.options)).records).toHaveLength(3);
    const told = await runCli([...args, '--keep', '-', '--allow-unmatched'], named);
    expect(told).toMatchObject({ code: 0 });
    expect((await contentOf(store.options)).records).toEqual([]);
    // Of nothing, nothing can be missing.
    expect(await runCli([...args, '--keep', '-'], named)).toMatchObject({ code: 0 });
  });

  // Every pair of kinds would say no more than these.
  it.each(kind === 'journal' ? KINDS : (['journal'] as const))(
    'moves everything to the store %s and back without a loss',
    async (other) => {
      const directory = newDirectory();
      const [store, target, back] = [
        storeIn(directory, kind),
        storeIn(directory, other, 'target'),
        storeIn(directory, kind, 'back'),
      ];
      await fill(store.options, usualBatch());
      const before = await contentOf(store.options);
      const imported = await runCli(['records', 'import', ...store.args('from'), ...target.args()]);
      expect(imported).toMatchObject({ code: 0, stderr: '' });
      expect(imported.stdout).toContain('intents: 1 added, 0 unchanged\nrecords: 3 added,');
      const file = join(directory, 'records.ndjson');
      const exported = await runCli(['records', 'export', ...target.args(), '-o', file]);
      expect(exported).toMatchObject({
        code: 0,
        stdout: '1 intent and 3 records exported, 0 damaged\n',
      });
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const again = await runCli(['records', 'import', file, ...back.args(), '--json']);
      expect(JSON.parse(again.stdout)).toMatchObject({
        schema: 'pullwarden.records.import/1',
        intents: { added: 1 },
        records: { added: 3 },
        damaged: 0,
        refused: 0,
        lossy: 0,
        errors: [],
      });
      expect(await contentOf(back.options)).toEqual(before);
      const repeated = await runCli(['records', 'import', file, ...back.args()]);
      expect(repeated.stdout).toContain(
        'intents: 0 added, 1 unchanged\nrecords: 0 added, 0 merged',
      );
      expect(await contentOf(back.options)).toEqual(before);
    },
  );

  // Only a module knows what it makes where.
  it.skipIf(kind === 'module')(
    'refuses to read a store that is not there, and makes none',
    async () => {
      const directory = newDirectory();
      const store = storeIn(directory, kind);
      const path = (store.options as { path: string }).path;
      const refs = join(newDirectory(), 'refs');
      writeFileSync(refs, 'x');
      for (const args of [
        ['list'],
        ['show', 'x'],
        ['verify'],
        ['export'],
        ['prune', '--keep', refs, '--until', '2030-01-01T00:00:00Z'],
        ['import', ...store.args('from'), '--store', `journal:${join(directory, 'target')}`],
      ]) {
        const given = args[0] === 'import' ? [] : store.args();
        const outcome = expect(runCommand(recordsCommand, [...args, ...given])).rejects;
        await outcome.toThrow(`there is no store at ${JSON.stringify(path)}: ENOENT`);
      }
      expect(readdirSync(directory)).toEqual([]);
    },
  );
});

describe('records', () => {
  it('reads a journal of several partitions and leaves every file as it is', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, 'journal');
    const path = (store.options as { path: string }).path;
    const { PullManager } = await import('../../src/pull-manager.ts');
    const manager = await PullManager.open({ store: store.options, workerCount: 3 });
    for (let i = 0; i < 20; i++) {
      await manager.recordPullIntent(`registry.example.com/i${i}:1`);
      await manager.withPull(`registry.example.com/a${i}:1`, async () => ({
        imageRef: `sha256:${i}`,
        credentials: { nodePodsAccessible: true },
      }));
    }
    await manager.close();
    const before = filesOf(path);
    const list = await runCli(['records', 'list', ...store.args(), '--json']);
    const { intents, pulled: listed } = JSON.parse(list.stdout) as Record<string, unknown[]>;
    expect({ intents, listed }).toMatchObject({
      intents: { length: 20 },
      listed: { length: 20 },
    });
    const verified = await runCli(['records', 'verify', ...store.args()]);
    expect(verified.stdout).toBe(
      'PASSED: 40 valid, 0 undecodable, 0 misfiled, 0 orphan, 0 unread\n',
    );
    const checked = await runCli(['check', 'registry.example.com/a1', 'sha256:1', ...store.args()]);
    expect(checked).toMatchObject({ code: 0 });
    expect(filesOf(path)).toEqual(before);
  });

  it('lists rows that can be told apart on a terminal of 80 columns, and counts what is damaged', async () => {
    const store = storeIn(newDirectory(), 'lmdb');
    const digest = (digit: string): string => `sha256:${digit.repeat(12)}${'0'.repeat(52)}`;
    const name = 'registry.example.com/a-team-with-a-long-name/an-application';
    await fill(store.options, [
      { op: 'writeIntent', image: `${name}:1.4` },
      ...['a', 'b'].map((digit) =>
        pulled(digest(digit), 1, { [name]: { nodePodsAccessible: true } }),
      ),
    ]);
    const { openEnvironment } = await import('../../src/accessors/lmdb-environment.ts');
    const { root, pulled: database } = await openEnvironment(
      (store.options as { path: string }).path,
    );
    await database.put(Buffer.alloc(32, 1), Buffer.from('nonsense'));
    await root.close();
    const lines = (await onTerminal(80, ['list', ...store.args(), '--no-color'])).split('\n');
    expect(lines).toEqual([
      'KIND    KEY                        NAMES                      SECRETS  NODE-WIDE',
      'intent  registry.exa…lication:1.4  -                                -  -',
      'pulled  sha256:aaaaaaaaaaaa…       registry.exa…-application        0  yes',
      'pulled  sha256:bbbbbbbbbbbb…       registry.exa…-application        0  yes',
      '',
      '1 intent, 2 pulled records, 1 damaged',
      '',
    ]);
    expect(await onTerminal(300, ['list', ...store.args(), '--no-color'])).toContain(digest('a'));
  });

  it('shows what a store module threw only with --debug', async () => {
    const directory = newDirectory();
    const module = join(directory, 'store.mjs');
    writeFileSync(module, 'export default () => { throw new TypeError("password SECRET"); };');
    const args = ['records', 'list', '--store', `module:${module}`];
    const quiet = await runCli(args);
    expect(quiet).toMatchObject({ code: 1, stdout: '' });
    expect(quiet.stderr).toMatch(/cannot be opened: TypeError\n.*Try --debug to see its cause/);
    expect(quiet.stderr).not.toContain('SECRET');
    const debug = await runCli([...args, '--debug']);
    expect(debug.code).toBe(1);
    expect(debug.stderr).toMatch(/caused by: TypeError: password SECRET\n +at .*store\.mjs:1:/);
  });

  it('refuses a store that an engine has open, and says what to do', async () => {
    const store = storeIn(newDirectory(), 'journal');
    const { PullManager } = await import('../../src/pull-manager.ts');
    const manager = await PullManager.open({ store: store.options, workerCount: 0 });
    try {
      for (const args of [
        ['list'],
        ['verify'],
        ['prune', '--keep', '-', '--until', '2030-01-01T00:00Z'],
      ]) {
        const used = await runCli(['records', ...args, ...store.args()], { input: 'x' });
        expect(used).toMatchObject({ code: 1, stdout: '' });
        expect(used.stderr).toMatch(/stop the engine[\s\S]*ERR_PULLMANAGER_STORE_IN_USE/);
      }
    } finally {
      await manager.close();
    }
  });

  it('gives help for every tool, and none is wrong usage', async () => {
    const bare = await runCli(['records']);
    expect(bare).toMatchObject({ code: 2, stderr: '' });
    for (const tool of ['list', 'show', 'verify', 'prune', 'import', 'export']) {
      expect(bare.stdout).toContain(`  ${tool}`);
      const help = await runCli(['records', tool, '--help']);
      expect(help).toMatchObject({ code: 0, stderr: '' });
      expect(help.stdout).toMatch(
        /\(default: [\s\S]*Exit codes: [\s\S]*Example:\n {2}pullwarden records /,
      );
      for (const line of help.stdout.split('\n')) expect(line.length).toBeLessThan(101);
    }
    expect(await runCli(['records', '--help'])).toMatchObject({ code: 0, stdout: bare.stdout });
  });

  it.each([
    [['lst'], 'unknown tool "lst" (did you mean "list"?)'],
    [['list', '--stoer', 'x'], 'unknown flag --stoer (did you mean "--store"?)'],
    [['list', 'x'], 'unexpected argument "x"'],
    [['show'], 'IMAGEREF or IMAGE is missing'],
    [['list', '--store', 'memory'], "'memory' keeps nothing"],
    [['list', '--store', 'jornal:x'], 'did you mean "journal"?'],
    [['list', '--store', 'lmdb'], 'lacks a path: write lmdb:PATH'],
    [['list', '--store', 'journal:x', '--store-options', '{}'], 'only for a store module:MODULE'],
    [['list', '--store', 'module:./x.mjs', '--store-options', '{'], '--store-options is not JSON'],
    [['list', '--compatibility', 'v1.3'], "must be one of 'v1.33', 'v1.34', 'v1.35', 'v1.36'"],
    [['list', '--compatibility', 'v1.3'], 'not "v1.3" (did you mean "v1.33"?)'],
    [['prune'], '--keep and --until are missing'],
    [['prune', '--keep', '-'], '--until is missing'],
    [['prune', '--until', '2030-01-01T00:00:00Z'], '--keep is missing'],
    [['prune', '--keep', '-', '--until', 'tomorrow'], 'must be a date and time'],
    [['prune', '--keep', '-', '--until', '2030-02-31T25:00:00Z'], 'must be a date and time'],
    [['import'], 'nothing to import'],
    [['import', 'a', '--on-conflict', 'mrege'], 'did you mean "merge"?'],
    [['export', '--json'], '--json needs --output FILE'],
    [['verify', '--repair', '--store', 'journal:./x'], 'cannot repair a journal'],
    [['verify', '--repair', '--store', 'journal:./x'], 'every image looks preloaded'],
    [['verify', '--repair', '--store', 'module:./x.mjs'], 'cannot repair the store of a module'],
  ])('%j is wrong usage', async (args, message) => {
    // In this process: what is wrong is found before anything is opened.
    await expect(runCommand(recordsCommand, args)).rejects.toThrow(message);
  });

  it('tells a wrong usage from a failure by the exit code', async () => {
    const directory = newDirectory();
    const wrong = await runCli(['records', 'list', '--stoer', 'x'], { cwd: directory });
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toBe(
      'pullwarden: unknown flag --stoer (did you mean "--store"?)\nTry --help.\n',
    );
    expect(await runCli(['records', 'list'], { cwd: directory })).toMatchObject({ code: 1 });
    expect(existsSync(join(directory, 'pullwarden-data'))).toBe(false);
  });
});
