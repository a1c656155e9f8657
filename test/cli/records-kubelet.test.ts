/** The record tools on a kubelet's own directory, as an old kubelet and an accident have left it. */
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/accessors/inspection.ts';
import { recordFileName } from '../../src/accessors/kubelet/record-format.ts';
import type { VerifyResult } from '../../src/records-tools/verify.ts';
import { runCli } from '../support/cli.ts';
import { APP, fill, newDirectory, storeIn, usualBatch } from '../support/record-sets.ts';

const GOLDEN = fileURLToPath(new URL('../fixtures/kubelet-records/', import.meta.url));
const KINDS = ['pulling', 'pulled'] as const;
const BROKEN = recordFileName('testbrokenrecord');
const LONG_AGO = new Date('2026-01-01T00:00:00Z');
const MISFILED = recordFileName('somewhere-else');

/** A directory with upstream's own files of one version, and others if asked for. */
function imageManager(version: string | undefined): string {
  const dir = join(newDirectory(), 'image_manager');
  for (const kind of KINDS) {
    mkdirSync(join(dir, kind), { recursive: true, mode: 0o700 });
    for (const name of readdirSync(join(GOLDEN, kind))) {
      const text = readFileSync(join(GOLDEN, kind, name), 'utf8');
      if (name === BROKEN) continue;
      if (version === undefined || text.includes(`/${version}"`)) {
        copyFileSync(join(GOLDEN, kind, name), join(dir, kind, name));
      }
    }
  }
  return dir;
}

/** Adds what went wrong: a broken record, one under another's name, a left-over. */
function damage(dir: string): void {
  copyFileSync(join(GOLDEN, 'pulled', BROKEN), join(dir, 'pulled', BROKEN));
  copyFileSync(join(GOLDEN, 'alternates', `${MISFILED}.misfiled`), join(dir, 'pulled', MISFILED));
  const leftOver = join(dir, 'pulling', `${recordFileName('x')}.tmp`);
  writeFileSync(leftOver, '{');
  utimesSync(leftOver, LONG_AGO, LONG_AGO);
}

/** The kubelet's files, byte for byte. */
function filesOf(dir: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const kind of KINDS) {
    for (const name of readdirSync(join(dir, kind))) {
      files[`${kind}/${name}`] = readFileSync(join(dir, kind, name), 'utf8');
    }
  }
  return files;
}

/** All there is in the directory, and when it was changed last. */
function statesIn(dir: string): Record<string, unknown> {
  const states: Record<string, unknown> = {};
  for (const name of ['.', ...readdirSync(dir, { recursive: true, encoding: 'utf8' })]) {
    const { ino, mode, size, mtimeMs, ctimeMs } = statSync(join(dir, name));
    states[name] = { ino, mode, size, mtimeMs, ctimeMs };
  }
  return states;
}

async function json<T>(...args: string[]): Promise<T & { code: number | null }> {
  const { code, stdout } = await runCli([...args, '--json']);
  return { code, ...(JSON.parse(stdout) as T) };
}

describe('records of a kubelet', () => {
  it('are listed, whatever version wrote them', async () => {
    const dir = imageManager(undefined);
    const expected = filesOf(dir);
    const { code, intents, pulled } = await json<{ intents: unknown[]; pulled: unknown[] }>(
      'records',
      'list',
      '--store',
      `kubelet:${dir}`,
    );
    expect(code).toBe(0);
    expect(intents.length + pulled.length).toBe(Object.keys(expected).length);
  });

  it('stay as they are, and alone, when a tool only looks', async () => {
    const dir = imageManager('v1alpha1');
    const before = statesIn(dir);
    const store = ['--store', `kubelet:${dir}`];
    const runs = [
      ['records', 'list'],
      ['records', 'show', 'testimageref'],
      ['records', 'verify'],
      ['records', 'export'],
      [
        'records',
        'prune',
        '--keep',
        '-',
        '--until',
        '2035-01-01T00:00:00Z',
        '--dry-run',
        '--allow-unmatched',
      ],
      ['check', 'docker.io/testing/test:v1', 'testimageref'],
    ];
    const outcomes = runs.map(async (args) => {
      const { code, stderr } = await runCli([...args, ...store], { input: 'listed\n' });
      expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' });
    });
    await Promise.all(outcomes);
    expect(statesIn(dir)).toEqual(before);
  });

  it('are verified file by file, and what is bad is put aside where that is asked for', async () => {
    const dir = imageManager(undefined);
    damage(dir);
    const verify = ['records', 'verify', '--store', `kubelet:${dir}`];
    const seen = await json<VerifyResult & { findings: Finding[] }>(...verify);
    expect(seen.code).toBe(1);
    expect(seen.counts).toMatchObject({ undecodable: 1, misfiled: 1, orphan: 1 });
    for (const { reason, location } of seen.findings) {
      expect(reason).toMatch(/./);
      expect(location).toContain(dir);
    }
    const good = Object.keys(filesOf(dir)).length - 3;
    expect(seen.counts.valid).toBe(good);
    const untouched = filesOf(dir);
    expect(await json<VerifyResult>(...verify, '--repair')).toMatchObject({
      code: 2,
      isRefused: true,
    });
    expect(filesOf(dir)).toEqual(untouched);
    const repaired = await json<VerifyResult>(...verify, '--repair', '--accept-preloaded');
    expect(repaired.code).toBe(0);
    expect(Object.keys(filesOf(dir))).toHaveLength(good);
    const aside = join(dir, '.pullwarden', 'quarantine');
    const kept = readdirSync(aside, { recursive: true, encoding: 'utf8' });
    for (const name of [BROKEN, MISFILED]) {
      expect(kept.some((path) => path.includes(name))).toBe(true);
    }
    expect((await json(...verify)).code).toBe(0);
  });

  it('open the image that a misfiled one names, too, when it is put aside, and that is said', async () => {
    const dir = imageManager('v1beta1');
    damage(dir);
    const { imageRef } = JSON.parse(readFileSync(join(dir, 'pulled', MISFILED), 'utf8'));
    rmSync(join(dir, 'pulled', recordFileName(imageRef)));
    const store = ['--store', `kubelet:${dir}`];
    const reasonOf = async (ref: string): Promise<string> =>
      (await json<{ reason: string }>('check', 'docker.io/testing/test:v1', ref, ...store)).reason;
    for (const ref of [imageRef, 'somewhere-else']) expect(await reasonOf(ref)).toBe('error');
    const verify = ['records', 'verify', ...store, '--repair', '--accept-preloaded'];
    const { consequence } = await json<VerifyResult>(...verify);
    for (const ref of [imageRef, 'somewhere-else']) {
      expect(await reasonOf(ref)).toBe('credentialPolicyAllowed');
    }
    expect(consequence).toMatch(/in the directory of a kubelet also the one that is named$/);
  });

  it('are no more than the sound ones where they are moved, and the rest is counted', async () => {
    const dir = imageManager('v1beta1');
    damage(dir);
    const { imageRef } = JSON.parse(readFileSync(join(dir, 'pulled', MISFILED), 'utf8'));
    rmSync(join(dir, 'pulled', recordFileName(imageRef)));
    const file = join(newDirectory(), 'records.ndjson');
    const from = ['--store', `kubelet:${dir}`, '--output', file];
    expect(await json('records', 'export', ...from)).toMatchObject({ code: 1, damaged: 2 });
    expect(readFileSync(file, 'utf8')).not.toContain(`"${imageRef}"`);
    const journal = `journal:${join(newDirectory(), 'journal')}`;
    expect(
      await json('records', 'import', '--from', `kubelet:${dir}`, '--store', journal),
    ).toMatchObject({ code: 1, damaged: 2 });
    const { stdout } = await runCli(['records', 'list', '--store', journal]);
    expect(stdout).not.toContain(imageRef);
  });

  it('need no leave to have what a crash left put aside', async () => {
    const dir = imageManager('v1beta1');
    const left = join(dir, 'pulling', `${recordFileName('x')}.tmp`);
    writeFileSync(left, '{');
    // Not a file that somebody may still be writing.
    utimesSync(left, 1, 1);
    const args = ['records', 'verify', '--store', `kubelet:${dir}`, '--repair'];
    const repaired = await json<VerifyResult>(...args);
    expect(repaired).toMatchObject({ code: 0, quarantined: 1, counts: { orphan: 1 } });
    expect(repaired).not.toHaveProperty('consequence');
  });

  it('of a newer kubelet are unread for an older one, no damage, and never repaired', async () => {
    const dir = imageManager('v1beta1');
    const before = filesOf(dir);
    const count = Object.keys(before).length;
    const args = ['records', 'verify', '--store', `kubelet:${dir}`, '--compatibility', 'v1.34'];
    for (const repair of [[], ['--repair'], ['--repair', '--accept-preloaded']]) {
      const seen = await json<VerifyResult & { findings: Finding[] }>(...args, ...repair);
      expect(seen).toMatchObject({
        code: 1,
        counts: { valid: 0, undecodable: 0, misfiled: 0, unread: count },
        quarantined: 0,
        passed: false,
      });
      expect(new Set(seen.findings.map(({ verdict }) => verdict))).toEqual(new Set(['unread']));
      expect(filesOf(dir)).toEqual(before);
    }
  });

  it('go to a journal and back without a loss, byte for byte', async () => {
    const dir = imageManager('v1beta1');
    const journal = `journal:${join(newDirectory(), 'journal')}`;
    const back = join(newDirectory(), 'image_manager');
    for (const [from, to] of [
      [`kubelet:${dir}`, journal],
      [journal, `kubelet:${back}`],
    ] as const) {
      const { code, stderr } = await runCli(['records', 'import', '--from', from, '--store', to]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    }
    // What upstream left without a final newline gets one; all else is the same.
    const expected = Object.entries(filesOf(dir)).map(([path, text]) => [path, `${text.trim()}\n`]);
    expect(filesOf(back)).toEqual(Object.fromEntries(expected));
  });

  it('lose what the files cannot say, record by record and in words', async () => {
    const journal = storeIn(newDirectory(), 'journal');
    await fill(journal.options, usualBatch());
    const dir = join(newDirectory(), 'image_manager');
    const { code, stderr } = await runCli([
      'records',
      'import',
      ...journal.args('from'),
      '--store',
      `kubelet:${dir}`,
    ]);
    expect(code).toBe(0);
    const second =
      'kept without the milliseconds of the time of the record, no place for it in the store';
    expect(stderr).toContain(`2 records ${second}: "sha256:app", "sha256:base"\n`);
    expect(stderr).toMatch(/1 record kept without .*\(provenAtMs\).*: "sha256:app"\n/);
    expect(stderr.trimEnd().split('\n')).toHaveLength(2);
    expect(stderr).not.toContain('hash-');
    expect(Object.keys(filesOf(dir)).sort()).toEqual(
      [
        `pulling/${recordFileName(`${APP}:next`)}`,
        ...['app', 'base', 'unproven'].map((id) => `pulled/${recordFileName(`sha256:${id}`)}`),
      ].sort(),
    );
  });

  it('are decided on as the kubelet would', async () => {
    const dir = imageManager('v1beta1');
    writeFileSync(join(dir, 'pulled', recordFileName('damaged')), '{}');
    const damaged = await runCli([
      'check',
      'docker.io/testing/test:v1',
      'damaged',
      '--store',
      `kubelet:${dir}`,
    ]);
    expect(damaged.code).toBe(1);
    const file = join(dir, 'pulled', recordFileName('damaged'));
    expect(damaged.stdout).toContain(`\n  where  ${file}\n  why    kind is missing\n`);
    const check = (image: string, imageRef: string): Promise<object> =>
      json('check', image, imageRef, '--store', `kubelet:${dir}`);
    expect(await check('docker.io/testing/test:v1', 'testimage-anonpull')).toMatchObject({
      mustPull: false,
      reason: 'credentialRecordFound',
    });
    expect(await check('docker.io/testing/test:v1', 'testimageref1')).toMatchObject({
      mustPull: true,
      reason: 'mustAuthenticate',
    });
  });
});
