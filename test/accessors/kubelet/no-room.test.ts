import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { errorCode } from '../../../src/errors.ts';
import { record } from '../../conformance/accessor-suite.ts';
import { openAt, PlainKubelet, settled } from './kit.ts';

/** A file system of two megabytes; undefined where this process may not make one. */
function smallFileSystem(): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'pullwarden-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', path], { stdio: 'ignore' });
    return path;
  } catch {
    rmSync(path, { recursive: true });
    return undefined;
  }
}

const disk = smallFileSystem();
afterAll(() => {
  if (disk === undefined) return;
  execFileSync('umount', [disk]);
  rmSync(disk, { recursive: true });
});

/** Takes all the room there is. */
async function fill(path: string): Promise<void> {
  const handle = await open(path, 'w');
  try {
    for (let size = 64 * 1024; size >= 512; ) {
      try {
        await handle.write(Buffer.alloc(size, 1));
      } catch (error) {
        if (errorCode(error) !== 'ENOSPC') throw error;
        size /= 2;
      }
    }
  } finally {
    await handle.close();
  }
}

const SMALL = {
  writeBehind: { delayMs: 0, keysMax: 20, retryMsMin: 1, retryMsMax: 5 },
  watch: { pollMs: 20, watchedPollMs: 20 },
  redo: { segmentBytesMin: 64 * 1024, segmentBytesMax: 64 * 1024, retryMsMin: 1, retryMsMax: 5 },
};

describe.skipIf(disk === undefined)('a kubelet store on a full disk', () => {
  it('keeps what it acknowledged, refuses more in the end, and goes on once there is room', async () => {
    const dir = join(disk!, 'image_manager');
    const ballast = join(disk!, 'ballast');
    const store = await openAt(dir, { tuning: SMALL });
    const { accessor } = store;
    await accessor.writeImagePullIntent('before');
    await settled(accessor);
    await fill(ballast);
    const acknowledged = ['before'];
    let refusal: unknown;
    for (let i = 0; refusal === undefined && i < 1000; i++) {
      try {
        await accessor.writeImagePullIntent(`image-${i}`);
        acknowledged.push(`image-${i}`);
      } catch (error) {
        refusal = error;
      }
    }
    expect(refusal).toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
      message: expect.stringContaining(dir),
    });
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(await intentsOf(accessor)).toEqual([...acknowledged].sort());
    await rm(ballast);
    await vi.waitFor(() => accessor.writeImagePullIntent('after'), { timeout: 20_000 });
    await settled(accessor);
    await store.close();
    const kubelet = new PlainKubelet(dir);
    expect(await kubelet.names('pulling')).toHaveLength(acknowledged.length + 1);
    const again = await openAt(dir, { tuning: SMALL });
    expect(await intentsOf(again.accessor)).toEqual([...acknowledged, 'after'].sort());
    await again.close();
    await rm(dir, { recursive: true });
  });

  it('is closed with a full disk without losing anything, and cannot be opened there', async () => {
    const dir = join(disk!, 'image_manager');
    const ballast = join(disk!, 'ballast');
    const store = await openAt(dir, { tuning: SMALL });
    await fill(ballast);
    await store.accessor.writeImagePulledRecord(record('ref'));
    await store.close();
    await expect(openAt(dir, { tuning: SMALL })).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
    });
    await rm(ballast);
    const again = await openAt(dir, { tuning: SMALL });
    expect(await again.accessor.getImagePulledRecord('ref')).toBeDefined();
    await again.close();
    await rm(dir, { recursive: true });
  });
});

describe.skipIf(disk === undefined)('a kubelet store on a read-only file system', () => {
  it('is refused, naming the directory and the reason, whether it is there or not', async () => {
    await (await openAt(join(disk!, 'there'))).close();
    execFileSync('mount', ['-o', 'remount,ro', disk!]);
    try {
      for (const name of ['there', 'missing']) {
        await expect(openAt(join(disk!, name))).rejects.toMatchObject({
          code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
          message: expect.stringMatching(new RegExp(`${join(disk!, name)}.*EROFS`)),
        });
      }
    } finally {
      execFileSync('mount', ['-o', 'remount,rw', disk!]);
    }
  });
});

async function intentsOf(accessor: OwnedAccessor): Promise<string[]> {
  const { records } = await accessor.listImagePullIntents();
  return records.map(({ image }) => image).sort();
}
