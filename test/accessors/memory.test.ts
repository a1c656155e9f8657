import { describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../src/accessors/accessor.ts';
import { openMemory } from '../../src/accessors/memory.ts';
import { errorCode } from '../../src/errors.ts';
import { PulledRecord } from '../../src/records/record.ts';
import { accessorSuite, codeOf, record } from '../conformance/accessor-suite.ts';
import { soleWorker } from './open-store.ts';

const LOST = 'ERR_PULLMANAGER_RECORD_CORRUPT';

accessorSuite({
  name: 'memory',
  open: async () => ({ accessor: openMemory(soleWorker()) }),
  capabilities: { overlappingCommits: true, historyCount: 200 },
});

describe('memory store', () => {
  it('answers at once and hands out the compact form', () => {
    const accessor = openMemory(soleWorker());
    expect(accessor.writeImagePulledRecord(record('ref'))).toBeUndefined();
    expect(accessor.getImagePulledRecord('ref')).toBeInstanceOf(PulledRecord);
    expect(accessor.count()).toEqual({ intents: 0, records: 1 });
    expect(accessor).toMatchObject({ writtenBytes: 0, listsOnlyOwnKeys: true });
  });
});

describe('memory store of a replaced worker', () => {
  const replacement = (): OwnedAccessor =>
    openMemory(soleWorker({ workerIndex: 3, generation: 2 }));

  it('does not take what it never saw for absent', async () => {
    const accessor = replacement();
    for (const run of [
      () => accessor.imagePullIntentExists('a'),
      () => accessor.getImagePulledRecord('a'),
    ]) {
      expect(await codeOf(run)).toBe(LOST);
      expect(run).toThrow('records were lost with worker 3');
    }
  });

  it('knows a key again once it is written', async () => {
    const accessor = replacement();
    await accessor.commit([
      { op: 'writeIntent', image: 'a' },
      { op: 'writePulled', record: record('a') },
    ]);
    expect(accessor.imagePullIntentExists('a')).toBe(true);
    expect(accessor.getImagePulledRecord('a')).toBeDefined();
    expect(() => accessor.imagePullIntentExists('b')).toThrow();
    expect(() => accessor.getImagePulledRecord('b')).toThrow();
  });

  it('knows a key to be absent once it is deleted, and present once written again', async () => {
    const accessor = replacement();
    await accessor.deleteImagePullIntent('a');
    await accessor.deleteImagePulledRecord('a');
    expect(accessor.imagePullIntentExists('a')).toBe(false);
    expect(accessor.getImagePulledRecord('a')).toBeUndefined();
    await accessor.writeImagePullIntent('a');
    expect(accessor.imagePullIntentExists('a')).toBe(true);
    await accessor.deleteImagePullIntent('a');
    expect(accessor.imagePullIntentExists('a')).toBe(false);
  });

  it('lists what it knows, with one error that tells of the rest', async () => {
    const accessor = replacement();
    await accessor.writeImagePullIntent('a');
    await accessor.deleteImagePullIntent('b');
    const intents = await accessor.listImagePullIntents();
    expect(intents.records).toEqual([{ image: 'a' }]);
    expect(intents.errors.map(errorCode)).toEqual([LOST]);
    const pulled = await accessor.listImagePulledRecords();
    expect(pulled.records).toEqual([]);
    expect(pulled.errors.map(errorCode)).toEqual([LOST]);
  });

  it('forgets the oldest deletions when there are too many, which is the safe side', async () => {
    const accessor = replacement();
    for (let i = 0; i <= 65_536; i++) await accessor.deleteImagePullIntent(`image-${i}`);
    expect(() => accessor.imagePullIntentExists('image-0')).toThrow('lost');
    expect(accessor.imagePullIntentExists('image-1')).toBe(false);
    expect(accessor.imagePullIntentExists('image-65536')).toBe(false);
  });
});
