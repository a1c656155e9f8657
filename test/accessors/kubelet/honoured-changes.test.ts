import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { FilePlacer } from '../../../src/accessors/kubelet/file-placer.ts';
import { RedoLog } from '../../../src/accessors/kubelet/redo-log.ts';
import { record, secrets } from '../../conformance/accessor-suite.ts';
import {
  foreignChange,
  type KubeletSetup,
  type KubeletUnderTest,
  methodOf,
  openTemporary,
  PlainKubelet,
  settled,
  written,
} from './kit.ts';

const LAZY: KubeletSetup = {
  tuning: { writeBehind: { delayMs: 1e9 }, watch: { pollMs: 20, watchedPollMs: 20 } },
};

let store: KubeletUnderTest;
afterEach(async () => {
  vi.restoreAllMocks();
  await store.dispose();
});

describe('what a kubelet did to a record that was in its file', () => {
  it('is not undone by a crash: a record that it pruned stays away', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    await accessor.writeImagePulledRecord(record('ref', { name: { nodePodsAccessible: true } }));
    await settled(accessor);
    await new PlainKubelet(dir).deletePulled('ref');
    await foreignChange(accessor);
    expect(await namesOf(accessor)).toEqual([]);
    expect(await namesOf(await store.crash())).toEqual([]);
  });

  it('is not undone by a crash: a proof that it pruned before it pulled anew stays away', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await settled(accessor);
    await kubelet.deletePulled('ref');
    await kubelet.writePulled(record('ref', { theirs: secrets(1) }));
    await foreignChange(accessor);
    expect(await namesOf(accessor)).toEqual(['theirs']);
    expect(await namesOf(await store.crash())).toEqual(['theirs']);
  });

  it('is not undone by a crash where the kubelet came after it', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await written(store.accessor);
    await new PlainKubelet(store.dir).deletePulled('ref');
    expect(await namesOf(await store.crash(LAZY))).toEqual([]);
  });

  it('is not shown before a crash could not undo it any more', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    let finish = (): void => {};
    const blocked = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const retire = methodOf(RedoLog.prototype, 'retire');
    vi.spyOn(RedoLog.prototype, 'retire').mockImplementation(async function (
      this: RedoLog,
      doneUpTo,
    ) {
      await blocked;
      return retire.call(this, doneUpTo);
    });
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    const kubelet = new PlainKubelet(dir);
    await vi.waitUntil(async () => (await kubelet.read('pulled', 'ref')) !== undefined);
    await delay(50);
    await kubelet.deletePulled('ref');
    await delay(100);
    expect(accessor.takeForeignChanges?.()).toEqual([]);
    expect(accessor.hasForeignChanges).toBe(false);
    expect(await namesOf(accessor)).toEqual(['ours']);
    finish();
    await foreignChange(accessor);
    expect(await namesOf(accessor)).toEqual([]);
    expect(await namesOf(await store.crash())).toEqual([]);
  });
});

it('a file that others gave another mode is removed all the same', async () => {
  store = await openTemporary(LAZY);
  const { accessor, dir } = store;
  await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
  await written(accessor);
  await vi.waitUntil(() => accessor.hasForeignChanges, { timeout: 10_000 });
  accessor.takeForeignChanges?.();
  await accessor.deleteImagePulledRecord('ref');
  const kubelet = new PlainKubelet(dir);
  chmodSync(kubelet.pathOf('pulled', 'ref'), 0o640);
  await vi.waitUntil(() => accessor.hasForeignChanges, { timeout: 10_000 });
  accessor.takeForeignChanges?.();
  expect(await namesOf(accessor)).toEqual([]);
  await written(accessor);
  expect(await kubelet.names('pulled')).toEqual([]);
});

describe('a file that is changed between its rename and the flush of its name', () => {
  it.each(['removed', 'damaged'])('is written again where it was %s', async (how) => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    const path = kubelet.pathOf('pulled', 'ref');
    const flushNames = methodOf(FilePlacer.prototype, 'flushNames');
    vi.spyOn(FilePlacer.prototype, 'flushNames').mockImplementationOnce(async function (
      this: FilePlacer,
      kinds,
    ) {
      if (how === 'removed') rmSync(path);
      else writeFileSync(path, 'damaged');
      await vi.waitUntil(() => accessor.hasForeignChanges, { timeout: 10_000, interval: 5 });
      accessor.takeForeignChanges?.();
      return flushNames.call(this, kinds);
    });
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await written(accessor);
    expect(await namesOf(accessor)).toEqual(['ours']);
    expect(await namesOf(await store.crash(LAZY))).toEqual(['ours']);
    await store.close();
    expect(await kubelet.read('pulled', 'ref')).toContain('ours');
    store = await openTemporary();
  });
});

async function namesOf(accessor: OwnedAccessor): Promise<string[]> {
  const found = await accessor.getImagePulledRecord('ref');
  return Object.keys(found?.credentialMapping ?? {});
}
