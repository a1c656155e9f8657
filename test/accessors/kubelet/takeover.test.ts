import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { OwnedAccessor, RecordWrite } from '../../../src/accessors/accessor.ts';
import { recordFileName } from '../../../src/accessors/kubelet/record-format.ts';
import { ownerOf, stripeOf } from '../../../src/locks/stripe.ts';
import { comparable, record, secrets } from '../../conformance/accessor-suite.ts';
import {
  foreignChange,
  type KubeletUnderTest,
  openTemporary,
  ownLeftovers,
  PlainKubelet,
  settled,
} from './kit.ts';

let store: KubeletUnderTest;
afterEach(() => store.dispose());

describe('a kubelet store', () => {
  it('leaves, when it is closed, everything in the files of the kubelet, and nothing else', async () => {
    // A delay that would never end: it is the close that writes the files.
    store = await openTemporary({ tuning: { writeBehind: { delayMs: 1e9 } } });
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.commit([
      { op: 'writeIntent', image: 'registry.example.com/app:1' },
      { op: 'writeIntent', image: 'gone' },
      { op: 'writePulled', record: record('sha256:1', { 'registry.example.com/app': {} }) },
      { op: 'deleteIntent', image: 'gone' },
    ]);
    expect(await kubelet.names('pulling')).toEqual([]);
    expect(await ownLeftovers(dir)).toContain('redo');
    await store.close();
    expect(await kubelet.names('pulling')).toEqual([recordFileName('registry.example.com/app:1')]);
    expect(await kubelet.names('pulled')).toEqual([recordFileName('sha256:1')]);
    expect(await ownLeftovers(dir)).toEqual([]);
  });

  it('writes each file byte for byte as the kubelet does, mode 0600 in directories of mode 0700', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePullIntent('registry.example.com/app:1');
    await accessor.writeImagePulledRecord(
      record('sha256:1', { 'registry.example.com/app': { nodePodsAccessible: true } }),
    );
    await settled(accessor);
    expect(await kubelet.read('pulling', 'registry.example.com/app:1')).toBe(
      '{"kind":"ImagePullIntent","apiVersion":"kubelet.config.k8s.io/v1beta1",' +
        '"image":"registry.example.com/app:1"}\n',
    );
    expect(await kubelet.read('pulled', 'sha256:1')).toBe(
      '{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",' +
        '"lastUpdatedTime":"2026-01-02T03:04:05Z","imageRef":"sha256:1","credentialMapping":' +
        '{"registry.example.com/app":{"nodePodsAccessible":true}}}\n',
    );
    const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
    for (const path of [dir, join(dir, 'pulling'), join(dir, 'pulled'), join(dir, '.pullwarden')]) {
      expect([path, await modeOf(path)]).toEqual([path, 0o700]);
    }
    expect(await modeOf(kubelet.pathOf('pulled', 'sha256:1'))).toBe(0o600);
  });

  it('writes nothing for what was undone before its files were written', async () => {
    store = await openTemporary({ tuning: { writeBehind: { delayMs: 1e9 } } });
    const before = store.accessor.writtenBytes;
    const batch: RecordWrite[] = [];
    for (let i = 0; i < 100; i++) batch.push({ op: 'writeIntent', image: `image-${i}` });
    await store.accessor.commit(batch);
    for (let i = 0; i < 100; i++) await store.accessor.deleteImagePullIntent(`image-${i}`);
    const redoOnly = store.accessor.writtenBytes;
    const { accessor } = store;
    await store.reopen();
    expect(redoOnly).toBeGreaterThan(before);
    expect(accessor.writtenBytes).toBe(redoOnly);
  });

  it('holds the same whatever the number of workers and stripes, and each key in one place', async () => {
    const shapes = [
      [1, 31],
      [3, 31],
      [2, 5],
      [1, 1],
    ] as const;
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(shapes.slice()), async (order) => {
        store = await openTemporary();
        const images = Array.from({ length: 40 }, (_, i) => `image-${i}`);
        await store.accessor.commit(images.map((image) => ({ op: 'writeIntent', image })));
        for (const [workerCount, stripeCount] of order) {
          const seen: string[] = [];
          for (let workerIndex = 0; workerIndex < workerCount; workerIndex++) {
            const context = { workerIndex, workerCount, stripeCount };
            const accessor = await store.reopen({ context });
            const listed = (await accessor.listImagePullIntents()).records.map((one) => one.image);
            for (const image of listed) {
              expect(ownerOf(stripeOf(image, stripeCount), workerCount)).toBe(workerIndex);
            }
            seen.push(...listed);
          }
          expect(seen.sort()).toEqual([...images].sort());
        }
        await store.dispose();
      }),
      { numRuns: 5 },
    );
    store = await openTemporary();
  });

  it('keeps what is acknowledged while it is being closed', async () => {
    const tuning = { writeBehind: { delayMs: 1e9 } };
    store = await openTemporary({ tuning, context: { mayBlock: false } });
    const writing = store.accessor.writeImagePullIntent('image');
    const closing = store.accessor.close();
    await writing;
    await closing;
    const accessor = await store.reopen();
    expect(await accessor.imagePullIntentExists('image')).toBe(true);
  });

  it('takes in what a kubelet did after a clean close', async () => {
    store = await openTemporary();
    const { dir } = store;
    await store.accessor.commit([
      { op: 'writeIntent', image: 'kept' },
      { op: 'writeIntent', image: 'gone' },
      { op: 'writePulled', record: record('ref', { name: secrets(1) }) },
    ]);
    await store.accessor.close();
    const kubelet = new PlainKubelet(dir);
    await kubelet.deleteIntent('gone');
    await kubelet.writePulled(record('ref', { name: secrets(2) }));
    await kubelet.writePulled(record('other', {}));
    const accessor = await store.reopen();
    expect(await intentsOf(accessor)).toEqual(['kept']);
    expect(comparable(await accessor.getImagePulledRecord('ref'), 1000)).toEqual(
      comparable(record('ref', { name: secrets(2) }), 1000),
    );
    expect((await accessor.listImagePulledRecords()).records).toHaveLength(2);
  });

  it('takes in what a kubelet does while it is open, and says for which keys', async () => {
    store = await openTemporary();
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
    await settled(accessor);
    await kubelet.writePulled(record('ref', { name: secrets(3) }));
    expect(await foreignChange(accessor)).toEqual(['ref']);
    expect(comparable(await accessor.getImagePulledRecord('ref'), 1000)).toEqual(
      comparable(record('ref', { name: secrets(3) }), 1000),
    );
    await kubelet.writeIntent('theirs');
    expect(await foreignChange(accessor)).toEqual(['theirs']);
    expect(await accessor.imagePullIntentExists('theirs')).toBe(true);
    await kubelet.deletePulled('ref');
    expect(await foreignChange(accessor)).toEqual(['ref']);
    expect(await accessor.getImagePulledRecord('ref')).toBeUndefined();
    expect(await accessor.count()).toEqual({ intents: 1, records: 0 });
  });

  it('adds to a file that was changed before its own write got there, instead of replacing it', async () => {
    store = await openTemporary({
      tuning: { writeBehind: { delayMs: 1e9 }, watch: { pollMs: 20 } },
    });
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await accessor.writeImagePullIntent('image');
    await kubelet.writePulled(record('ref', { theirs: { nodePodsAccessible: true } }));
    const reopened = await store.reopen();
    const found = (await reopened.getImagePulledRecord('ref'))!;
    expect(Object.keys(found.credentialMapping)).toEqual(['ours', 'theirs']);
    expect(await kubelet.names('pulling')).toEqual([recordFileName('image')]);
  });

  it('does not delete a record that was changed before the deletion got there', async () => {
    store = await openTemporary();
    const kubelet = new PlainKubelet(store.dir);
    await store.accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
    const accessor = await store.reopen({ tuning: { writeBehind: { delayMs: 1e9 } } });
    await accessor.deleteImagePulledRecord('ref');
    expect(await accessor.getImagePulledRecord('ref')).toBeUndefined();
    await kubelet.writePulled(record('ref', { theirs: secrets(2) }));
    const reopened = await store.reopen();
    const found = (await reopened.getImagePulledRecord('ref'))!;
    expect(Object.keys(found.credentialMapping)).toEqual(['theirs']);
  });
});

describe('a kubelet store that claims to be v1.33 or v1.34', () => {
  it('writes v1alpha1, reads no v1beta1, and rewrites nothing', async () => {
    for (const compatibility of ['v1.33', 'v1.34'] as const) {
      store = await openTemporary({ compatibility });
      const kubelet = new PlainKubelet(store.dir);
      await store.accessor.writeImagePulledRecord(record('old', { name: {} }));
      await store.close();
      await kubelet.writePulled(record('new', { name: {} }));
      const before = await kubelet.read('pulled', 'new');
      const accessor = await store.reopen();
      expect(await kubelet.read('pulled', 'old')).toContain('kubelet.config.k8s.io/v1alpha1');
      expect(await accessor.getImagePulledRecord('old')).toBeDefined();
      expect(() => accessor.getImagePulledRecord('new')).toThrow('is damaged');
      await store.close();
      expect(await kubelet.read('pulled', 'new')).toBe(before);
      await store.dispose();
    }
    store = await openTemporary();
  });
});

async function intentsOf(accessor: OwnedAccessor): Promise<string[]> {
  const { records } = await accessor.listImagePullIntents();
  return records.map(({ image }) => image).sort();
}
