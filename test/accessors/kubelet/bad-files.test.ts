import { execFileSync } from 'node:child_process';
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { cachedAccessor } from '../../../src/accessors/cached.ts';
import { RECORD_BYTES_MAX } from '../../../src/accessors/kubelet/record-format.ts';
import { codeOf, record, secrets } from '../../conformance/accessor-suite.ts';
import { temporaryDirectory } from '../open-store.ts';
import {
  foreignChange,
  type KubeletSetup,
  type KubeletUnderTest,
  openAt,
  openTemporary,
  PlainKubelet,
  written,
} from './kit.ts';

const CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
/** Files are written only when a test asks for it. */
const LAZY: KubeletSetup = {
  tuning: { writeBehind: { delayMs: 1e9 }, watch: { pollMs: 20, watchedPollMs: 20 } },
};

let store: KubeletUnderTest;

describe('files of the kubelet that are no records', () => {
  afterEach(() => store.dispose());

  /** What can be in the place of a record, and what is said of it. */
  const BAD: Record<string, readonly [(path: string) => Promise<unknown>, string]> = {
    'an empty file': [(path) => writeFile(path, ''), 'empty'],
    'half a record': [(path) => writeFile(path, '{"kind":"ImagePulledRecord",'), 'too early'],
    'the record of another key': [
      async (path) => {
        const kubelet = new PlainKubelet(store.dir);
        await kubelet.writePulled(record('other', { name: { nodePodsAccessible: true } }));
        await rename(kubelet.pathOf('pulled', 'other'), path);
      },
      'another key',
    ],
    'a file of 100 MB': [
      async (path) => {
        await writeFile(path, '{');
        await truncate(path, 100_000_000);
      },
      `100000000 bytes, more than ${RECORD_BYTES_MAX}`,
    ],
    'deep nesting': [(path) => writeFile(path, '['.repeat(1_000_000)), 'must be an object'],
    'a FIFO': [async (path) => execFileSync('mkfifo', [path]), 'not a regular file'],
    'a symbolic link': [(path) => symlink('/etc/hostname', path), 'symbolic link'],
    'a file that everybody can write': [
      async (path) => {
        const kubelet = new PlainKubelet(store.dir);
        await kubelet.writePulled(record('key', { name: { nodePodsAccessible: true } }));
        await chmod(path, 0o666);
      },
      'everybody (mode 0666)',
    ],
  };

  for (const [what, [make, reason]] of Object.entries(BAD)) {
    it(`calls ${what} damaged, naming it, and keeps the rest working`, async () => {
      store = await openTemporary();
      await store.accessor.writeImagePulledRecord(record('sound'));
      await store.close();
      const path = new PlainKubelet(store.dir).pathOf('pulled', 'key');
      await make(path);
      const accessor = await store.reopen();
      expect(() => accessor.getImagePulledRecord('key')).toThrow(
        expect.objectContaining({ code: CORRUPT, path, imageRef: 'key' }),
      );
      expect(() => accessor.getImagePulledRecord('key')).toThrow(reason);
      expect(await accessor.getImagePulledRecord('sound')).toBeDefined();
      const { errors } = await accessor.listImagePulledRecords();
      expect(errors).toEqual([expect.objectContaining({ code: CORRUPT, path })]);
      // A new proof replaces what protected nothing.
      await accessor.writeImagePulledRecord(record('key', { name: secrets(1) }));
      const reopened = await store.reopen();
      expect(await reopened.getImagePulledRecord('key')).toBeDefined();
      expect((await reopened.listImagePulledRecords()).errors).toEqual([]);
    });
  }

  it('treats a misfiled record as damage of both keys, lists it, and lets neither be absent', async () => {
    store = await openTemporary();
    await store.close();
    const kubelet = new PlainKubelet(store.dir);
    await kubelet.writePulled(record('inner', { name: { nodePodsAccessible: true } }));
    await rename(kubelet.pathOf('pulled', 'inner'), kubelet.pathOf('pulled', 'outer'));
    await kubelet.writeIntent('inner');
    await rename(kubelet.pathOf('pulling', 'inner'), kubelet.pathOf('pulling', 'outer'));
    const accessor = await store.reopen();
    for (const key of ['inner', 'outer']) {
      expect(await codeOf(() => accessor.getImagePulledRecord(key))).toBe(CORRUPT);
      expect(await codeOf(() => accessor.imagePullIntentExists(key))).toBe(CORRUPT);
    }
    const listing = await accessor.listImagePulledRecords();
    expect(listing.records.map(({ imageRef }) => imageRef)).toEqual(['inner']);
    expect(listing.errors).toHaveLength(1);
    expect(await accessor.count()).toEqual({ intents: 0, records: 0 });
    // With a file of its own the key is sound again, and listed once.
    await accessor.writeImagePulledRecord(record('inner'));
    expect(await accessor.getImagePulledRecord('inner')).toBeDefined();
    expect((await accessor.listImagePulledRecords()).records).toHaveLength(1);
  });

  it('reports each bad file by one owner only, and every owner calls its key damaged', async () => {
    store = await openTemporary();
    await store.close();
    const kubelet = new PlainKubelet(store.dir);
    await writeFile(kubelet.pathOf('pulled', 'key'), 'x');
    let reports = 0;
    for (let workerIndex = 0; workerIndex < 3; workerIndex++) {
      const accessor = await store.reopen({ context: { workerIndex, workerCount: 3 } });
      reports += (await accessor.listImagePulledRecords()).errors.length;
      expect(await codeOf(() => accessor.getImagePulledRecord('key'))).toBe(CORRUPT);
    }
    expect(reports).toBe(1);
  });

  it('passes over foreign files and temporary ones, but a directory is not absence, nor is a listing complete with it', async () => {
    store = await openTemporary();
    await store.close();
    const kubelet = new PlainKubelet(store.dir);
    const pulled = join(store.dir, 'pulled');
    await writeFile(join(pulled, 'README'), 'x');
    await writeFile(`${kubelet.pathOf('pulled', 'half')}.tmp`, 'x');
    await mkdir(kubelet.pathOf('pulled', 'directory'));
    const before = await kubelet.names('pulled');
    const accessor = await store.reopen();
    expect(await accessor.listImagePulledRecords()).toEqual({
      records: [],
      errors: [expect.objectContaining({ code: CORRUPT, reason: 'it is a directory' })],
    });
    // So a cache in front of it takes nothing for absent that it does not know.
    const cached = await cachedAccessor(accessor);
    expect(await codeOf(() => cached.getImagePulledRecord('directory'))).toBe(CORRUPT);
    expect(await accessor.getImagePulledRecord('half')).toBeUndefined();
    expect(await codeOf(() => accessor.getImagePulledRecord('directory'))).toBe(CORRUPT);
    const write = (): unknown => accessor.writeImagePulledRecord(record('directory'));
    expect(await codeOf(write)).toBe(UNAVAILABLE);
    await accessor.writeImagePulledRecord(record('sound'));
    await store.reopen();
    expect(await kubelet.names('pulled')).toEqual(
      expect.arrayContaining([...before, expect.stringMatching(/^sha256-/)]),
    );
  });

  it('refuses to write what could not be read back, and keeps what it has', async () => {
    store = await openTemporary();
    const { accessor } = store;
    const tooLate = record('ref', {}, Date.UTC(10_000, 0));
    expect(await codeOf(() => accessor.writeImagePulledRecord(tooLate))).toBe(
      'ERR_PULLMANAGER_INVALID_ARGUMENT',
    );
    const tooLarge = record('ref', { name: secrets(1), ['x'.repeat(70_000_000)]: {} });
    expect(await codeOf(() => accessor.writeImagePulledRecord(tooLarge))).toBe(
      'ERR_PULLMANAGER_INVALID_ARGUMENT',
    );
    expect(await accessor.getImagePulledRecord('ref')).toBeUndefined();
    const many = record('many', { name: secrets(100_000) });
    await accessor.writeImagePulledRecord(many);
    await accessor.writeImagePulledRecord(record('old', {}, -1));
    const reopened = await store.reopen();
    const found = await reopened.getImagePulledRecord('many');
    expect(found!.credentialMapping.name!.kubernetesSecrets).toHaveLength(100_000);
    expect((await reopened.getImagePulledRecord('old'))!.lastUpdatedTime.getTime()).toBe(-1000);
  });

  it('keeps the rest working where a file can be read, but not written together with ours', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await kubelet.writePulled(record('ref', { theirs: secrets(1) }));
    const path = kubelet.pathOf('pulled', 'ref');
    const text = await readFile(path, 'utf8');
    // In UTC that is the year 10000, which no file can say.
    const late = '"lastUpdatedTime":"9999-12-31T23:59:59-23:00"';
    await writeFile(path, text.replace(/"lastUpdatedTime":[^,]*/, late));
    await foreignChange(accessor);
    await accessor.writeImagePulledRecord(record('other'));
    await written(accessor);
    expect(await kubelet.read('pulled', 'other')).toBeDefined();
    const after = await store.crash(LAZY);
    expect(await after.getImagePulledRecord('other')).toBeDefined();
    expect(await codeOf(() => after.getImagePulledRecord('ref'))).toBe(CORRUPT);
  });

  it('notices while it is open that a file was damaged, repaired, or taken away', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    const get = (): unknown => accessor.getImagePulledRecord('key');
    await writeFile(kubelet.pathOf('pulled', 'key'), 'x');
    expect(await foreignChange(accessor)).toBe('all');
    expect(await codeOf(get)).toBe(CORRUPT);
    await kubelet.writePulled(record('key'));
    await until(accessor, async () => (await codeOf(get)) === undefined);
    expect(await get()).toBeDefined();
    await writeFile(kubelet.pathOf('pulled', 'key'), 'x');
    await until(accessor, async () => (await codeOf(get)) === CORRUPT);
    await kubelet.deletePulled('key');
    await until(accessor, async () => (await codeOf(get)) === undefined);
    expect(await get()).toBeUndefined();
  });
});

async function until(accessor: OwnedAccessor, condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await foreignChange(accessor);
}

describe('a directory that cannot be one of the kubelet', () => {
  it('is refused where a file is in its place, or in that of a part of it', async () => {
    const base = await temporaryDirectory();
    await writeFile(join(base, 'file'), 'x');
    await expect(openAt(join(base, 'file'))).rejects.toMatchObject({
      code: UNAVAILABLE,
      message: expect.stringContaining(`${join(base, 'file')}" is not a directory`),
    });
    await expect(openAt(join(base, 'file', 'below'))).rejects.toMatchObject({ code: UNAVAILABLE });
    await mkdir(join(base, 'manager'));
    await writeFile(join(base, 'manager', 'pulled'), 'x');
    await expect(openAt(join(base, 'manager'))).rejects.toMatchObject({
      code: UNAVAILABLE,
      path: join(base, 'manager', 'pulled'),
    });
    expect(await readFile(join(base, 'manager', 'pulled'), 'utf8')).toBe('x');
  });

  it('is refused where everybody can plant records in it', async () => {
    const base = await temporaryDirectory();
    const pulled = join(base, 'pulled');
    await mkdir(pulled);
    await chmod(pulled, 0o777);
    await expect(openAt(base)).rejects.toMatchObject({
      code: UNAVAILABLE,
      path: pulled,
      message: expect.stringContaining('can be written by everybody (mode 0777)'),
    });
  });

  it('is refused where our own directory in it is a link, which leads into another one', async () => {
    const base = await temporaryDirectory();
    const [dir, elsewhere] = [join(base, 'image_manager'), join(base, 'elsewhere')];
    await new PlainKubelet(dir).writePulled(record('ref'));
    await mkdir(join(elsewhere, 'own'), { recursive: true, mode: 0o700 });
    const own = join(dir, '.pullwarden');
    await symlink(join(elsewhere, 'own'), own);
    await expect(openAt(dir)).rejects.toMatchObject({
      code: UNAVAILABLE,
      path: own,
      reason: 'is a symbolic link',
    });
    expect(await readdir(elsewhere)).toEqual(['own']);
  });

  it('is refused to a second opener, until the first has closed it', async () => {
    const base = await temporaryDirectory();
    const first = await openAt(base);
    await expect(openAt(base)).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_STORE_IN_USE' });
    await first.close();
    await (await openAt(base)).close();
  });
});
