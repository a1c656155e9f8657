import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OwnedAccessor, RecordWrite } from '../../../src/accessors/accessor.ts';
import { acquireDirectoryLock } from '../../../src/accessors/directory-lock.ts';
import type { Inspectable } from '../../../src/accessors/inspection.ts';
import { FilePlacer } from '../../../src/accessors/kubelet/file-placer.ts';
import { openKubelet } from '../../../src/accessors/kubelet/kubelet-accessor.ts';
import {
  kubeletLockDirectory,
  prepareKubelet,
} from '../../../src/accessors/kubelet/kubelet-directory.ts';
import { RedoLog } from '../../../src/accessors/kubelet/redo-log.ts';
import { applyChange } from '../../../src/records/merge.ts';
import { type ImagePulledRecord, PulledRecord } from '../../../src/records/record.ts';
import { comparable, record, secrets } from '../../conformance/accessor-suite.ts';
import { soleWorker } from '../open-store.ts';
import {
  type KubeletSetup,
  type KubeletUnderTest,
  methodOf,
  openTemporary,
  ownLeftovers,
  PlainKubelet,
  settled,
} from './kit.ts';

/** Files are written only when a test asks for it. */
const LAZY: KubeletSetup = { tuning: { writeBehind: { delayMs: 1e9 } } };

let store: KubeletUnderTest;
afterEach(() => store.dispose());

describe('a kubelet store after a crash', () => {
  it('has everything that was acknowledged, in the files of the kubelet', async () => {
    store = await openTemporary(LAZY);
    const kubelet = new PlainKubelet(store.dir);
    await store.accessor.commit([
      { op: 'writeIntent', image: 'image' },
      { op: 'writePulled', record: record('ref', { name: secrets(2) }) },
    ]);
    expect(await kubelet.names('pulled')).toEqual([]);
    const accessor = await store.crash(LAZY);
    expect(await kubelet.names('pulled')).toHaveLength(1);
    expect(await intentsOf(accessor)).toEqual(['image']);
    expect(await recordOf(accessor, 'ref')).toEqual(seconds(record('ref', { name: secrets(2) })));
  });

  it('has deleted what was deleted, also where its file was there', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    await accessor.commit([
      { op: 'writeIntent', image: 'image' },
      { op: 'writePulled', record: record('ref') },
    ]);
    await written(accessor);
    await accessor.deleteImagePullIntent('image');
    await accessor.deleteImagePulledRecord('ref');
    const after = await store.crash(LAZY);
    expect(await after.count()).toEqual({ intents: 0, records: 0 });
    expect(await new PlainKubelet(dir).names('pulled')).toEqual([]);
  });

  it('keeps the proofs that a kubelet added in between, and adds its own', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    const before = record('ref', { first: secrets(1) });
    await accessor.writeImagePulledRecord(before);
    await written(accessor);
    await accessor.commit([changed(before, 'second')]);
    await new PlainKubelet(dir).writePulled(
      record('ref', { first: secrets(1), third: { nodePodsAccessible: true } }),
    );
    const found = await (await store.crash(LAZY)).getImagePulledRecord('ref');
    expect(Object.keys(found!.credentialMapping)).toEqual(['first', 'second', 'third']);
  });

  it('lets a record or intent of a kubelet win over a deletion that came before it', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('ref', { ours: secrets(1) }));
    await accessor.writeImagePullIntent('image');
    await written(accessor);
    await accessor.deleteImagePulledRecord('ref');
    await accessor.deleteImagePullIntent('image');
    await kubelet.writePulled(record('ref', { theirs: secrets(1) }));
    await kubelet.writeIntent('image');
    const after = await store.crash(LAZY);
    expect(Object.keys((await after.getImagePulledRecord('ref'))!.credentialMapping)).toEqual([
      'theirs',
    ]);
    expect(await intentsOf(after)).toEqual(['image']);
  });

  it('keeps the hash that a kubelet recorded later', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    await accessor.writeImagePulledRecord(record('ref', { name: secrets(1, 'old') }));
    await new PlainKubelet(dir).writePulled(record('ref', { name: secrets(1, 'new') }));
    const after = await store.crash(LAZY);
    expect(await recordOf(after, 'ref')).toEqual(
      seconds(record('ref', { name: secrets(1, 'new') })),
    );
  });

  it('leaves a file of others alone that is damaged, and calls its key damaged', async () => {
    store = await openTemporary(LAZY);
    const { accessor, dir } = store;
    const kubelet = new PlainKubelet(dir);
    await accessor.writeImagePulledRecord(record('ref'));
    await written(accessor);
    await accessor.deleteImagePulledRecord('ref');
    const path = kubelet.pathOf('pulled', 'ref');
    await writeFile(path, '{"kind":');
    const after = await store.crash(LAZY);
    expect(await readFile(path, 'utf8')).toBe('{"kind":');
    expect(() => after.getImagePulledRecord('ref')).toThrow(path);
  });

  it.each([
    ['must not be believed any more', {}],
    ['is of a newer version than is read', { compatibility: 'v1.34' }],
  ] as const)('does not delete a file of its own that %s', async (what, changes) => {
    store = await openTemporary(LAZY);
    const path = new PlainKubelet(store.dir).pathOf('pulled', 'ref');
    const retire = vi.spyOn(RedoLog.prototype, 'retire').mockRejectedValue(new Error('no'));
    await store.accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
    // The crash comes when the file is in its place, and the log does not say so yet.
    for await (const _ of (store.accessor as unknown as Inspectable).inspect());
    await vi.waitUntil(() => retire.mock.calls.length > 0);
    retire.mockRestore();
    if (what.startsWith('must')) await chmod(path, 0o666);
    const accessor = await store.crash({ ...LAZY, ...changes });
    expect(await recordOf(accessor, 'ref')).toEqual(seconds(record('ref', { name: secrets(1) })));
  });

  it('has the same when the replay itself is cut short by another crash', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.commit([
      { op: 'writeIntent', image: 'image' },
      { op: 'writePulled', record: record('ref', { name: secrets(2) }) },
    ]);
    const redo = join(store.dir, '.pullwarden', 'redo');
    const [name] = (await readdir(redo)).filter((one) => one.endsWith('.journal'));
    const log = await readFile(join(redo, name!));
    await store.crash(LAZY);
    await store.close();
    // The log as it was, beside files that have it all.
    await mkdir(redo, { recursive: true });
    await writeFile(join(redo, name!), log);
    const accessor = await store.crash(LAZY);
    expect(await intentsOf(accessor)).toEqual(['image']);
    expect(await recordOf(accessor, 'ref')).toEqual(seconds(record('ref', { name: secrets(2) })));
    await store.close();
    expect(await ownLeftovers(store.dir)).toEqual([]);
  });

  it('gives a worker that takes the place of a dead one what that had acknowledged', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePullIntent('image');
    const accessor = await store.crash({ ...LAZY, context: { generation: 2 } });
    expect(await intentsOf(accessor)).toEqual(['image']);
  });

  it('gives it to the next worker, too, where one died while it brought it to files', async () => {
    store = await openTemporary();
    await store.close();
    const lock = await acquireDirectoryLock(await kubeletLockDirectory(store.dir));
    const plan = await prepareKubelet(lock.path, 'v1.35', LAZY.tuning);
    const first = await openKubelet(plan, soleWorker());
    await first.writeImagePullIntent('image');
    const prepare = methodOf(FilePlacer.prototype, 'prepare');
    const death = new Promise<void>((died) => {
      vi.spyOn(FilePlacer.prototype, 'prepare').mockImplementationOnce(async function (
        this: FilePlacer,
        changes,
      ) {
        await prepare.call(this, changes);
        died();
        return new Promise(() => {});
      });
    });
    void openKubelet(plan, soleWorker({ generation: 2 }));
    await death;
    const next = await openKubelet(plan, soleWorker({ generation: 3 }));
    expect(await intentsOf(next)).toEqual(['image']);
    await next.close();
    await lock.release();
  });

  it('drops a batch that was torn, and has all before it', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePullIntent('first');
    await store.accessor.writeImagePullIntent('last');
    await damageLog(store.dir, (bytes) => {
      const at = bytes.lastIndexOf('last');
      // What a power cut leaves of it: nothing.
      bytes.fill(0, bytes.lastIndexOf(Buffer.from([0xd7, 0x50, 0x57]), at));
    });
    expect(await intentsOf(await store.crash())).toEqual(['first']);
  });

  it('refuses to open, naming file and offset, where the log is damaged, and leaves all alone', async () => {
    store = await openTemporary(LAZY);
    await store.accessor.writeImagePullIntent('first');
    await store.accessor.writeImagePullIntent('last');
    const path = await damageLog(store.dir, (bytes) => {
      bytes[bytes.indexOf('first')]! ^= 1;
    });
    await expect(store.crash()).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_CORRUPT',
      path,
      offset: expect.any(Number),
    });
    expect(await new PlainKubelet(store.dir).names('pulling')).toEqual([]);
    await damageLog(store.dir, (bytes) => {
      bytes[bytes.indexOf('girst')]! ^= 1;
    });
    expect(await intentsOf(await store.crash())).toEqual(['first', 'last']);
  });

  it('agrees with a model, whatever was written to files before the crash', async () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('write' as const), key, fc.nat(3)) },
      { weight: 4, arbitrary: fc.tuple(fc.constant('change' as const), key, fc.nat(3)) },
      { weight: 4, arbitrary: fc.tuple(fc.constant('delete' as const), key, fc.nat(3)) },
      { weight: 3, arbitrary: fc.tuple(fc.constant('files' as const), key, fc.nat(3)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('crash' as const), key, fc.nat(3)) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        store = await openTemporary(LAZY);
        let { accessor } = store;
        const model = new Map<string, ImagePulledRecord>();
        for (const [what, ref, number] of [...steps, ['crash', 'a', 0] as const]) {
          const before = model.get(ref);
          if (what === 'write') {
            const one = record(ref, { [`name-${number}`]: secrets(number + 1) });
            await accessor.writeImagePulledRecord(one);
            model.set(ref, one);
          } else if (what === 'change' && before !== undefined) {
            const write = changed(before, `name-${number}`);
            await accessor.commit([write]);
            model.set(ref, write.record);
          } else if (what === 'delete') {
            await accessor.deleteImagePulledRecord(ref);
            model.delete(ref);
          } else if (what === 'files') await written(accessor);
          else if (what === 'crash') accessor = await store.crash(LAZY);
          for (const one of ['a', 'b', 'c']) {
            expect(await recordOf(accessor, one)).toEqual(seconds(model.get(one)));
          }
        }
        await store.dispose();
      }),
      { numRuns: 25 },
    );
    store = await openTemporary();
  });
});

/** Brings all to files now. */
async function written(accessor: OwnedAccessor): Promise<void> {
  const { inspect } = accessor as OwnedAccessor & { inspect?: () => AsyncIterable<unknown> };
  for await (const entry of inspect!.call(accessor))
    expect(entry).toMatchObject({ verdict: 'valid' });
  await settled(accessor);
}

function changed(
  before: ImagePulledRecord,
  imageName: string,
): RecordWrite & { op: 'writePulled' } {
  const change = { imageName, credentials: secrets(1, 'changed') };
  const compact = PulledRecord.from(before);
  const after = applyChange(compact, before.imageRef, change, compact.updatedAtMs + 1000);
  return { op: 'writePulled', record: after, change };
}

async function recordOf(accessor: OwnedAccessor, imageRef: string): Promise<unknown> {
  return seconds(await accessor.getImagePulledRecord(imageRef));
}

function seconds(of: ImagePulledRecord | undefined): unknown {
  return comparable(of, 1000);
}

async function intentsOf(accessor: OwnedAccessor): Promise<string[]> {
  const { records } = await accessor.listImagePullIntents();
  return records.map(({ image }) => image).sort();
}

/** Changes the bytes of the redo log's only segment with content; answers its path. */
async function damageLog(dir: string, change: (bytes: Buffer) => void): Promise<string> {
  const redo = join(dir, '.pullwarden', 'redo');
  const names = (await readdir(redo)).filter((name) => name.endsWith('.journal')).sort();
  const path = join(redo, names[0]!);
  const bytes = await readFile(path);
  change(bytes);
  await writeFile(path, bytes);
  return path;
}
