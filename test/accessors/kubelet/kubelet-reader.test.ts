import { chmod, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { acquireReadLock } from '../../../src/accessors/directory-lock.ts';
import type { Finding, Inspectable } from '../../../src/accessors/inspection.ts';
import { FilePlacer } from '../../../src/accessors/kubelet/file-placer.ts';
import {
  type KubeletReader,
  withKubeletInspection,
  withKubeletReader,
} from '../../../src/accessors/kubelet/kubelet-reader.ts';
import type { CompatibilityLevel } from '../../../src/compatibility.ts';
import { codeOf, record, secrets } from '../../conformance/accessor-suite.ts';
import { temporaryDirectory } from '../open-store.ts';
import { type KubeletSetup, type OpenKubelet, openAt, PlainKubelet, settled } from './kit.ts';

/** Files are written only when a test asks for it. */
const LAZY: KubeletSetup = { tuning: { writeBehind: { delayMs: 1e9 } } };

const open: OpenKubelet[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.abandon();
});

describe('a kubelet directory that is only read', () => {
  it('stays as it is, with records of every version in it', async () => {
    const dir = await newDirectory();
    const [old, recent] = [new PlainKubelet(dir, 'v1.34'), new PlainKubelet(dir)];
    await old.writePulled(record('old', { name: secrets(1) }));
    await recent.writePulled(record('recent'));
    await old.writeIntent('image');
    const before = await everythingIn(dir);
    expect(await refsIn(dir)).toEqual(['old', 'recent']);
    await read(dir, async (reader) => {
      expect(await reader.imagePullIntentExists('image')).toBe(true);
      expect(await reader.getImagePulledRecord('absent')).toBeUndefined();
    });
    const findings = await findingsIn(dir);
    expect(findings.map(({ verdict }) => verdict)).toEqual(['valid', 'valid', 'valid']);
    expect(await everythingIn(dir)).toEqual(before);
  });

  it('may lack one of its two directories', async () => {
    const dir = await newDirectory();
    await new PlainKubelet(dir).writePulled(record('ref'));
    expect(await refsIn(dir)).toEqual(['ref']);
    expect(await findingsIn(dir)).toHaveLength(1);
    expect(await readdir(dir)).toEqual(['pulled']);
  });

  it('has records of versions that the level does not read as damaged', async () => {
    const dir = await newDirectory();
    await new PlainKubelet(dir).writePulled(record('recent'));
    expect(await refsIn(dir, 'v1.34')).toEqual([]);
    await read(
      dir,
      async (reader) => {
        expect((await reader.listImagePulledRecords()).errors).toHaveLength(1);
        expect(await codeOf(() => reader.getImagePulledRecord('recent'))).toBe(CORRUPT);
      },
      'v1.34',
    );
  });

  it('shows what was acknowledged, though no file has it, and leaves it in the redo log', async () => {
    const dir = await newDirectory();
    const { accessor } = await crashing(dir);
    await accessor.commit([
      { op: 'writeIntent', image: 'begun' },
      { op: 'writePulled', record: record('deleted') },
      { op: 'writePulled', record: record('changed', { first: secrets(1) }) },
    ]);
    await written(accessor);
    await accessor.commit([
      { op: 'deleteIntent', image: 'begun' },
      { op: 'deletePulled', imageRef: 'deleted' },
      { op: 'writePulled', record: record('new') },
      {
        op: 'writePulled',
        record: record('changed', { first: secrets(1), second: secrets(1) }),
      },
    ]);
    await open.pop()!.abandon();
    const before = await everythingIn(dir);
    await read(dir, async (reader) => {
      expect(await refsOf(reader)).toEqual(['changed', 'new']);
      const changed = await reader.getImagePulledRecord('changed');
      expect(Object.keys(changed!.credentialMapping)).toEqual(['first', 'second']);
      expect(await reader.imagePullIntentExists('begun')).toBe(false);
      expect((await reader.listImagePullIntents()).records).toEqual([]);
    });
    const findings = await findingsIn(dir);
    expect(findings.filter(({ verdict }) => verdict === 'remark')).toHaveLength(1);
    expect(await everythingIn(dir)).toEqual(before);
    // The next opening agrees.
    const { accessor: next } = await opened(dir);
    expect(await refsOf(next)).toEqual(['changed', 'new']);
  });

  it('adds what was acknowledged to what a kubelet has written since', async () => {
    const dir = await newDirectory();
    const { accessor } = await crashing(dir);
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await open.pop()!.abandon();
    await new PlainKubelet(dir).writePulled(record('ref', { theirs: secrets(1) }));
    await read(dir, async (reader) => {
      const found = await reader.getImagePulledRecord('ref');
      expect(Object.keys(found!.credentialMapping).sort()).toEqual(['ours', 'theirs']);
    });
  });

  it('has of a key what all logs say of it, also one that carries what no file could take', async () => {
    const dir = await newDirectory();
    let { accessor } = await crashing(dir);
    for (const ref of ['deleted', 'both']) {
      await accessor.writeImagePulledRecord(record(ref, { old: secrets(1) }));
    }
    await open.pop()!.abandon();
    const place = vi.spyOn(FilePlacer.prototype, 'place').mockImplementation(() => {
      throw Object.assign(new Error('no'), { code: 'EPERM' });
    });
    ({ accessor } = await crashing(dir));
    place.mockRestore();
    await accessor.deleteImagePulledRecord('deleted');
    await accessor.writeImagePulledRecord(record('both', { new: secrets(1) }));
    await open.pop()!.abandon();
    const namesOf = async (reader: Pick<KubeletReader, 'getImagePulledRecord'>) =>
      Object.keys((await reader.getImagePulledRecord('both'))!.credentialMapping);
    await read(dir, async (reader) => {
      expect(await refsOf(reader)).toEqual(['both']);
      expect(await namesOf(reader)).toEqual(['new', 'old']);
    });
    // The next opening agrees.
    const { accessor: next } = await opened(dir);
    expect(await refsOf(next)).toEqual(['both']);
    expect(await namesOf(next)).toEqual(['new', 'old']);
  });

  it('has no record of a file that is bad, and calls damaged every key that may be in it', async () => {
    const dir = await newDirectory();
    const kubelet = new PlainKubelet(dir);
    await kubelet.writePulled(record('inner'));
    await rename(kubelet.pathOf('pulled', 'inner'), kubelet.pathOf('pulled', 'outer'));
    await writeFile(kubelet.pathOf('pulled', 'broken'), '{', { mode: 0o600 });
    await mkdir(kubelet.pathOf('pulled', 'directory'));
    await read(dir, async (reader) => {
      const { records, errors } = await reader.listImagePulledRecords();
      expect({ records, errors: errors.length }).toEqual({ records: [], errors: 3 });
      for (const key of ['inner', 'outer', 'broken', 'directory']) {
        expect(await codeOf(() => reader.getImagePulledRecord(key)), key).toBe(CORRUPT);
      }
    });
  });

  it('keeps a key damaged whose record is in the file that an acknowledged one is to replace', async () => {
    const dir = await newDirectory();
    const { accessor } = await crashing(dir);
    await accessor.writeImagePulledRecord(record('ours'));
    await open.pop()!.abandon();
    const kubelet = new PlainKubelet(dir);
    await kubelet.writePulled(record('victim'));
    await rename(kubelet.pathOf('pulled', 'victim'), kubelet.pathOf('pulled', 'ours'));
    await read(dir, async (reader) => {
      expect(await reader.getImagePulledRecord('ours')).toBeDefined();
      expect(await codeOf(() => reader.getImagePulledRecord('victim'))).toBe(CORRUPT);
    });
  });

  it('is refused while an engine has it, and where anybody can write to it', async () => {
    const dir = await newDirectory();
    const store = await opened(dir);
    const before = await everythingIn(dir);
    expect(await codeOf(() => refsIn(dir))).toBe('ERR_PULLMANAGER_STORE_IN_USE');
    expect(await codeOf(() => findingsIn(dir))).toBe('ERR_PULLMANAGER_STORE_IN_USE');
    expect(await everythingIn(dir)).toEqual(before);
    open.pop();
    await store.close();
    expect(await refsIn(dir)).toEqual([]);
    await chmod(join(dir, 'pulled'), 0o777);
    expect(await codeOf(() => refsIn(dir))).toBe('ERR_PULLMANAGER_STORE_UNAVAILABLE');
  });

  it('keeps engines out while it is read, but no other reader', async () => {
    const dir = await newDirectory();
    await (await openAt(dir)).close();
    await read(dir, async () => {
      expect(await refsIn(dir)).toEqual([]);
      expect(await codeOf(() => openAt(dir))).toBe('ERR_PULLMANAGER_STORE_IN_USE');
    });
    await opened(dir);
  });

  it('is damaged where its redo log is, also for who looks through its files', async () => {
    const dir = await newDirectory();
    const { accessor } = await crashing(dir);
    await accessor.writeImagePulledRecord(record('ref'));
    await open.pop()!.abandon();
    const redo = join(dir, '.pullwarden', 'redo');
    const [name] = await readdir(redo);
    const bytes = await readFile(join(redo, name!));
    const at = bytes.indexOf('ref');
    bytes[at]! ^= 1;
    await writeFile(join(redo, name!), bytes);
    expect(await codeOf(() => refsIn(dir))).toBe('ERR_PULLMANAGER_STORE_CORRUPT');
    expect(await codeOf(() => findingsIn(dir))).toBe('ERR_PULLMANAGER_STORE_CORRUPT');
  });
});

describe('a read lock', () => {
  it('is had where there is no directory, and makes none', async () => {
    const path = join(await temporaryDirectory(), 'absent');
    const lock = await acquireReadLock(path);
    await expect(stat(path)).rejects.toThrow('ENOENT');
    await lock.release();
  });

  it('is not kept from anybody by the entry of an owner that died', async () => {
    const dir = await newDirectory();
    await (await openAt(dir)).close();
    const path = join(dir, '.pullwarden');
    const dead = { nonce: '0'.repeat(32), mechanism: 'file', pid: 0x7fffffff, startTime: '1' };
    const entry = JSON.stringify({ ...dead, bootId: 'of-an-earlier-boot', pidNamespace: null });
    await writeFile(join(path, 'LOCK.json'), entry);
    const lock = await acquireReadLock(path);
    expect(await readFile(join(path, 'LOCK.json'), 'utf8')).toBe(entry);
    await lock.release();
  });
});

const CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';

async function newDirectory(): Promise<string> {
  const dir = join(await temporaryDirectory(), 'image_manager');
  await mkdir(dir, { mode: 0o700 });
  return dir;
}

async function opened(dir: string, setup?: KubeletSetup): Promise<OpenKubelet> {
  const store = await openAt(dir, setup);
  open.push(store);
  return store;
}

function crashing(dir: string): Promise<OpenKubelet> {
  return opened(dir, LAZY);
}

/** Has the files written at once. */
async function written(accessor: OwnedAccessor): Promise<void> {
  // A look through the files begins with that.
  for await (const _ of (accessor as OwnedAccessor & Inspectable).inspect());
  await settled(accessor);
}

function read<T>(
  dir: string,
  work: (reader: KubeletReader) => Promise<T>,
  compatibility: CompatibilityLevel = 'v1.35',
): Promise<T> {
  return withKubeletReader(dir, compatibility, work);
}

function refsIn(dir: string, compatibility?: CompatibilityLevel): Promise<string[]> {
  return read(dir, refsOf, compatibility);
}

async function refsOf(reader: Pick<KubeletReader, 'listImagePulledRecords'>): Promise<string[]> {
  const { records } = await reader.listImagePulledRecords();
  return records.map(({ imageRef }) => imageRef).sort();
}

async function findingsIn(dir: string): Promise<Finding[]> {
  const findings: Finding[] = [];
  await withKubeletInspection(dir, 'v1.35', async (inspect) => {
    for await (const finding of inspect()) findings.push(finding);
  });
  return findings;
}

/** All there is below a directory, with times and content. */
async function everythingIn(dir: string): Promise<Record<string, unknown>> {
  const everything: Record<string, unknown> = {};
  for (const name of ['.', ...(await readdir(dir, { recursive: true }))].sort()) {
    const path = join(dir, name);
    const { ino, mode, mtimeMs, ctimeMs, size } = await stat(path);
    const isFile = (await stat(path)).isFile();
    const content = isFile ? (await readFile(path)).toString('base64') : undefined;
    everything[name] = { ino, mode, mtimeMs, ctimeMs, size, content };
  }
  return everything;
}
