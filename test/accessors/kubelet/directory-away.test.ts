import { existsSync } from 'node:fs';
import { chmod, mkdir, rename, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { recordFileName } from '../../../src/accessors/kubelet/record-format.ts';
import { PullManager } from '../../../src/index.ts';
import { codeOf, record, secrets } from '../../conformance/accessor-suite.ts';
import { temporaryDirectory } from '../open-store.ts';
import { type KubeletUnderTest, openTemporary, PlainKubelet, settled } from './kit.ts';

const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';

let store: KubeletUnderTest;

describe('a kubelet store whose directory of records is moved away while it is open', () => {
  afterEach(() => store.dispose());

  it('forgets no record, calls none absent, and says why', async () => {
    const { accessor, pulled, aside } = await withRecord();
    await rename(pulled, aside);
    // An event in the directory that is watched, of a file that is not found under its path.
    await chmod(join(aside, recordFileName('ref')), 0o400);
    await until(accessor, async () => (await absentOf(accessor)) === UNAVAILABLE);
    expect(await accessor.getImagePulledRecord('ref')).toBeDefined();
    expect(() => accessor.getImagePulledRecord('other')).toThrow(
      expect.objectContaining({ path: pulled, message: expect.stringContaining('was removed') }),
    );
    expect((await accessor.listImagePulledRecords()).errors).toHaveLength(1);
    await rename(aside, pulled);
    await until(accessor, async () => (await absentOf(accessor)) === undefined);
    expect(await accessor.getImagePulledRecord('ref')).toBeDefined();
    expect((await accessor.listImagePulledRecords()).errors).toEqual([]);
  });

  it('forgets none either where an empty directory takes its place, and sees what was changed when it is back', async () => {
    const { accessor, pulled, aside, kubelet } = await withRecord();
    await kubelet.writePulled(record('pruned'));
    await kubelet.writePulled(record('kept'));
    await until(accessor, async () => (await accessor.count()).records === 3);
    await rename(pulled, aside);
    await mkdir(pulled, { mode: 0o700 });
    await until(accessor, async () => (await absentOf(accessor)) === UNAVAILABLE);
    await delay(100);
    accessor.takeForeignChanges?.();
    expect(await accessor.count()).toEqual({ intents: 0, records: 3 });
    await rmdir(pulled);
    await rename(aside, pulled);
    await kubelet.deletePulled('pruned');
    await until(accessor, async () => (await absentOf(accessor)) === undefined);
    expect(await accessor.getImagePulledRecord('pruned')).toBeUndefined();
    expect(await accessor.getImagePulledRecord('ref')).toBeDefined();
    expect(await accessor.getImagePulledRecord('kept')).toBeDefined();
  });

  it('makes no other directory, and writes what it acknowledged when its own is back', async () => {
    const { accessor, pulled, aside, kubelet } = await withRecord();
    await rename(pulled, aside);
    await accessor.writeImagePulledRecord(record('new'));
    await delay(100);
    expect(existsSync(pulled)).toBe(false);
    expect(await accessor.getImagePulledRecord('new')).toBeDefined();
    await rename(aside, pulled);
    await settled(accessor);
    expect(await kubelet.read('pulled', 'new')).toBeDefined();
  });

  it('writes it after a crash, where the directory is another one by then', async () => {
    const { accessor, pulled, aside, kubelet } = await withRecord();
    await rename(pulled, aside);
    await accessor.writeImagePulledRecord(record('new'));
    await delay(50);
    const after = await store.crash();
    expect(await after.getImagePulledRecord('new')).toBeDefined();
    expect(await kubelet.read('pulled', 'new')).toBeDefined();
  });
});

describe('an engine whose directory of records is moved away', () => {
  it('lets nobody use an image without a pull until it is back', async () => {
    const dir = join(await temporaryDirectory(), 'image_manager');
    const pulled = join(dir, 'pulled');
    const manager = await PullManager.open({ store: { kind: 'kubelet', dir }, workerCount: 1 });
    try {
      const mustPull = async (): Promise<boolean> =>
        (await manager.decide('registry.example.com/preloaded:1', 'ref', {})).mustPull;
      expect(await mustPull()).toBe(false);
      await rename(pulled, `${pulled}.aside`);
      await vi.waitUntil(mustPull, { timeout: 10_000, interval: 20 });
      await rename(`${pulled}.aside`, pulled);
      await vi.waitUntil(async () => !(await mustPull()), { timeout: 10_000, interval: 20 });
    } finally {
      await manager.close();
    }
  });
});

async function withRecord() {
  store = await openTemporary();
  const { accessor, dir } = store;
  await accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
  await settled(accessor);
  const pulled = join(dir, 'pulled');
  return { accessor, pulled, aside: join(dir, 'aside'), kubelet: new PlainKubelet(dir) };
}

/** What asking for a record that there has never been is answered with. */
async function absentOf(accessor: OwnedAccessor): Promise<string | undefined> {
  return codeOf(() => accessor.getImagePulledRecord('absent'));
}

async function until(accessor: OwnedAccessor, holds: () => Promise<boolean>): Promise<void> {
  await vi.waitUntil(
    async () => {
      accessor.takeForeignChanges?.();
      return holds();
    },
    { timeout: 10_000, interval: 5 },
  );
}
