import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { PullManager } from '../../../src/index.ts';
import { codeOf, record, secrets } from '../../conformance/accessor-suite.ts';
import {
  foreignChange,
  type KubeletSetup,
  type KubeletUnderTest,
  openTemporary,
  PlainKubelet,
  settled,
} from './kit.ts';

const CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const LAZY: KubeletSetup = {
  tuning: { writeBehind: { delayMs: 1e9 }, watch: { pollMs: 20, watchedPollMs: 20 } },
};

let store: KubeletUnderTest;
afterEach(() => store.dispose());

describe('a record under the name of another key', () => {
  it('protects its image for as long as one of its copies is there', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    for (const name of ['first', 'second']) {
      await misfile(kubelet, 'inner', name);
      await foreignChange(accessor);
    }
    await rm(kubelet.pathOf('pulled', 'second'));
    await foreignChange(accessor);
    expect(await stateOf(accessor, 'inner')).toBe(CORRUPT);
    await rm(kubelet.pathOf('pulled', 'first'));
    await foreignChange(accessor);
    expect(await stateOf(accessor, 'inner')).toBe('absent');
  });

  it('gets its own name when a new proof or a deletion takes the name it is under', async () => {
    for (const change of ['writeImagePulledRecord', 'deleteImagePulledRecord'] as const) {
      store = await openTemporary();
      const { accessor, dir } = store;
      const kubelet = new PlainKubelet(dir);
      await misfile(kubelet, 'inner', 'outer');
      await foreignChange(accessor);
      const bytes = await readFile(kubelet.pathOf('pulled', 'outer'));
      if (change === 'writeImagePulledRecord') await accessor[change](record('outer'));
      else await accessor[change]('outer');
      expect(await stateOf(accessor, 'inner')).toBe(CORRUPT);
      while (accessor.maintenance !== undefined) await accessor.maintenance;
      expect(await stateOf(accessor, 'inner')).toBe(CORRUPT);
      await settled(accessor);
      expect(await stateOf(accessor, 'inner')).toBe('there');
      expect(await readFile(kubelet.pathOf('pulled', 'inner'))).toEqual(bytes);
      const isWrite = change === 'writeImagePulledRecord';
      expect(await stateOf(accessor, 'outer')).toBe(isWrite ? 'there' : 'absent');
      expect((await accessor.listImagePulledRecords()).errors).toEqual([]);
      await store.dispose();
    }
    store = await openTemporary();
  });

  it('does not replace a file that is under its own name, damaged or not', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await misfile(kubelet, 'inner', 'outer');
    await writeFile(kubelet.pathOf('pulled', 'inner'), 'damaged');
    await foreignChange(accessor);
    await accessor.writeImagePulledRecord(record('outer'));
    await settled(accessor);
    expect(await kubelet.read('pulled', 'inner')).toBe('damaged');
    expect(await stateOf(accessor, 'inner')).toBe(CORRUPT);
  });

  it('protects its image also where it came over a file that is about to be written', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('outer'));
    await misfile(kubelet, 'inner', 'outer');
    expect(await foreignChange(accessor)).toBe('all');
    expect(await stateOf(accessor, 'inner')).toBe(CORRUPT);
    expect(await stateOf(accessor, 'outer')).toBe('there');
    const after = await store.reopen();
    expect(await stateOf(after, 'inner')).toBe('there');
    expect(await stateOf(after, 'outer')).toBe('there');
  });

  it('is kept when a crash has the write over it replayed', async () => {
    store = await openTemporary(LAZY);
    const kubelet = new PlainKubelet(store.dir);
    await store.accessor.writeImagePulledRecord(record('outer'));
    await misfile(kubelet, 'inner', 'outer');
    const after = await store.crash(LAZY);
    expect(await stateOf(after, 'inner')).toBe('there');
    expect(await stateOf(after, 'outer')).toBe('there');
  });

  it('is never absent while others move it to its own name', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    for (let round = 0; round < 10; round++) {
      await misfile(kubelet, 'inner', 'outer');
      await until(accessor, async () => (await stateOf(accessor, 'inner')) === CORRUPT);
      await rename(kubelet.pathOf('pulled', 'outer'), kubelet.pathOf('pulled', 'inner'));
      await until(accessor, async () => {
        const state = await stateOf(accessor, 'inner');
        expect(state).not.toBe('absent');
        return state === 'there';
      });
    }
  });

  it('asks for a pull of its image before and after the other key is recorded anew, in an engine', async () => {
    store = await openTemporary();
    const { dir } = store;
    await store.close();
    await misfile(new PlainKubelet(dir), 'inner', 'outer');
    const manager = await PullManager.open({ store: { kind: 'kubelet', dir }, workerCount: 2 });
    try {
      const image = 'registry.example.com/app:1';
      const expectPull = async (): Promise<void> =>
        expect((await manager.decide(image, 'inner', {})).mustPull).toBe(true);
      await expectPull();
      await manager.recordPullIntent(image);
      await manager.recordImagePulled(image, 'outer', null);
      await vi.waitUntil(
        async () => {
          await expectPull();
          return (await manager.getImagePulledRecord('inner').catch(() => undefined)) !== undefined;
        },
        { timeout: 10_000, interval: 20 },
      );
    } finally {
      await manager.close();
    }
  });
});

describe('an old record that is migrated', () => {
  it('gets no copy where the file under its own name is damaged', async () => {
    store = await openTemporary();
    const { dir } = store;
    await store.close();
    const kubelet = new PlainKubelet(dir, 'v1.34');
    await misfile(kubelet, 'inner', 'outer');
    await writeFile(kubelet.pathOf('pulled', 'inner'), 'damaged by a bad disk');
    const accessor = await store.reopen();
    await settled(accessor);
    expect(await kubelet.read('pulled', 'inner')).toBe('damaged by a bad disk');
    expect(await stateOf(accessor, 'inner')).toBe(CORRUPT);
  });
});

/** Puts a record of `key` under the name of another key. */
async function misfile(kubelet: PlainKubelet, key: string, under: string): Promise<void> {
  await kubelet.writePulled(record(key, { name: secrets(1) }));
  await rename(kubelet.pathOf('pulled', key), kubelet.pathOf('pulled', under));
}

async function stateOf(accessor: OwnedAccessor, key: string): Promise<string> {
  const code = await codeOf(() => accessor.getImagePulledRecord(key));
  if (code !== undefined) return code;
  return (await accessor.getImagePulledRecord(key)) === undefined ? 'absent' : 'there';
}

async function until(accessor: OwnedAccessor, holds: () => Promise<boolean>): Promise<void> {
  await vi.waitUntil(
    async () => {
      accessor.takeForeignChanges?.();
      return holds();
    },
    { timeout: 10_000, interval: 1 },
  );
}
