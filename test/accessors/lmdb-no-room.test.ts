import type { StatsFs } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { codeOf, comparable, record, secrets } from '../conformance/accessor-suite.ts';
import { openTemporaryStore } from './open-store.ts';

const disk = vi.hoisted(() => ({ freeBytes: Number.POSITIVE_INFINITY }));

vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs')>();
  const statfsSync = (path: string): Pick<StatsFs, 'bavail' | 'bsize'> => {
    const { bavail, bsize } = original.statfsSync(path);
    return { bavail: Math.min(bavail, disk.freeBytes / bsize), bsize };
  };
  return { ...original, statfsSync };
});

afterEach(() => {
  disk.freeBytes = Number.POSITIVE_INFINITY;
});

// A commit that LMDB itself finds no room for can end the process, so it must not get that far.
describe('an lmdb store on a full disk', () => {
  it('refuses what may not fit, keeps what it has, and goes on once there is room', async () => {
    const store = await openTemporaryStore((path) => ({ kind: 'lmdb', path }));
    const { accessor } = store;
    const before = record('ref', { name: secrets(1) });
    await accessor.writeImagePulledRecord(before);
    disk.freeBytes = 1_100_000;
    await accessor.writeImagePullIntent('fits');
    const large = record('ref', { name: secrets(10_000) });
    const commit = () => accessor.commit([{ op: 'writePulled', record: large }]);
    expect(await codeOf(commit)).toBe('ERR_PULLMANAGER_STORE_UNAVAILABLE');
    disk.freeBytes = 0;
    const intent = async () => accessor.writeImagePullIntent('a');
    await expect(intent()).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
      path: store.path,
      message: expect.stringContaining('no room on the disk: 0 bytes are free'),
    });
    expect(await accessor.imagePullIntentExists('a')).toBe(false);
    expect(await accessor.imagePullIntentExists('fits')).toBe(true);
    expect(comparable(await accessor.getImagePulledRecord('ref'))).toEqual(comparable(before));
    disk.freeBytes = Number.POSITIVE_INFINITY;
    await commit();
    expect(comparable(await accessor.getImagePulledRecord('ref'))).toEqual(comparable(large));
    await store.dispose();
  });

  it('does not begin a store there', async () => {
    disk.freeBytes = 0;
    const opening = openTemporaryStore((path) => ({ kind: 'lmdb', path }));
    await expect(opening).rejects.toThrow('no room on the disk');
  });
});
