import { execFileSync } from 'node:child_process';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { acquireDirectoryLock } from '../../../src/accessors/directory-lock.ts';
import { FilePlacer } from '../../../src/accessors/kubelet/file-placer.ts';
import { openKubelet } from '../../../src/accessors/kubelet/kubelet-accessor.ts';
import {
  kubeletLockDirectory,
  prepareKubelet,
  releaseKubelet,
} from '../../../src/accessors/kubelet/kubelet-directory.ts';
import { RedoLog } from '../../../src/accessors/kubelet/redo-log.ts';
import { codeOf, record, secrets } from '../../conformance/accessor-suite.ts';
import { soleWorker, temporaryDirectory } from '../open-store.ts';
import {
  type KubeletSetup,
  type KubeletUnderTest,
  methodOf,
  openAt,
  openTemporary,
  ownLeftovers,
  PlainKubelet,
  written,
} from './kit.ts';

const CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const LAZY: KubeletSetup = {
  tuning: { writeBehind: { delayMs: 1e9 }, watch: { pollMs: 20, watchedPollMs: 20 } },
};

const canFreeze = await (async () => {
  const path = join(await temporaryDirectory(), 'probe');
  writeFileSync(path, '');
  try {
    freeze(path, true);
    freeze(path, false);
    return true;
  } catch {
    return false;
  }
})();

let store: KubeletUnderTest;
afterEach(async () => {
  vi.restoreAllMocks();
  await store.dispose();
});

describe('a record file that cannot be written', () => {
  it.each(['close', 'crash'] as const)(
    'because a directory has its name keeps the store from nothing but that key, after a %s',
    async (end) => {
      store = await openTemporary(LAZY);
      const path = new PlainKubelet(store.dir).pathOf('pulled', 'ref');
      await store.accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
      await store.accessor.writeImagePullIntent('image');
      mkdirSync(path);
      const again = end === 'close' ? store.reopen : store.crash;
      // Each time anew, whatever the log of the time before was called.
      for (let round = 0; round < 3; round++) {
        const accessor = await again(LAZY);
        expect(() => accessor.getImagePulledRecord('ref')).toThrow(
          expect.objectContaining({ code: CORRUPT, path, imageRef: 'ref' }),
        );
        expect(await accessor.imagePullIntentExists('image')).toBe(true);
        expect((await accessor.listImagePulledRecords()).errors).not.toEqual([]);
      }
      rmdirSync(path);
      expect(await namesOf(await again(LAZY))).toEqual(['ours']);
      await store.close();
      expect(await ownLeftovers(store.dir)).toEqual([]);
    },
  );

  it.skipIf(!canFreeze)(
    'because it is immutable does not count with what it had before',
    async () => {
      store = await openTemporary(LAZY);
      const path = new PlainKubelet(store.dir).pathOf('pulled', 'ref');
      await store.accessor.writeImagePulledRecord(record('ref', { old: secrets(1) }));
      let accessor = await store.reopen(LAZY);
      freeze(path, true);
      try {
        await accessor.writeImagePulledRecord(record('ref', { old: secrets(1), new: secrets(1) }));
        accessor = await store.crash(LAZY);
        expect(() => accessor.getImagePulledRecord('ref')).toThrow(
          expect.objectContaining({ code: CORRUPT, path, reason: 'EPERM' }),
        );
        const { records, errors } = await accessor.listImagePulledRecords();
        expect([records.length, errors.length]).toEqual([0, 1]);
        expect(accessor.count()).toEqual({ intents: 0, records: 0 });
      } finally {
        freeze(path, false);
      }
      expect(await namesOf(await store.reopen(LAZY))).toEqual(['new', 'old']);
    },
  );

  it('is made up for by a new proof, and has the old one too after the next start', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePulledRecord(record('ref', { old: secrets(1) }));
    refusePlaces();
    const accessor = await store.crash(LAZY);
    expect(await codeOf(() => accessor.getImagePulledRecord('ref'))).toBe(CORRUPT);
    vi.restoreAllMocks();
    await accessor.writeImagePulledRecord(record('ref', { new: secrets(1) }));
    expect(await namesOf(accessor)).toEqual(['new']);
    expect(await namesOf(await store.reopen(LAZY))).toEqual(['new', 'old']);
  });

  it.each(['close', 'crash'] as const)(
    'does not bring back what was deleted since, after a %s',
    async (end) => {
      store = await openTemporary(LAZY);
      await store.accessor.writeImagePulledRecord(record('ref', { old: secrets(1) }));
      await store.accessor.writeImagePullIntent('image');
      await store.accessor.writeImagePullIntent('other');
      refusePlaces();
      const accessor = await store.crash(LAZY);
      vi.restoreAllMocks();
      await accessor.writeImagePulledRecord(record('ref', { new: secrets(1) }));
      await accessor.deleteImagePulledRecord('ref');
      await accessor.deleteImagePullIntent('image');
      const again = end === 'close' ? store.reopen : store.crash;
      // The second time without the log that says so.
      for (let round = 0; round < 2; round++) {
        const next = await again(LAZY);
        expect(await namesOf(next)).toEqual([]);
        expect(await next.imagePullIntentExists('image')).toBe(false);
        expect(await next.imagePullIntentExists('other')).toBe(true);
      }
      await store.close();
      expect(await ownLeftovers(store.dir)).toEqual([]);
      expect(await new PlainKubelet(store.dir).names('pulled')).toEqual([]);
    },
  );

  it('stays in the log of a deletion until what would bring it back is gone', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePulledRecord(record('ref', { old: secrets(1) }));
    refusePlaces();
    const accessor = await store.crash(LAZY);
    vi.restoreAllMocks();
    vi.spyOn(RedoLog.prototype, 'removeOthers').mockRejectedValue(new Error('no'));
    await accessor.deleteImagePulledRecord('ref');
    await store.close();
    vi.restoreAllMocks();
    const again = await openAt(store.dir, LAZY);
    expect(await namesOf(again.accessor)).toEqual([]);
    await again.close();
    store = await openTemporary();
  });

  it('has what it lacked when a worker is replaced, unless that was deleted', async () => {
    const dir = join(await temporaryDirectory(), 'image_manager');
    let { accessor, abandon } = await openAt(dir, LAZY);
    for (const ref of ['kept', 'deleted', 'untouched']) {
      await accessor.writeImagePulledRecord(record(ref, { old: secrets(1) }));
    }
    refusePlaces();
    await abandon();
    const lock = await acquireDirectoryLock(await kubeletLockDirectory(dir));
    const plan = await prepareKubelet(lock.path, 'v1.35', LAZY.tuning);
    const unapplied = plan.unapplied.map(({ key }) => key).sort();
    expect(unapplied).toEqual(['deleted', 'kept', 'untouched']);
    accessor = await openKubelet(plan, soleWorker());
    await accessor.writeImagePulledRecord(record('kept', { new: secrets(1) }));
    await accessor.deleteImagePulledRecord('deleted');
    // It dies. The first to replace it cannot write either, the second can.
    await openKubelet(plan, soleWorker({ generation: 2 }));
    vi.restoreAllMocks();
    accessor = await openKubelet(plan, soleWorker({ generation: 3 }));
    const { records, errors } = await accessor.listImagePulledRecords();
    expect(errors).toEqual([]);
    const found = records.map((one) => [one.imageRef, Object.keys(one.credentialMapping).sort()]);
    expect(Object.fromEntries(found)).toEqual({ kept: ['new', 'old'], untouched: ['old'] });
    await accessor.close();
    await releaseKubelet(plan);
    await lock.release();
    expect(await ownLeftovers(dir)).toEqual([]);
  });

  it('is not rewritten in another version before what it lacks is known to be in it', async () => {
    store = await openTemporary();
    await store.close();
    await new PlainKubelet(store.dir, 'v1.34').writePulled(record('ref', { old: secrets(1) }));
    let accessor = await store.reopen({ ...LAZY, compatibility: 'v1.34' });
    await accessor.deleteImagePulledRecord('ref');
    refusePlaces();
    accessor = await store.crash(LAZY);
    expect(await codeOf(() => accessor.getImagePulledRecord('ref'))).toBe(CORRUPT);
    vi.restoreAllMocks();
    await written(accessor);
    expect(await namesOf(await store.reopen(LAZY))).toEqual([]);
  });

  it('because others replace it all the time is not lost', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePullIntent('image');
    vi.spyOn(FilePlacer.prototype, 'place').mockReturnValue(undefined);
    const disturbed = await store.crash(LAZY);
    expect(await codeOf(() => disturbed.imagePullIntentExists('image'))).toBe(CORRUPT);
    vi.restoreAllMocks();
    const accessor = await store.crash(LAZY);
    expect(await accessor.imagePullIntentExists('image')).toBe(true);
  });

  it('does not make the log grow without end, and is written when it can be', async () => {
    const segment = { segmentBytesMin: 64 * 1024, segmentBytesMax: 64 * 1024 };
    const setup: KubeletSetup = {
      tuning: {
        writeBehind: { delayMs: 0, retryMsMin: 1, retryMsMax: 5, redoBytesMax: 256 * 1024 },
        watch: { pollMs: 20, watchedPollMs: 20 },
        redo: segment,
      },
    };
    store = await openTemporary(setup);
    const { accessor, dir } = store;
    const path = new PlainKubelet(dir).pathOf('pulled', 'ref');
    mkdirSync(path);
    // Not noticed yet: nothing is taken in between.
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    for (let i = 0; i < 400; i++) {
      await accessor.writeImagePulledRecord(record(`other-${i % 10}`, { name: secrets(40) }));
      if (i % 10 === 0) await delay(2);
    }
    await vi.waitUntil(
      async () => (await bytesBelow(join(dir, '.pullwarden', 'redo'))) <= 256 * 1024,
      { timeout: 10_000, interval: 20 },
    );
    expect(accessor.writtenBytes).toBeGreaterThan(512 * 1024);
    rmdirSync(path);
    expect(await namesOf(await store.reopen(setup))).toEqual(['ours']);
  });

  it('although it need only be of another version keeps no log from getting shorter', async () => {
    store = await openTemporary();
    await store.close();
    await new PlainKubelet(store.dir, 'v1.34').writePulled(record('ref', { old: secrets(1) }));
    const place = methodOf(FilePlacer.prototype, 'place');
    vi.spyOn(FilePlacer.prototype, 'place').mockImplementation(function (this: FilePlacer, one) {
      if (one.change.key === 'ref') throw Object.assign(new Error('no'), { code: 'EPERM' });
      return place.call(this, one);
    });
    const accessor = await store.reopen({
      tuning: {
        writeBehind: { delayMs: 0, retryMsMin: 1, retryMsMax: 5, redoBytesMax: 256 * 1024 },
        redo: { segmentBytesMin: 64 * 1024, segmentBytesMax: 64 * 1024 },
      },
    });
    for (let i = 0; i < 400; i++) {
      await accessor.writeImagePulledRecord(record(`other-${i % 10}`, { name: secrets(40) }));
      if (i % 10 === 0) await delay(2);
    }
    expect(accessor.writtenBytes).toBeGreaterThan(512 * 1024);
    await vi.waitUntil(
      async () => (await bytesBelow(join(store.dir, '.pullwarden', 'redo'))) <= 256 * 1024,
      { timeout: 10_000, interval: 20 },
    );
    expect(await namesOf(accessor)).toEqual(['old']);
  });

  it('keeps nobody from seeing what others do to the rest', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    const path = kubelet.pathOf('pulled', 'ref');
    mkdirSync(path);
    // Not noticed yet: nothing is taken in between.
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await accessor.writeImagePulledRecord(record('other', { ours: secrets(1) }));
    await vi.waitUntil(async () => (await kubelet.read('pulled', 'other')) !== undefined);
    await kubelet.deletePulled('other');
    const isGone = async (): Promise<boolean> => {
      accessor.takeForeignChanges?.();
      return (await accessor.getImagePulledRecord('other')) === undefined;
    };
    await vi.waitUntil(isGone, { timeout: 10_000, interval: 10 });
    rmdirSync(path);
    expect(await namesOf(await store.reopen())).toEqual(['ours']);
  });
});

/** No file can be placed until mocks are restored. */
function refusePlaces(): void {
  vi.spyOn(FilePlacer.prototype, 'place').mockImplementation(() => {
    throw Object.assign(new Error('no'), { code: 'EPERM' });
  });
}

function freeze(path: string, isFrozen: boolean): void {
  execFileSync('chattr', [isFrozen ? '+i' : '-i', path], { stdio: 'ignore' });
}

async function bytesBelow(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory)) {
    bytes += await stat(join(directory, name)).then(
      ({ size }) => size,
      () => 0,
    );
  }
  return bytes;
}

async function namesOf(accessor: OwnedAccessor): Promise<string[]> {
  const found = await accessor.getImagePulledRecord('ref');
  return Object.keys(found?.credentialMapping ?? {}).sort();
}
