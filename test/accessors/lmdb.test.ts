import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Packr } from 'msgpackr';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openBackend } from '../../src/accessors/backend.ts';
import { openLmdb } from '../../src/accessors/lmdb.ts';
import { LMDB_FORMAT_VERSION } from '../../src/accessors/lmdb-environment.ts';
import { openAccessor } from '../../src/accessors/open-accessor.ts';
import {
  accessorSuite,
  codeOf,
  comparable,
  record,
  secrets,
} from '../conformance/accessor-suite.ts';
import { corruptible, keyOf, tamper } from './lmdb-damage.ts';
import {
  type OpenedStore,
  openStore,
  openTemporaryStore,
  soleWorker,
  temporaryDirectory,
} from './open-store.ts';

const RECORD_CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const STORE_CORRUPT = 'ERR_PULLMANAGER_STORE_CORRUPT';
const THREAD = new URL('../fixtures/accessors/lmdb-thread.mjs', import.meta.url);
const WRITER = fileURLToPath(new URL('../fixtures/accessors/lmdb-writer.ts', import.meta.url));
const packr = new Packr({ useRecords: false });

type OpenedLmdb = OpenedStore & { readonly path: string };

const opened: OpenedLmdb[] = [];

afterEach(async () => {
  vi.doUnmock('lmdb');
  vi.resetModules();
  for (const store of opened.splice(0)) await store.dispose();
});

async function openForTest(): Promise<OpenedLmdb> {
  const store = await openTemporaryStore((path) => ({ kind: 'lmdb', path }));
  opened.push(store);
  return store;
}

accessorSuite({
  name: 'lmdb',
  open: async () => corruptible(await openTemporaryStore((path) => ({ kind: 'lmdb', path }))),
  capabilities: { overlappingCommits: true, historyCount: 20 },
});

describe('lmdb store', () => {
  it('answers reads at once, and commits with a promise that makes them visible', async () => {
    const { accessor } = await openForTest();
    const written = accessor.writeImagePullIntent('a');
    expect(written).toBeInstanceOf(Promise);
    await written;
    expect(accessor.imagePullIntentExists('a')).toBe(true);
    expect(accessor.commit([])).toBeUndefined();
  });

  it('finds a flipped bit at every position of a record and of an intent', async () => {
    const { accessor, path } = await openForTest();
    await accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
    await accessor.writeImagePullIntent('image');
    let length = 0;
    const lengthOf = (value: Buffer): Buffer => {
      length = value.byteLength;
      return value;
    };
    for (const [database, key, read] of [
      ['pulled', keyOf('ref'), () => accessor.getImagePulledRecord('ref')],
      ['intents', keyOf('image'), () => accessor.imagePullIntentExists('image')],
    ] as const) {
      await tamper(path, database, key, lengthOf);
      for (let bit = 0; bit < length * 8; bit++) {
        const flip = (value: Buffer): Buffer => {
          value[bit >> 3]! ^= 1 << (bit & 7);
          return value;
        };
        await tamper(path, database, key, flip);
        expect([bit, await codeOf(read)]).toEqual([bit, RECORD_CORRUPT]);
        await tamper(path, database, key, flip);
      }
      expect(await codeOf(read)).toBeUndefined();
    }
  });

  it('finds a value that is filed under another key', async () => {
    const { accessor, path } = await openForTest();
    await accessor.commit([
      { op: 'writePulled', record: record('ref') },
      { op: 'writeIntent', image: 'image' },
    ]);
    let moved: Uint8Array = new Uint8Array();
    for (const [database, from] of [
      ['pulled', 'ref'],
      ['intents', 'image'],
    ] as const) {
      await tamper(path, database, keyOf(from), (value) => {
        moved = value;
        return value;
      });
      await tamper(path, database, keyOf('elsewhere'), () => moved);
    }
    expect(await codeOf(() => accessor.getImagePulledRecord('elsewhere'))).toBe(RECORD_CORRUPT);
    expect(await codeOf(() => accessor.imagePullIntentExists('elsewhere'))).toBe(RECORD_CORRUPT);
    const listing = await accessor.listImagePulledRecords();
    expect([listing.records.length, listing.errors.length]).toEqual([1, 1]);
  });

  it('leaves everything as it was when a batch cannot be stored', async () => {
    const { accessor } = await openForTest();
    const before = record('ref', { name: secrets(1) });
    await accessor.writeImagePulledRecord(before);
    const bad = record('bad', { name: { kubernetesSecrets: [{ uid: 1 } as never] } });
    const commit = () =>
      accessor.commit([
        { op: 'deletePulled', imageRef: 'ref' },
        { op: 'writeIntent', image: 'a' },
        { op: 'writePulled', record: bad },
      ]);
    expect(await codeOf(commit)).toBe('ERR_PULLMANAGER_INVALID_ARGUMENT');
    expect(comparable(await accessor.getImagePulledRecord('ref'))).toEqual(comparable(before));
    expect(accessor.imagePullIntentExists('a')).toBe(false);
  });

  it('shows one accessor what another has committed', async () => {
    const { accessor, path } = await openForTest();
    const other = await openLmdb(path);
    for (let i = 0; i < 300; i++) {
      expect(other.imagePullIntentExists(`image-${i}`)).toBe(false);
      await accessor.writeImagePullIntent(`image-${i}`);
      expect(other.imagePullIntentExists(`image-${i}`)).toBe(true);
    }
    expect(other.count()).toEqual({ intents: 300, records: 0 });
    await other.close();
  });

  it('asks for a turn of the event loop after many reads', async () => {
    const { accessor } = await openForTest();
    for (let i = 0; i < 255; i++) void accessor.imagePullIntentExists('a');
    expect(accessor.maintenance).toBeUndefined();
    void accessor.imagePullIntentExists('a');
    expect(accessor.maintenance).toBeInstanceOf(Promise);
    await accessor.maintenance;
    expect(accessor.maintenance).toBeUndefined();
  });

  it('takes commits of several threads at once', async () => {
    const { accessor, path } = await openForTest();
    const workers = ['a', 'b', 'c'].map(
      (name) => new Worker(THREAD, { workerData: { path, name, count: 200 } }),
    );
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    await Promise.all(workers.map((worker) => worker.terminate()));
    expect(accessor.count()).toEqual({ intents: 603, records: 0 });
  });

  it('lets the others go on when a thread is terminated in the middle of a commit', async () => {
    const { accessor, path } = await openForTest();
    for (const name of ['a', 'b', 'c']) {
      const worker = new Worker(THREAD, { workerData: { path, name, count: 1e9 } });
      while (!(await accessor.imagePullIntentExists(`${name}-20`))) await delay(1);
      await worker.terminate();
      await accessor.writeImagePullIntent(`after ${name}`);
      expect(await accessor.imagePullIntentExists(`after ${name}`)).toBe(true);
      expect((await accessor.listImagePullIntents()).errors).toEqual([]);
    }
  });

  it('keeps what it acknowledged when the process is killed', async () => {
    const store = await openForTest();
    await store.accessor.close();
    await store.backend.release();
    const child = spawn(process.execPath, ['--import', 'tsx', WRITER, store.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = -1;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged === 150) child.kill('SIGKILL');
    }
    expect(acknowledged).toBeGreaterThanOrEqual(150);
    const again = await openStore({ kind: 'lmdb', path: store.path });
    const { records, errors } = await again.accessor.listImagePullIntents();
    const images = new Set(records.map(({ image }) => image));
    await again.dispose();
    expect(errors).toEqual([]);
    for (let i = 0; i <= acknowledged; i++) {
      expect(images.has(`a-${i}`)).toBe(true);
      expect(images.has(`b-${i}`)).toBe(true);
    }
    // All or nothing: the one in flight has both or none.
    expect(images.size % 2).toBe(0);
  });

  it('leaves its files to their owner', async () => {
    const { path } = await openForTest();
    for (const name of ['data.mdb', 'lock.mdb']) {
      expect(((await stat(join(path, name))).mode & 0o777).toString(8)).toBe('600');
    }
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('700');
  });

  it('takes a path with a dot for a directory like any other', async () => {
    const { path, dispose } = await openTemporaryStore((parent) => ({
      kind: 'lmdb',
      path: `${parent}.mdb`,
    }));
    expect((await stat(`${path}.mdb`)).isDirectory()).toBe(true);
    await dispose();
  });

  it('refuses a newer format and a damaged format entry, and lets go of the directory', async () => {
    const { accessor, backend, path } = await openForTest();
    await accessor.close();
    const format = Buffer.from('format');
    const cases = [
      [packr.pack([LMDB_FORMAT_VERSION + 1]), 'ERR_PULLMANAGER_STORE_VERSION_UNSUPPORTED'],
      [packr.pack(['1']), STORE_CORRUPT],
      [packr.pack(null), STORE_CORRUPT],
      [Buffer.from([0xc1]), STORE_CORRUPT],
      [packr.pack([0]), STORE_CORRUPT],
    ] as const;
    await backend.release();
    for (const [value, code] of cases) {
      await tamper(path, 'meta', format, () => value);
      const again = () =>
        openBackend(
          { kind: 'lmdb', path },
          { workerCount: 1, stripeCount: 31, compatibility: 'v1.35' },
        );
      expect(await codeOf(again)).toBe(code);
      expect(await codeOf(() => openAccessor({ kind: 'lmdb', path }, soleWorker()))).toBe(code);
    }
    await tamper(path, 'meta', format, () => packr.pack([LMDB_FORMAT_VERSION]));
    const last = await openStore({ kind: 'lmdb', path });
    await last.dispose();
  });

  it('refuses a data file that is not one, and leaves it as it is', async () => {
    const { dispose, accessor, backend, path } = await openForTest();
    await accessor.close();
    await backend.release();
    const file = join(path, 'data.mdb');
    const sound = await readFile(file);
    const again = () =>
      openBackend(
        { kind: 'lmdb', path },
        { workerCount: 1, stripeCount: 31, compatibility: 'v1.35' },
      );
    for (const content of [
      Buffer.from('x'),
      Buffer.alloc(4096, 'not a database '),
      Buffer.alloc(100_000, 'not a database '),
      Buffer.alloc(8192),
      sound.subarray(0, 100),
      sound.subarray(0, 4200),
      Buffer.concat([sound.subarray(0, 48), Buffer.alloc(sound.byteLength)]),
    ]) {
      await writeFile(file, content);
      expect([content.byteLength, await codeOf(again)]).toEqual([
        content.byteLength,
        STORE_CORRUPT,
      ]);
      expect((await readFile(file)).equals(content)).toBe(true);
    }
    await writeFile(file, new Uint8Array());
    await (await again()).release();
    await dispose();
  });

  it('names a file that it cannot open', async () => {
    for (const name of ['data.mdb', 'lock.mdb']) {
      const path = await temporaryDirectory();
      await mkdir(join(path, name));
      const failing = openBackend(
        { kind: 'lmdb', path },
        { workerCount: 1, stripeCount: 31, compatibility: 'v1.35' },
      );
      await expect(failing).rejects.toMatchObject({
        code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
        message: expect.stringContaining(name),
      });
      await rm(path, { recursive: true });
    }
  });

  it('does not mind what is in its lock file', async () => {
    const { accessor, backend, path } = await openForTest();
    await accessor.writeImagePullIntent('a');
    await accessor.close();
    await backend.release();
    for (const content of ['', 'garbage', 'garbage'.repeat(5000)]) {
      await writeFile(join(path, 'lock.mdb'), content);
      const again = await openStore({ kind: 'lmdb', path });
      expect(await again.accessor.imagePullIntentExists('a')).toBe(true);
      await again.dispose();
    }
  });

  it('names the package that is missing', async () => {
    vi.resetModules();
    vi.doMock('lmdb', () => {
      throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
    });
    const { openBackend: openWithout } = await import('../../src/accessors/backend.ts');
    const path = await temporaryDirectory();
    const failing = openWithout(
      { kind: 'lmdb', path },
      { ...soleWorker(), compatibility: 'v1.35' },
    );
    await expect(failing).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
      message: expect.stringContaining('package lmdb'),
    });
    await rm(path, { recursive: true });
  });
});
