/** A kubelet beside us where the system tells of no changes: directories are looked through. */
import fs, { existsSync, renameSync, statSync, utimesSync } from 'node:fs';
import fsPromises, { rename } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { record } from '../../conformance/accessor-suite.ts';
import { type KubeletUnderTest, openTemporary, PlainKubelet } from './kit.ts';

let store: KubeletUnderTest;

beforeEach(async () => {
  vi.spyOn(fs, 'watch').mockImplementation(() => {
    throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  });
  syncBuiltinESMExports();
  store = await openTemporary();
});

afterEach(async () => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  await store.dispose();
});

async function seen(ref: string): Promise<void> {
  const { accessor } = store;
  const isThere = async (): Promise<boolean> => {
    accessor.takeForeignChanges?.();
    return (await accessor.getImagePulledRecord(ref)) !== undefined;
  };
  await vi.waitUntil(isThere, { timeout: 10_000, interval: 5 });
}

it('sees a record that came in the same step of the clock as the one before', async () => {
  const kubelet = new PlainKubelet(store.dir);
  const pulled = join(store.dir, 'pulled');
  const aside = join(store.dir, 'aside');
  await kubelet.writePulled(record('second'));
  await rename(kubelet.pathOf('pulled', 'second'), aside);
  await kubelet.writePulled(record('first'));
  // A clock with steps of a second.
  const step = Math.floor(Date.now() / 1000);
  utimesSync(pulled, step, step);
  await seen('first');
  const { mtimeMs } = statSync(pulled);
  renameSync(aside, kubelet.pathOf('pulled', 'second'));
  utimesSync(pulled, step, step);
  expect(statSync(pulled).mtimeMs).toBe(mtimeMs);
  await seen('second');
});

it('sees a record although the look that came first failed', async () => {
  const kubelet = new PlainKubelet(store.dir);
  const pulled = join(store.dir, 'pulled');
  const aside = join(store.dir, 'aside');
  await kubelet.writePulled(record('ref'));
  await rename(kubelet.pathOf('pulled', 'ref'), aside);
  const { readdir } = fsPromises;
  let failures = 0;
  vi.spyOn(fsPromises, 'readdir').mockImplementation((...args) => {
    const isThere = existsSync(kubelet.pathOf('pulled', 'ref'));
    if (!isThere || failures++ > 0) return readdir(...args);
    return Promise.reject(Object.assign(new Error('EMFILE'), { code: 'EMFILE' }));
  });
  syncBuiltinESMExports();
  renameSync(aside, kubelet.pathOf('pulled', 'ref'));
  const past = Math.floor(Date.now() / 1000) - 60;
  utimesSync(pulled, past, past);
  await seen('ref');
  expect(failures).toBeGreaterThan(1);
});
