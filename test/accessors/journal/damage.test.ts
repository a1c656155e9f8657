/** Cuts and flipped bits at every place of small journals, and writes torn by a power cut. */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RecordWrite } from '../../../src/accessors/accessor.ts';
import { type JournalFile, listJournalFiles } from '../../../src/accessors/journal/file-names.ts';
import { isZero, SECTOR_BYTES } from '../../../src/accessors/journal/frame.ts';
import { Pacer } from '../../../src/accessors/journal/pacer.ts';
import { recoverPartition } from '../../../src/accessors/journal/recovery.ts';
import { JournalState } from '../../../src/accessors/journal/state.ts';
import {
  copyOf,
  type Dump,
  dump,
  dumpOf,
  failure,
  Model,
  newDirectory,
  openOne,
  secretOf,
} from '../../fixtures/journal/kit.ts';

const CORRUPT = 'ERR_PULLMANAGER_STORE_CORRUPT';
const UNSUPPORTED = 'ERR_PULLMANAGER_STORE_VERSION_UNSUPPORTED';

/** Batches of all kinds of writes; the last one, if long, is several sectors long. */
function batchesOf(model: Model, lastIsLong = false): RecordWrite[][] {
  const batches: (() => RecordWrite[])[] = [
    () => [{ op: 'writeIntent', image: 'docker.io/library/a:1' }],
    () => [
      model.change('sha256:a', 'docker.io/library/a', secretOf(1), 1_700_000_000_000),
      { op: 'deleteIntent', image: 'docker.io/library/a:1' },
      { op: 'writeIntent', image: 'docker.io/library/b:1' },
    ],
    () => [model.change('sha256:a', 'docker.io/library/a', secretOf(2), 1_700_000_000_001)],
    () => [{ op: 'writePulled', record: model.change('sha256:b', 'b', secretOf(3), 5).record }],
    () => [
      { op: 'deletePulled', imageRef: 'sha256:b' },
      { op: 'writeIntent', image: lastIsLong ? `long-${'x'.repeat(2000)}` : 'c:1' },
    ],
  ];
  return batches.map((make) => {
    const batch = make();
    model.apply(batch);
    return batch;
  });
}

async function recover(directory: string, files: readonly JournalFile[]): Promise<Dump> {
  const state = new JournalState();
  await recoverPartition({
    directory,
    files,
    partitionCount: 1,
    state,
    pacer: new Pacer(false),
    flushes: false,
  });
  return dumpOf(state.intents, state.records.values());
}

interface Variant {
  readonly name: string;
  /** Makes a journal; resolves with a copy of its directory and what was acknowledged. */
  readonly make: () => Promise<{ path: string; expected: Dump }>;
}

const variants: Variant[] = [
  {
    name: 'closed in order',
    make: async () => {
      const path = newDirectory();
      const model = new Model();
      const accessor = await openOne(path);
      for (const batch of batchesOf(model)) await accessor.commit(batch);
      await accessor.close();
      return { path, expected: model.dump() };
    },
  },
  {
    name: 'killed',
    make: async () => {
      const path = newDirectory();
      const model = new Model();
      const accessor = await openOne(path);
      for (const batch of batchesOf(model)) await accessor.commit(batch);
      const copy = copyOf(path);
      await accessor.close();
      return { path: copy, expected: model.dump() };
    },
  },
  {
    name: 'killed twice, with two segments',
    make: async () => {
      const path = newDirectory();
      const model = new Model();
      const batches = batchesOf(model);
      const first = await openOne(path);
      for (const batch of batches.slice(0, 3)) await first.commit(batch);
      const copy = copyOf(path);
      await first.close();
      const second = await openOne(copy);
      for (const batch of batches.slice(3)) await second.commit(batch);
      const last = copyOf(copy);
      await second.close();
      return { path: last, expected: model.dump() };
    },
  },
  {
    name: 'killed after a snapshot',
    make: async () => {
      const path = newDirectory();
      const model = new Model();
      const batches = batchesOf(model);
      const accessor = await openOne(path, { tuning: { snapshotBytesMin: 100 } });
      for (const batch of batches.slice(0, 3)) await accessor.commit(batch);
      await accessor.maintenance;
      await accessor.close();
      const second = await openOne(path);
      for (const batch of batches.slice(3)) await second.commit(batch);
      const copy = copyOf(path);
      await second.close();
      return { path: copy, expected: model.dump() };
    },
  },
];

/** Everything there, or an error that names the file. */
async function checkOutcome(
  path: string,
  files: readonly JournalFile[],
  file: JournalFile,
  expected: Dump,
  what: string,
): Promise<'intact' | 'refused'> {
  try {
    const found = await recover(path, files);
    if (JSON.stringify(found) !== JSON.stringify(expected)) {
      throw new Error(`${what} lost something silently: ${JSON.stringify(found)}`);
    }
    return 'intact';
  } catch (error) {
    const { code, path: named } = error as { code?: string; path?: string };
    if (code !== CORRUPT && code !== UNSUPPORTED) throw error;
    // The file, or the one that tells that it is missing.
    if (!files.some((other) => other.path === named)) throw error;
    if (files.length === 1) expect(named).toBe(file.path);
    return 'refused';
  }
}

describe.each(variants)('a journal $name', ({ make }) => {
  it('is read back as it was', async () => {
    const { path, expected } = await make();
    expect(await recover(path, await listJournalFiles(path))).toEqual(expected);
    const accessor = await openOne(path);
    expect(await dump(accessor)).toEqual(expected);
    await accessor.close();
  });

  it('is refused or whole when cut at any byte', async () => {
    const { path, expected } = await make();
    const files = await listJournalFiles(path);
    for (const file of files) {
      const bytes = readFileSync(file.path);
      for (let length = 0; length < bytes.length; length++) {
        if (length > 1200 && length % 61 !== 0 && length !== bytes.length - 1) continue;
        writeFileSync(file.path, bytes.subarray(0, length));
        const outcome = await checkOutcome(path, files, file, expected, `cut at ${length}`);
        expect(outcome).toBe('refused');
      }
      writeFileSync(file.path, bytes);
    }
  });

  it('is refused or whole when any bit is flipped', async () => {
    const { path, expected } = await make();
    const files = await listJournalFiles(path);
    let refusedCount = 0;
    for (const file of files) {
      const bytes = readFileSync(file.path);
      const fd = openSync(file.path, 'r+');
      for (let index = 0; index < bytes.length; index++) {
        // Of the untouched rest, one bit of some bytes.
        const isRest = isZero(bytes, index, Math.min(bytes.length, index + 64));
        if (isRest && index % 17 !== 0) continue;
        for (let bit = isRest ? index % 8 : 0; bit < 8; bit += isRest ? 8 : 1) {
          writeSync(fd, Buffer.of(bytes[index]! ^ (1 << bit)), 0, 1, index);
          const what = `bit ${bit} of byte ${index} of ${file.path}`;
          const outcome = await checkOutcome(path, files, file, expected, what);
          if (outcome === 'refused') refusedCount++;
        }
        writeSync(fd, bytes, index, 1, index);
      }
      closeSync(fd);
    }
    expect(refusedCount).toBeGreaterThan(1000);
  });
});

describe('the last batch of a killed journal', () => {
  it('is dropped if any of its sectors did not reach the disk', async () => {
    const path = newDirectory();
    const accessor = await openOne(path);
    const model = new Model();
    const batches = batchesOf(model, true);
    const before = new Model();
    for (const batch of batches.slice(0, -1)) {
      await accessor.commit(batch);
      before.apply(batch);
    }
    const [file] = await listJournalFiles(copyOf(path));
    const start = endOfContent(readFileSync(file!.path));
    await accessor.commit(batches.at(-1)!);
    const copy = copyOf(path);
    await accessor.close();
    const [last] = await listJournalFiles(copy);
    const bytes = readFileSync(last!.path);
    const sectors = sectorsOf(start, endOfContent(bytes));
    expect(sectors.length).toBeGreaterThan(4);
    for (let missing = 0; missing < 2 ** sectors.length; missing++) {
      const torn = Buffer.from(bytes);
      sectors.forEach(([from, end], index) => {
        if ((missing & (1 << index)) !== 0) torn.fill(0, from, end);
      });
      writeFileSync(last!.path, torn);
      const expected = missing === 0 ? model : before;
      expect(await recover(copy, [last!])).toEqual(expected.dump());
    }
  });

  it('goes to a new segment after a torn one, which is fenced out for good', async () => {
    const path = newDirectory();
    const accessor = await openOne(path);
    const model = new Model();
    const [first, second, ...rest] = batchesOf(model, true);
    await accessor.commit(first!);
    const copy = copyOf(path);
    await accessor.close();
    const [file] = await listJournalFiles(copy);
    const bytes = readFileSync(file!.path);
    const at = endOfContent(bytes);
    // The middle of a long batch whose beginning and end never arrived.
    const from = (Math.floor(at / SECTOR_BYTES) + 2) * SECTOR_BYTES;
    bytes.fill(0x61, from, from + SECTOR_BYTES);
    writeFileSync(file!.path, bytes);
    const again = await openOne(copy);
    await again.commit(second!);
    for (const batch of rest) await again.commit(batch);
    await again.close();
    const last = await openOne(copy);
    expect(await dump(last)).toEqual(model.dump());
    await last.close();
  });

  it.each([
    { name: 'first', index: 0 },
    { name: 'second', index: 1 },
  ])('is damage, not torn, if its $name sector is blank and a batch follows', async ({ index }) => {
    const path = newDirectory();
    const accessor = await openOne(path);
    const model = new Model();
    for (const batch of batchesOf(model)) await accessor.commit(batch);
    const [file] = await listJournalFiles(path);
    const start = endOfContent(readFileSync(file!.path));
    await accessor.commit([{ op: 'writeIntent', image: `long-${'x'.repeat(2000)}` }]);
    const end = endOfContent(readFileSync(file!.path));
    await accessor.commit([{ op: 'writeIntent', image: 'after' }]);
    const copy = copyOf(path);
    await accessor.close();
    const [damaged] = await listJournalFiles(copy);
    const bytes = readFileSync(damaged!.path);
    const [from, to] = sectorsOf(start, end)[index]!;
    bytes.fill(0, from, to);
    writeFileSync(damaged!.path, bytes);
    const error = await failure(() => openOne(copy));
    expect(error).toMatchObject({ code: CORRUPT, path: damaged!.path, offset: start });
    expect(readFileSync(damaged!.path).equals(bytes)).toBe(true);
  });
});

describe('without flushes', () => {
  it('keeps what came before a sector that a power cut took, and goes on from there', async () => {
    const path = newDirectory();
    const accessor = await openOne(path, { durability: 'write' });
    const before = new Model();
    const batch: RecordWrite[] = [{ op: 'writeIntent', image: 'first' }];
    await accessor.commit(batch);
    before.apply(batch);
    const start = endOfContent(readFileSync((await listJournalFiles(path))[0]!.path));
    for (const letter of ['x', 'y']) {
      await accessor.commit([{ op: 'writeIntent', image: letter.repeat(1500) }]);
    }
    const copy = copyOf(path);
    await accessor.close();
    const [file] = await listJournalFiles(copy);
    const bytes = readFileSync(file!.path);
    const from = (Math.floor(start / SECTOR_BYTES) + 1) * SECTOR_BYTES;
    bytes.fill(0, from, from + SECTOR_BYTES);
    writeFileSync(file!.path, bytes);
    const second = await openOne(copy);
    expect(await dump(second)).toEqual(before.dump());
    const more: RecordWrite[] = [{ op: 'writeIntent', image: 'second' }];
    await second.commit(more);
    before.apply(more);
    await second.close();
    const third = await openOne(copy);
    expect(await dump(third)).toEqual(before.dump());
    await third.close();
  });
});

describe('files', () => {
  it('are damage when one is missing', async () => {
    const path = newDirectory();
    for (const image of ['a', 'b', 'c']) {
      const accessor = await openOne(path);
      await accessor.commit([{ op: 'writeIntent', image }]);
      await accessor.close();
    }
    const files = await listJournalFiles(path);
    expect(files.length).toBe(3);
    for (const file of files.slice(0, 2)) {
      const rest = files.filter((other) => other !== file);
      const error = await failure(() => recover(path, rest));
      expect(error).toMatchObject({ code: CORRUPT });
      expect(rest.map((other) => other.path)).toContain(error!.path);
    }
    expect(await failure(() => recover(path, []))).toMatchObject({
      code: CORRUPT,
      path: join(path, 'MANIFEST'),
    });
  });

  it('of another number are not taken', async () => {
    const path = newDirectory();
    const accessor = await openOne(path);
    await accessor.close();
    const [file] = await listJournalFiles(path);
    const other = { ...file!, number: 9 };
    expect(await failure(() => recover(path, [other]))).toMatchObject({ code: CORRUPT });
  });
});

function endOfContent(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

function sectorsOf(from: number, end: number): [number, number][] {
  const sectors: [number, number][] = [];
  for (let at = from; at < end; ) {
    const sectorEnd = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    sectors.push([at, sectorEnd]);
    at = sectorEnd;
  }
  return sectors;
}
