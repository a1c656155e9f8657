/** Disks that fail: full ones, and ones that refuse a write. */
import { execFileSync } from 'node:child_process';
import fs, {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecordWrite } from '../../../src/accessors/accessor.ts';
import { copyOf, dump, failure, Model, newDirectory, openOne } from '../../fixtures/journal/kit.ts';

const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';

/** Puts a device that refuses every write where the segments of `path` are open; says of how many. */
function breakSegments(path: string): number {
  let count = 0;
  for (const name of readdirSync('/proc/self/fd')) {
    let target: string;
    try {
      target = readlinkSync(`/proc/self/fd/${name}`);
    } catch {
      continue;
    }
    if (!target.startsWith(join(path, '0')) || !target.endsWith('.journal')) continue;
    closeSync(Number(name));
    // The lowest free number is given each time, so this one comes in its turn.
    const others: number[] = [];
    for (;;) {
      const fd = openSync('/dev/full', 'r+');
      if (fd === Number(name)) break;
      others.push(fd);
      if (others.length > 100) throw new Error('another file took the descriptor');
    }
    for (const fd of others) closeSync(fd);
    count++;
  }
  return count;
}

function intents(from: number, count: number): RecordWrite[] {
  return Array.from({ length: count }, (_, index) => {
    return { op: 'writeIntent', image: `image-${from + index}` };
  });
}

describe.skipIf(process.platform !== 'linux').each([{ mayBlock: true }, { mayBlock: false }])(
  'a write that fails (mayBlock: $mayBlock)',
  (options) => {
    it('is reported, changes nothing, and the next one goes to a new segment', async () => {
      const path = newDirectory();
      const accessor = await openOne(path, options);
      await accessor.commit(intents(0, 3));
      for (let round = 1; round <= 4; round++) {
        const before = await dump(accessor);
        while (accessor.maintenance !== undefined) await accessor.maintenance;
        const broken = breakSegments(path);
        expect(broken).toBeGreaterThan(0);
        const error = await failure(() => accessor.commit(intents(round * 10, 3)));
        expect(error).toMatchObject({ code: UNAVAILABLE });
        expect(error?.path).toContain(path);
        expect(await dump(accessor)).toEqual(before);
        // A segment made ahead of need is broken too, and given up in its turn.
        if (broken > 1) await failure(() => accessor.commit(intents(round * 100, 2)));
        await accessor.commit(intents(round * 100, 2));
        const expected = await dump(accessor);
        expect(expected.intents.length).toBe(before.intents.length + 2);
        const again = await openOne(copyOf(path));
        expect(await dump(again)).toEqual(expected);
        await again.close();
      }
      const last = await dump(accessor);
      await accessor.close();
      const again = await openOne(path);
      expect(await dump(again)).toEqual(last);
      await again.close();
    });

    it('may be the last one', async () => {
      const path = newDirectory();
      const accessor = await openOne(path, options);
      await accessor.commit(intents(0, 3));
      breakSegments(path);
      await failure(() => accessor.commit(intents(10, 3)));
      await accessor.close();
      const again = await openOne(path);
      expect(await again.count()).toEqual({ intents: 3, records: 0 });
      await again.close();
    });

    it('is void even if it reached the disk', async () => {
      const path = newDirectory();
      const accessor = await openOne(path, options);
      await accessor.commit(intents(0, 1));
      const repair = failAfterWriting();
      const error = await failure(() => accessor.commit(intents(10, 1)));
      repair();
      expect(error).toMatchObject({ code: UNAVAILABLE });
      expect(accessor.imagePullIntentExists('image-10')).toBe(false);
      const failed = await openOne(copyOf(path));
      // Rejected, but there: the proof that this test does what it says.
      expect(await failed.count()).toEqual({ intents: 2, records: 0 });
      await failed.close();
      await accessor.commit(intents(20, 1));
      const copy = copyOf(path);
      await accessor.close();
      for (const directory of [copy, path]) {
        const again = await openOne(directory);
        expect((await dump(again)).intents).toEqual(['image-0', 'image-20']);
        await again.close();
      }
    });
  },
);

/** Makes every write to a file succeed and then fail; returns what undoes it. */
function failAfterWriting(): () => void {
  const { write, writeSync } = fs;
  const refusal = Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' });
  fs.writeSync = ((...given: Parameters<typeof writeSync>) => {
    writeSync(...given);
    throw refusal;
  }) as unknown as typeof writeSync;
  fs.write = ((...given: unknown[]) => {
    const callback = given.pop() as (error: Error) => void;
    (write as unknown as (...all: unknown[]) => void)(...given, () => callback(refusal));
  }) as typeof write;
  syncBuiltinESMExports();
  return () => {
    Object.assign(fs, { write, writeSync });
    syncBuiltinESMExports();
  };
}

function canMount(): boolean {
  const path = newDirectory();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'ignore' });
    execFileSync('umount', [path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

// Needs the right to mount a file system of limited size; skipped where that is not given.
describe.skipIf(!canMount()).each([{ mayBlock: true }, { mayBlock: false }])(
  'a full disk (mayBlock: $mayBlock)',
  ({ mayBlock }) => {
    let disk = '';
    beforeAll(() => {
      disk = join('/tmp', `pullwarden-disk-${process.pid}-${mayBlock}`);
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', disk]);
    });
    afterAll(() => {
      execFileSync('umount', ['-l', disk]);
      rmSync(disk, { recursive: true, force: true });
    });

    it('is reported at each commit, loses nothing, and is over once there is room', async () => {
      const path = join(disk, 'store');
      const model = new Model();
      const accessor = await openOne(path, { mayBlock });
      let failureCount = 0;
      for (let round = 0; round < 100; round++) {
        const batch = intents(round * 200, 200);
        const error = await failure(() => accessor.commit(batch));
        if (error === undefined) model.apply(batch);
        else {
          failureCount++;
          expect(error).toMatchObject({ code: UNAVAILABLE });
          expect(error.message).toContain('ENOSPC');
        }
        expect(await dump(accessor)).toEqual(model.dump());
        await turnOfEventLoop();
      }
      expect(failureCount).toBeGreaterThan(10);
      const copy = copyOf(path);
      const other = await openOne(copy);
      expect(await dump(other)).toEqual(model.dump());
      await other.close();
      execFileSync('mount', ['-o', 'remount,size=1m', disk]);
      for (let round = 0; round < 5; round++) {
        const batch = intents(100_000 + round * 1000, 200);
        await accessor.commit(batch);
        model.apply(batch);
      }
      await accessor.close();
      const again = await openOne(path);
      expect(await dump(again)).toEqual(model.dump());
      await again.close();
      rmSync(path, { recursive: true });
      execFileSync('mount', ['-o', 'remount,size=128k', disk]);
    });

    it('at the start is a clear error', async () => {
      const path = join(disk, 'other');
      mkdirSync(path);
      const filler = join(disk, 'filler');
      try {
        writeFileSync(filler, Buffer.alloc(4 * 1024 * 1024));
      } catch {
        // As far as there is room.
      }
      const error = await failure(() => openOne(path, { mayBlock }));
      expect(error).toMatchObject({ code: UNAVAILABLE, path });
      rmSync(filler);
      const accessor = await openOne(path, { mayBlock });
      await accessor.close();
    });

    it('stops no commit while it stops snapshots', async () => {
      const path = join(disk, 'third');
      const tuning = { snapshotBytesMin: 1, segmentBytesMin: 16_384, retryMsMin: 0 };
      const accessor = await openOne(path, { mayBlock, tuning });
      const filler = join(disk, 'filler');
      try {
        writeFileSync(filler, Buffer.alloc(4 * 1024 * 1024));
      } catch {
        // As far as there is room.
      }
      for (let round = 0; round < 20; round++) {
        await accessor.commit(intents(round, 1));
        await accessor.maintenance;
      }
      rmSync(filler);
      expect(await accessor.count()).toEqual({ intents: 20, records: 0 });
      await accessor.commit(intents(20, 1));
      await accessor.close();
      const again = await openOne(path);
      expect(await again.count()).toEqual({ intents: 21, records: 0 });
      await again.close();
    });
  },
);
