/** `pullwarden records verify` on stores that are damaged. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/accessors/inspection.ts';
import { openEnvironment } from '../../src/accessors/lmdb-environment.ts';
import type { VerifyResult } from '../../src/records-tools/verify.ts';
import { runCli } from '../support/cli.ts';
import {
  contentOf,
  fill,
  type NamedStore,
  newDirectory,
  storeIn,
  usualBatch,
} from '../support/record-sets.ts';

type Verified = VerifyResult & { findings: Finding[] };

async function verify(
  store: NamedStore,
  ...args: string[]
): Promise<Verified & { code: number | null }> {
  const { code, stdout, stderr } = await runCli([
    'records',
    'verify',
    ...store.args(),
    '--json',
    ...args,
  ]);
  expect(stderr).toBe('');
  return { code, ...(JSON.parse(stdout) as Verified) };
}

function pathOf(store: NamedStore): string {
  return (store.options as { path: string }).path;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

describe('verify on an lmdb store', () => {
  async function damaged(): Promise<NamedStore> {
    const store = storeIn(newDirectory(), 'lmdb');
    await fill(store.options, usualBatch());
    const { root, pulled, intents } = await openEnvironment(pathOf(store));
    const value = Buffer.from(pulled.getBinary(sha256('sha256:app'))!);
    await pulled.put(sha256('sha256:elsewhere'), value);
    const flipped = Buffer.from(value);
    flipped[20]! ^= 1;
    await pulled.put(sha256('sha256:app'), flipped);
    await intents.put(sha256('short'), Buffer.from([1, 2]));
    await root.close();
    return store;
  }

  it('says of each entry what is wrong and where, without its content', async () => {
    const store = await damaged();
    const { code, counts, findings, passed } = await verify(store);
    expect({ code, counts, passed }).toEqual({
      code: 1,
      counts: { valid: 3, undecodable: 2, misfiled: 1, orphan: 0, unread: 0 },
      passed: false,
    });
    expect(findings).toContainEqual({
      kind: 'pulled',
      verdict: 'undecodable',
      location: `pulled/${sha256('sha256:app').toString('hex')}`,
      reason: 'a stored value does not match its checksum',
    });
    expect(findings).toContainEqual({
      kind: 'pulled',
      verdict: 'misfiled',
      key: 'sha256:app',
      location: `pulled/${sha256('sha256:elsewhere').toString('hex')}`,
      reason: 'it is stored under a key that is not the hash of its own',
    });
    expect(JSON.stringify(findings)).not.toContain('hash-');
    const text = await runCli(['records', 'verify', ...store.args()]);
    expect(text.stdout).toContain(
      'FAILED: 3 valid, 2 undecodable, 1 misfiled, 0 orphan, 0 unread\n',
    );
  });

  it('puts bad entries aside byte for byte, and nothing else', async () => {
    const store = await damaged();
    const repaired = await verify(store, '--repair', '--accept-preloaded');
    expect(repaired).toMatchObject({
      code: 0,
      counts: { undecodable: 2, misfiled: 1 },
      left: { valid: 3, undecodable: 0, misfiled: 0 },
      quarantined: 3,
      passed: true,
      isRefused: false,
    });
    expect(repaired.consequence).toContain('looks preloaded');
    for (const { quarantinedTo } of repaired.findings)
      expect(quarantinedTo).toMatch(/^quarantine\//);
    expect(await verify(store)).toMatchObject({ code: 0, counts: { valid: 3, undecodable: 0 } });
    const { root } = await openEnvironment(pathOf(store));
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    const quarantine = root.openDB<Uint8Array, Uint8Array>('quarantine', { ...binary });
    const hex = createHash('sha256').update(sha256('short')).digest('hex');
    const kept = quarantine.getBinary(Buffer.from(`intents/${hex}`))!;
    const fields: unknown = new Packr({ useRecords: false }).unpack(kept);
    expect(fields).toEqual([
      1,
      'intents',
      sha256('short'),
      Buffer.from([1, 2]),
      expect.any(Number),
    ]);
    await root.close();
    const { intents, records } = await contentOf(store.options);
    expect({ intents: intents.length, records: records.length }).toEqual({
      intents: 1,
      records: 2,
    });
  });

  it('repairs nothing that would open an image unless that is accepted', async () => {
    const store = await damaged();
    const args = ['records', 'verify', ...store.args(), '--repair'];
    const refused = await runCli([...args, '--json']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('needs --accept-preloaded, nothing was repaired');
    expect(refused.stderr).toContain('under the default policy every pod may use it');
    const result = JSON.parse(refused.stdout) as Verified;
    expect(result).toMatchObject({
      left: { undecodable: 2, misfiled: 1 },
      quarantined: 0,
      isRefused: true,
      passed: false,
    });
    expect(result.consequence).toContain('AlwaysVerify');
    for (const finding of result.findings) expect(finding).not.toHaveProperty('quarantinedTo');
    const accepted = await runCli([...args, '--accept-preloaded']);
    expect(accepted).toMatchObject({ code: 0, stderr: '' });
    expect(accepted.stdout).toMatch(
      new RegExp(
        '^undecodable [\\s\\S]*\n {2}now {4}quarantine/[\\s\\S]*\nWARNING: After this the image ' +
          'looks preloaded: under the default policy every pod may use it\\. [\\s\\S]*\n' +
          'put into quarantine: 2 undecodable, 1 misfiled\n' +
          'PASSED: 3 valid, 0 undecodable, 0 misfiled, 0 orphan, 0 unread in the store now\n$',
      ),
    );
    // Nothing is left that would have to be accepted.
    expect(await runCli(args)).toMatchObject({ code: 0, stderr: '' });
  });

  it('names the file where the environment cannot be opened', async () => {
    const store = storeIn(newDirectory(), 'lmdb');
    await fill(store.options, usualBatch());
    const file = join(pathOf(store), 'data.mdb');
    writeFileSync(file, 'not a database, but long enough to be looked at'.repeat(10));
    const { code, findings } = await verify(store);
    expect(code).toBe(1);
    expect(findings).toMatchObject([{ kind: 'store', verdict: 'undecodable', location: file }]);
  });
});

describe('verify on a journal', () => {
  function segmentOf(store: NamedStore): string {
    const path = pathOf(store);
    return join(path, readdirSync(path).find((name) => name.endsWith('.journal'))!);
  }

  it('names file and offset of damage, and changes nothing', async () => {
    const store = storeIn(newDirectory(), 'journal');
    await fill(store.options, usualBatch());
    const file = segmentOf(store);
    const bytes = readFileSync(file);
    bytes[bytes.indexOf('sha256:app')]! ^= 1;
    writeFileSync(file, bytes);
    const { code, findings, passed } = await verify(store);
    expect({ code, passed }).toEqual({ code: 1, passed: false });
    expect(findings).toEqual([
      {
        kind: 'store',
        verdict: 'undecodable',
        location: file,
        offset: expect.any(Number),
        reason: 'the checksum of a batch is wrong',
      },
    ]);
    expect(readFileSync(file).equals(bytes)).toBe(true);
    const exported = await runCli(['records', 'export', ...store.args()]);
    expect(exported).toMatchObject({ code: 1, stdout: '' });
    expect(exported.stderr).toContain('ERR_PULLMANAGER_STORE_CORRUPT');
  });

  it('finds a lost manifest', async () => {
    const store = storeIn(newDirectory(), 'journal');
    await fill(store.options, usualBatch());
    const path = join(pathOf(store), 'MANIFEST');
    writeFileSync(path, 'no manifest');
    const { code, findings } = await verify(store);
    expect(code).toBe(1);
    expect(findings).toMatchObject([{ location: path, reason: 'it is not a manifest' }]);
  });

  it('remarks a batch that was never finished, and files that were being built', async () => {
    const store = storeIn(newDirectory(), 'journal');
    await fill(store.options, [{ op: 'writeIntent', image: 'a' }]);
    await fill(store.options, [{ op: 'writeIntent', image: 'x'.repeat(3_000) }]);
    const names = readdirSync(pathOf(store)).filter((name) => name.endsWith('.journal'));
    const last = join(pathOf(store), names.sort().at(-1)!);
    const bytes = readFileSync(last);
    // The mark of the close never came, and of the last batch one sector is missing.
    bytes.fill(0, 1024);
    writeFileSync(last, bytes);
    const half = join(pathOf(store), '000001-0000-0000000099.snapshot.tmp');
    writeFileSync(half, '');
    const { code, counts, remarks, passed } = await verify(store);
    expect({ code, counts, passed }).toMatchObject({ code: 0, counts: { valid: 1 }, passed: true });
    expect(remarks).toEqual([
      `${half}: a file was being built when its writer ended`,
      expect.stringMatching(/\.journal at offset \d+: the last batch was being written/),
    ]);
  });
});
