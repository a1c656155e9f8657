import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { afterEach, expect, it, vi } from 'vitest';
import { temporaryDirectory } from './open-store.ts';

const { close } = fs;

afterEach(() => {
  fs.close = close;
  syncBuiltinESMExports();
});

it('a directory that is in use is said to be, even where a descriptor is closed with an error', async () => {
  let failed = 0;
  fs.close = ((fd: number, callback: (error: Error | null) => void) => {
    close(fd, () => {
      failed++;
      callback(Object.assign(new Error('EIO'), { code: 'EIO' }));
    });
  }) as typeof close;
  syncBuiltinESMExports();
  // It takes the function when it is loaded.
  vi.resetModules();
  const { acquireDirectoryLock } = await import('../../src/accessors/directory-lock.ts');
  const path = await temporaryDirectory();
  const lock = await acquireDirectoryLock(path);
  await expect(acquireDirectoryLock(path)).rejects.toMatchObject({
    code: 'ERR_PULLMANAGER_STORE_IN_USE',
  });
  expect(failed).toBeGreaterThan(0);
  await lock.release();
});
