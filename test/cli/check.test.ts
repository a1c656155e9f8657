import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openEnvironment } from '../../src/accessors/lmdb-environment.ts';
import { runCommand } from '../../src/cli/command.ts';
import { checkCommand } from '../../src/cli/commands/check.ts';
import { runCli } from '../support/cli.ts';
import {
  APP,
  BASE,
  contentOf,
  fill,
  newDirectory,
  storeIn,
  usualBatch,
} from '../support/record-sets.ts';

const KNOWN = 'uid=uid-a,namespace=namespace-a,name=pull-a';

describe.each(['journal', 'lmdb', 'module'] as const)('check on the store %s', (kind) => {
  it('explains the decision of the engine, and records no match', async () => {
    const store = storeIn(newDirectory(), kind);
    await fill(store.options, usualBatch());
    const before = await contentOf(store.options);
    const ask = (...args: string[]) => runCli(['check', ...args, ...store.args()]);
    // The hash is known, the coordinates are new: an engine would record them.
    expect(
      await ask(`${APP}:1`, 'sha256:app', '--secret', 'uid=1,namespace=2,name=3,hash=hash-a'),
    ).toEqual({
      code: 0,
      stderr: '',
      stdout:
        'may be used (credentialRecordFound): A pull secret of the pod has opened this image before.\n',
    });
    expect(await contentOf(store.options)).toEqual(before);
    const must = await ask(`${APP}:1`, 'sha256:app', '--exit-code', '--json');
    expect(must).toMatchObject({ code: 3, stderr: '' });
    expect(JSON.parse(must.stdout)).toMatchObject({
      schema: 'pullwarden.check/1',
      image: `${APP}:1`,
      imageRef: 'sha256:app',
      mustPull: true,
      reason: 'mustAuthenticate',
    });
    const account = 'uid=uid-c,namespace=namespace-c,name=account-c';
    const served = await ask(APP, 'sha256:app', '--service-account', account, '--exit-code');
    expect(served).toMatchObject({ code: 0 });
    // An intent is enough to know that the image was not preloaded.
    expect((await ask(`${APP}:next`, 'sha256:new')).stdout).toMatch(
      /^must pull \(mustAuthenticate\)/,
    );
    expect((await ask(`${APP}:old`, 'sha256:new')).stdout).toMatch(
      /^may be used \(credentialPolicyAllowed\)/,
    );
  });
});

describe('check', () => {
  it('asks under the policy and the rules that it is given', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, 'journal');
    await fill(store.options, usualBatch());
    const file = join(directory, 'secret.json');
    const secret = {
      uid: 'uid-a',
      namespace: 'namespace-a',
      name: 'pull-a',
      credentialHash: 'TOPSECRET',
    };
    writeFileSync(file, JSON.stringify([secret]));
    const answers = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await runCli(['check', ...args, ...store.args()]);
      expect(stdout + stderr).not.toContain('TOPSECRET');
      return stdout.split(':')[0]!;
    };
    const allowed = 'may be used (credentialPolicyAllowed)';
    const found = 'may be used (credentialRecordFound)';
    const must = 'must pull (mustAuthenticate)';
    expect(await answers(BASE, 'sha256:none', '--policy', 'AlwaysVerify')).toBe(must);
    expect(await answers(APP, 'sha256:app', '--policy', 'NeverVerify')).toBe(allowed);
    expect(await answers(APP, 'sha256:app', '--allowlist', 'registry.example.com/*')).toBe(allowed);
    expect(await answers(APP, 'sha256:app', '--secret-file', file)).toBe(found);
    const piped = ['check', APP, 'sha256:app', '--secret-file', '-', ...store.args()];
    expect((await runCli(piped, { input: JSON.stringify(secret) })).stdout).toContain(found);
    expect(
      await answers(APP, 'sha256:app', '--secret-file', file, '--rotated-secrets', 'verify'),
    ).toBe(must);
    expect(await answers(APP, 'sha256:app', '--secret', KNOWN, '--reverify-after', '1m')).toBe(
      must,
    );
  });

  it('fails where the record is damaged, and says must pull', async () => {
    const store = storeIn(newDirectory(), 'lmdb');
    await fill(store.options, usualBatch());
    const { root, pulled } = await openEnvironment((store.options as { path: string }).path);
    await pulled.put(createHash('sha256').update('sha256:app').digest(), Buffer.from('nonsense'));
    await root.close();
    const { code, stdout } = await runCli(['check', APP, 'sha256:app', ...store.args(), '--json']);
    expect(code).toBe(1);
    const cause = { code: 'ERR_PULLMANAGER_RECORD_CORRUPT' };
    expect(JSON.parse(stdout)).toMatchObject({ mustPull: true, reason: 'error', cause });
    const shown = await runCli(['check', APP, 'sha256:app', ...store.args(), '--exit-code']);
    expect(shown).toMatchObject({ code: 1, stderr: '' });
    expect(shown.stdout).toMatch(/^must pull \(error\): .*\n {2}where {2}\/.*\n {2}why {4}./);
    expect(shown.stdout).toContain('sha256:app');
    expect(shown.stdout).not.toContain('snapshot-store');
  });

  it.each([
    [[], 'IMAGE and IMAGEREF are missing'],
    [['a'], 'IMAGEREF is missing'],
    [['a', 'b', '--secret', 'TOPSECRET'], '--secret must be a list of uid=…,namespace=…'],
    [['a', 'b', '--secret', 'uid=1,name=TOPSECRET'], '--secret lacks namespace=…'],
    [['a', 'b', '--secret', 'uid=1,uid=TOPSECRET'], '--secret names uid twice'],
    [['a', 'b', '--policy', 'NeverVerfy'], 'did you mean "NeverVerify"?'],
    [['a', 'b', '--policy', 'NeverVerify', '--allowlist', 'x/*'], 'says nothing with --policy'],
    [['a', 'b', '--rotated-secrets', 'no'], 'must be trust or verify'],
    [['a', 'b', '--reverify-after', 'soon'], 'is no time'],
    [['a', 'b', '--secret-file', '/'], 'EISDIR'],
    [['a', 'b', '--store', 'memory'], "'memory' keeps nothing"],
  ])('%j is refused', async (args, message) => {
    const refused = runCommand(checkCommand, args);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow('TOPSECRET');
  });

  it('names a bad pattern, and a file of secrets by its path only', async () => {
    const directory = newDirectory();
    const store = storeIn(directory, 'journal');
    await fill(store.options, usualBatch());
    const bad = await runCli(['check', 'a', 'b', ...store.args(), '--allowlist', '*']);
    expect(bad).toMatchObject({ code: 2, stdout: '' });
    expect(bad.stderr).toContain('invalid allow-list pattern "*"');
    mkdirSync(join(directory, 'd'));
    const file = join(directory, 'd', 'secret.json');
    writeFileSync(file, '{"uid": TOPSECRET');
    await expect(runCommand(checkCommand, ['a', 'b', '--secret-file', file])).rejects.toThrow(
      `is not JSON: "${file}"`,
    );
    expect(readFileSync(file, 'utf8')).toContain('TOPSECRET');
  });
});
