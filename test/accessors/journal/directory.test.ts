/** What a journal's directory may look like, and what it does to it. */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeFrame, FRAME_KINDS, sealFrame } from '../../../src/accessors/journal/frame.ts';
import {
  copyOf,
  dump,
  failure,
  newDirectory,
  openOne,
  openPartition,
  prepare,
} from '../../fixtures/journal/kit.ts';

const CORRUPT = 'ERR_PULLMANAGER_STORE_CORRUPT';
const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
const UNSUPPORTED = 'ERR_PULLMANAGER_STORE_VERSION_UNSUPPORTED';
const GOLDEN = new URL('../../fixtures/journal/v1', import.meta.url).pathname;
/** Packed credentials of the golden journal. */
const NODE = [1, null, null, null];
const LISTED = [
  0,
  ['u1', 'tenant-a', 'pull', 'ab12', 1_700_000_000_000, 'u2', 'tenant-b', 'pull', '', null],
  ['u3', 'tenant-c', 'default', null],
  null,
];
const ONE: unknown[] = ['__proto__x', NODE, 'docker.io/library/one', LISTED, 'three', NODE];
const SEGMENT = '000001-0000-0000000001.journal';

async function withOneIntent(): Promise<string> {
  const path = newDirectory();
  const accessor = await openOne(path);
  await accessor.writeImagePullIntent('a');
  await accessor.close();
  return path;
}

function contentOf(path: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path).map((name) => [name, readFileSync(join(path, name), 'latin1')]),
  );
}

describe('the directory of a journal', () => {
  it('is made with its parents, for the owner only', async () => {
    const path = join(newDirectory(), 'some', 'where');
    const accessor = await openOne(path);
    await accessor.writeImagePullIntent('a');
    await accessor.close();
    expect(statSync(path).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(path)) {
      expect(statSync(join(path, name)).mode & 0o777).toBe(0o600);
    }
  });

  it('may hold files of others, which are left alone', async () => {
    const path = await withOneIntent();
    const foreign = {
      LOCK: '1',
      'notes.txt': 'hello',
      'x.tmp': 'tmp',
      '1-2-3.journal': 'short',
      '000001-0000-0000000002.journal.bak': 'backup',
      '000001-0000-0000000002.snapshot.tmp.old': 'old',
    };
    for (const [name, text] of Object.entries(foreign)) writeFileSync(join(path, name), text);
    mkdirSync(join(path, 'directory'));
    const accessor = await openOne(path);
    expect((await dump(accessor)).intents).toEqual(['a']);
    await accessor.close();
    for (const [name, text] of Object.entries(foreign)) {
      expect(readFileSync(join(path, name), 'utf8')).toBe(text);
    }
  });

  it('is rid of what a crash left half done', async () => {
    const path = await withOneIntent();
    const leftovers = [
      '000001-0000-0000000002.journal.tmp',
      '000001-0000-0000000002.snapshot.tmp',
      '000002-0001-0000000001.journal',
      '000002-0001-0000000001.snapshot',
      '000007-0001-0000000001.journal',
      'MANIFEST.tmp',
    ];
    for (const name of leftovers) writeFileSync(join(path, name), 'half');
    const accessor = await openOne(path);
    expect((await dump(accessor)).intents).toEqual(['a']);
    await accessor.writeImagePullIntent('b');
    await accessor.close();
    const again = await openOne(path);
    expect((await dump(again)).intents).toEqual(['a', 'b']);
    await again.close();
    for (const name of leftovers.slice(0, -1)) expect(readdirSync(path)).not.toContain(name);
  });

  it('may come from a first start that was cut short', async () => {
    const path = newDirectory();
    const plan = await prepare(path);
    const accessor = await openPartition(plan, 0);
    const copy = copyOf(path);
    await accessor.close();
    for (const directory of [copy, path]) {
      const again = await openOne(directory);
      expect(await again.count()).toEqual({ intents: 0, records: 0 });
      await again.close();
    }
  });

  it('is damaged without its manifest if there are records', async () => {
    const path = await withOneIntent();
    rmSync(join(path, 'MANIFEST'));
    const before = contentOf(path);
    expect(await failure(() => openOne(path))).toMatchObject({
      code: CORRUPT,
      path: join(path, 'MANIFEST'),
    });
    expect(contentOf(path)).toEqual(before);
  });

  it('is refused when a bit of the manifest is flipped, or a byte cut off', async () => {
    const path = await withOneIntent();
    const manifest = join(path, 'MANIFEST');
    const bytes = readFileSync(manifest);
    const names = readdirSync(path);
    const variants: Buffer[] = [];
    for (let index = 0; index < bytes.length; index++) {
      variants.push(bytes.subarray(0, index));
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[index]! ^= 1 << bit;
        variants.push(flipped);
      }
    }
    for (const variant of variants) {
      writeFileSync(manifest, variant);
      const error = await failure(() => prepare(path));
      expect([CORRUPT, UNSUPPORTED]).toContain(error?.code);
      expect(error?.path).toBe(manifest);
    }
    expect(readdirSync(path)).toEqual(names);
  });

  it('of a newer format is refused and left as it is', async () => {
    const path = await withOneIntent();
    const manifest = join(path, 'MANIFEST');
    const text = readFileSync(manifest, 'utf8');
    writeFileSync(manifest, text.replace('"version":1', '"version":2'));
    writeFileSync(join(path, '000002-0000-0000000001.journal'), 'from the future');
    const before = contentOf(path);
    expect(await failure(() => openOne(path))).toMatchObject({ code: UNSUPPORTED, path: manifest });
    expect(contentOf(path)).toEqual(before);
  });

  it('with a file of a newer format is refused and left as it is', async () => {
    const path = await withOneIntent();
    const file = join(path, SEGMENT);
    const bytes = readFileSync(file);
    const frame = Buffer.from(encodeFrame([2, 'journal', { anything: true }]));
    sealFrame(frame, FRAME_KINDS.FILE, 1, 0);
    frame.copy(bytes);
    writeFileSync(file, bytes);
    const before = contentOf(path);
    expect(await failure(() => openOne(path))).toMatchObject({ code: UNSUPPORTED, path: file });
    expect(contentOf(path)).toEqual(before);
  });

  it('with a well-formed frame of a wrong shape is refused', async () => {
    const path = await withOneIntent();
    const file = join(path, SEGMENT);
    const bytes = readFileSync(file);
    const shapes: unknown[] = [null, 5, 'x', [], [1], [1, 2, 3], { a: 1 }, [1, 'journal', 1, 0]];
    for (const shape of shapes) {
      const frame = Buffer.from(encodeFrame(shape));
      sealFrame(frame, FRAME_KINDS.FILE, 1, 0);
      const changed = Buffer.from(bytes);
      frame.copy(changed);
      writeFileSync(file, changed);
      expect(await failure(() => openOne(path))).toMatchObject({ code: CORRUPT, path: file });
    }
  });

  it('written by the first release is read', async () => {
    const path = copyOf(GOLDEN);
    const accessor = await openOne(path);
    expect(await dump(accessor)).toEqual({
      intents: ['docker.io/library/kept:1', '\ud800lone'],
      records: [
        ['sha256:five', 6, 'a', LISTED, 'b', LISTED],
        ['sha256:one', 1_700_000_000_002, ...ONE],
        ['sha256:three', 5, 'n', [2, [], null, null]],
        ['sha256:two', 1_700_000_000_001, 'two', NODE],
      ].map((fields) => JSON.stringify([1, ...fields])),
    });
    await accessor.close();
  });
});

describe('a path', () => {
  it.each([
    { name: 'that is a file', make: (path: string) => writeFileSync(path, '') },
    { name: 'that is a link to nothing', make: (path: string) => symlinkSync('/nowhere/x', path) },
  ])('$name is a clear error', async ({ make }) => {
    const path = join(newDirectory(), 'path');
    make(path);
    const error = await failure(() => openOne(path));
    expect(error).toMatchObject({ code: UNAVAILABLE, path });
    expect(error?.message).toContain(path);
  });

  it('below a file is a clear error', async () => {
    const path = join(newDirectory(), 'file');
    writeFileSync(path, '');
    const below = join(path, 'below');
    expect(await failure(() => openOne(below))).toMatchObject({ code: UNAVAILABLE, path: below });
  });

  it('that may not be written to is a clear error', async () => {
    const path = newDirectory();
    chmodSync(path, 0o500);
    const isRoot = process.geteuid?.() === 0;
    // Nothing is forbidden to root.
    if (isRoot) process.seteuid!(65_534);
    const error = await failure(() => openOne(path));
    if (isRoot) process.seteuid!(0);
    expect(error).toMatchObject({ code: UNAVAILABLE, path });
    expect(error?.message).toContain('EACCES');
  });

  it('with an empty file in place of a segment is refused', async () => {
    const path = await withOneIntent();
    truncateSync(join(path, SEGMENT), 0);
    expect(await failure(() => openOne(path))).toMatchObject({
      code: CORRUPT,
      path: join(path, SEGMENT),
    });
  });

  it.each([
    { name: 'no partitions', options: { partitionCount: 0 } },
    { name: 'part of a partition', options: { partitionCount: 1.5 } },
    { name: 'not a number of stripes', options: { stripeCount: Number.NaN } },
    { name: 'too many stripes', options: { stripeCount: 32 } },
  ])('with $name is a wrong argument', async ({ options }) => {
    expect(await failure(() => prepare(newDirectory(), options))).toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
    });
  });
});
