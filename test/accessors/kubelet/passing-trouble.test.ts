/** Calls of the file system that fail once, and what must be as before when they work again. */
import fs from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { kubeletPaths } from '../../../src/accessors/kubelet/layout.ts';
import {
  closeDirectories,
  openDirectories,
} from '../../../src/accessors/kubelet/record-directory.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { verifyStore } from '../../../src/records-tools/verify.ts';
import { codeOf, record, secrets } from '../../conformance/accessor-suite.ts';
import { secret } from '../../support/credentials.ts';
import { temporaryDirectory } from '../open-store.ts';
import { openAt, openTemporary, PlainKubelet, settled, written } from './kit.ts';

const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

type Replaced = 'openSync' | 'renameSync' | 'closeSync' | 'fstatSync' | 'statSync' | 'lstatSync';

/** Has a function of `node:fs` do something else until the end of the test. */
function replace<Name extends Replaced>(
  name: Name,
  stand: (original: (typeof fs)[Name]) => (...args: never[]) => unknown,
): void {
  const original = fs[name];
  vi.spyOn(fs, name).mockImplementation(stand(original) as never);
  syncBuiltinESMExports();
}

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

describe.each(['EIO', 'EMFILE'])('a record file that cannot be read for now (%s)', (code) => {
  /** The file of a key cannot be opened while `isFailing.now`. */
  function unreadable(path: string): { now: boolean } {
    const isFailing = { now: true };
    replace('openSync', (original) => (...args: Parameters<typeof original>) => {
      if (isFailing.now && String(args[0]) === path) throw failure(code);
      return original(...args);
    });
    return isFailing;
  }

  it('is neither damaged nor absent, and loses no proof to a new one', async () => {
    const dir = join(await temporaryDirectory(), 'image_manager');
    const [a, b] = [secret('a'), secret('b')];
    const open = (): Promise<PullManager> =>
      PullManager.open({ store: { kind: 'kubelet', dir }, workerCount: 0 });
    const before = await open();
    await before.recordImagePulled('app:1', 'ref', { kubernetesSecrets: [a] });
    await before.close();
    const isFailing = unreadable(new PlainKubelet(dir).pathOf('pulled', 'ref'));
    const manager = await open();
    expect(await manager.decide('app:1', 'ref', { secrets: [a] })).toMatchObject({
      mustPull: true,
      reason: 'error',
      cause: { code: UNAVAILABLE },
    });
    const refused = manager.recordImagePulled('app:1', 'ref', { kubernetesSecrets: [b] });
    await expect(refused).rejects.toMatchObject({ code: UNAVAILABLE });
    isFailing.now = false;
    await vi.waitUntil(() => manager.getImagePulledRecord('ref').catch(() => undefined), {
      timeout: 30_000,
    });
    await manager.recordImagePulled('app:1', 'ref', { kubernetesSecrets: [b] });
    for (const one of [a, b]) {
      expect(await manager.mustAttemptImagePull('app:1', 'ref', { secrets: [one] })).toBe(false);
    }
    await manager.close();
  });

  it('is left where it is by a repair', async () => {
    const dir = join(await temporaryDirectory(), 'image_manager');
    const kubelet = new PlainKubelet(dir);
    await kubelet.writePulled(record('ref'));
    const isFailing = unreadable(kubelet.pathOf('pulled', 'ref'));
    const choice = {
      options: { kind: 'kubelet', dir },
      label: 'it',
      compatibility: 'v1.35',
    } as const;
    const verified = await verifyStore(choice, {
      repairs: true,
      acceptsPreloaded: true,
      onFinding: () => {},
      signal: new AbortController().signal,
    });
    isFailing.now = false;
    expect(verified).toMatchObject({ quarantined: 0, passed: false, counts: { unread: 1 } });
    expect(await kubelet.names('pulled')).toHaveLength(1);
  });

  it('keeps no store from being closed where another has put it over what is yet to be written', async () => {
    const setup = { tuning: { writeBehind: { delayMs: 1e9 } } };
    const store = await openTemporary(setup);
    const kubelet = new PlainKubelet(store.dir);
    await store.accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await kubelet.writePulled(record('ref', { theirs: secrets(1) }));
    const isFailing = unreadable(kubelet.pathOf('pulled', 'ref'));
    let isClosed = false;
    const closing = store.close().then(() => {
      isClosed = true;
    });
    await vi.waitUntil(() => isClosed, { timeout: 5_000 }).catch(() => {});
    const wasClosed = isClosed;
    isFailing.now = false;
    await closing;
    expect(wasClosed).toBe(true);
    const again = await openAt(store.dir, setup);
    const found = await again.accessor.getImagePulledRecord('ref');
    expect(Object.keys(found?.credentialMapping ?? {}).sort()).toEqual(['ours', 'theirs']);
    await again.close();
  });

  it('is no reason to replay a log over it', async () => {
    const store = await openTemporary({ tuning: { writeBehind: { delayMs: 1e9 } } });
    await new PlainKubelet(store.dir).writePulled(record('ref', { theirs: secrets(1) }));
    const { accessor } = store;
    await vi.waitUntil(() => {
      accessor.takeForeignChanges?.();
      return accessor.getImagePulledRecord('ref') !== undefined;
    });
    await accessor.writeImagePullIntent('image');
    await accessor.writeImagePulledRecord(record('ref', { theirs: secrets(1), ours: secrets(2) }));
    const isFailing = unreadable(new PlainKubelet(store.dir).pathOf('pulled', 'ref'));
    expect(await codeOf(() => store.crash())).toBe(UNAVAILABLE);
    isFailing.now = false;
    const again = await openAt(store.dir);
    const found = await again.accessor.getImagePulledRecord('ref');
    expect(Object.keys(found?.credentialMapping ?? {}).sort()).toEqual(['ours', 'theirs']);
    await again.close();
  });
});

describe('calls that are carried out and fail all the same', () => {
  it('put a file in its place that can be removed', async () => {
    const store = await openTemporary();
    const kubelet = new PlainKubelet(store.dir);
    let isLate = true;
    replace('renameSync', (original) => (...args: Parameters<typeof original>) => {
      original(...args);
      const wasLate = isLate;
      isLate = false;
      if (wasLate) throw failure('EIO');
    });
    await store.accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await settled(store.accessor);
    expect(isLate).toBe(false);
    expect(await kubelet.names('pulled')).toHaveLength(1);
    await store.accessor.deleteImagePulledRecord('ref');
    await settled(store.accessor);
    expect(await store.accessor.getImagePulledRecord('ref')).toBeUndefined();
    expect(await kubelet.names('pulled')).toEqual([]);
    await store.dispose();
  });

  it.each(['statSync', 'lstatSync'] as const)(
    'or a look that fails after them (%s) leave a file that can be removed',
    async (look) => {
      const store = await openTemporary();
      let trouble: 'before' | 'now' | 'over' = 'before';
      replace('renameSync', (original) => (...args: Parameters<typeof original>) => {
        original(...args);
        if (trouble === 'before') trouble = 'now';
      });
      replace(look, (original) => (...args: never[]) => {
        if (trouble !== 'now') return (original as (...all: never[]) => unknown)(...args);
        trouble = 'over';
        throw failure('EIO');
      });
      await store.accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
      await settled(store.accessor);
      expect(trouble).toBe('over');
      await store.accessor.deleteImagePulledRecord('ref');
      await settled(store.accessor);
      expect(await store.accessor.getImagePulledRecord('ref')).toBeUndefined();
      expect(await new PlainKubelet(store.dir).names('pulled')).toEqual([]);
      await store.dispose();
    },
  );

  it('and a look that fails after them do not keep what is deleted at once', async () => {
    const tuning = { writeBehind: { delayMs: 1e9 }, watch: { pollMs: 20, watchedPollMs: 20 } };
    const store = await openTemporary({ tuning });
    const { accessor } = store;
    let trouble: 'before' | 'now' | 'over' = 'before';
    replace('renameSync', (original) => (...args: Parameters<typeof original>) => {
      original(...args);
      if (trouble === 'before') trouble = 'now';
    });
    replace('lstatSync', (original) => (...args: never[]) => {
      if (trouble !== 'now') return (original as (...all: never[]) => unknown)(...args);
      trouble = 'over';
      throw failure('EIO');
    });
    await accessor.writeImagePullIntent('image');
    await written(accessor);
    expect(trouble).toBe('over');
    // Before the owner has taken in what the watch says of its own file.
    await accessor.deleteImagePullIntent('image');
    await vi.waitUntil(() => accessor.hasForeignChanges, { timeout: 10_000 });
    accessor.takeForeignChanges?.();
    expect(await accessor.imagePullIntentExists('image')).toBe(false);
    await store.close();
    expect(await new PlainKubelet(store.dir).names('pulling')).toEqual([]);
  });

  it('leave no directory open', async () => {
    const paths = kubeletPaths(await temporaryDirectory());
    for (const path of Object.values(paths.of)) await mkdir(path);
    const directories = openDirectories(paths);
    const closed: number[] = [];
    replace('closeSync', (original) => (fd: number) => {
      original(fd);
      closed.push(fd);
      throw failure('EIO');
    });
    closeDirectories(directories);
    expect(closed).toHaveLength(2);
  });

  it('leave none open that cannot be told from another', async () => {
    const paths = kubeletPaths(await temporaryDirectory());
    for (const path of Object.values(paths.of)) await mkdir(path);
    const closed: number[] = [];
    replace('closeSync', (original) => (fd: number) => {
      original(fd);
      closed.push(fd);
    });
    replace('fstatSync', () => () => {
      throw failure('EIO');
    });
    expect(() => openDirectories(paths)).toThrow('EIO');
    expect(closed).toHaveLength(1);
  });
});
