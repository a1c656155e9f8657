/** Random histories with kills, snapshots and reopening, compared with a model. */
import { readdirSync } from 'node:fs';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RecordWrite } from '../../../src/accessors/accessor.ts';
import { PulledRecord } from '../../../src/records/record.ts';
import {
  copyOf,
  dump,
  failure,
  Model,
  newDirectory,
  type OpenOptions,
  openOne,
  secretOf,
} from '../../fixtures/journal/kit.ts';

type Step =
  | { readonly kind: 'batch'; readonly writes: readonly Draft[] }
  | { readonly kind: 'kill' | 'close' | 'turn' };
interface Draft {
  readonly op: 'writeIntent' | 'deleteIntent' | 'change' | 'whole' | 'deletePulled';
  readonly key: number;
  readonly tenant: number;
  readonly hash: number;
}

const KEYS = ['a', '__proto__', 'x\0y', '\ud800', 'long-'.repeat(150), 'sha256:ab', 'é世界-image'];

const draft: fc.Arbitrary<Draft> = fc.record({
  op: fc.constantFrom(
    'writeIntent' as const,
    'deleteIntent' as const,
    'change' as const,
    'change' as const,
    'whole' as const,
    'deletePulled' as const,
  ),
  key: fc.nat(KEYS.length - 1),
  tenant: fc.nat(3),
  hash: fc.nat(2),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      writes: fc.array(draft, { minLength: 1, maxLength: 12 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'kill' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'close' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'turn' as const }) },
);

function writeOf(model: Model, { op, key, tenant, hash }: Draft, timeMs: number): RecordWrite {
  const text = KEYS[key]!;
  if (op === 'writeIntent' || op === 'deleteIntent') return { op, image: text };
  if (op === 'deletePulled') return { op, imageRef: text };
  const credentials = tenant === 3 ? { nodePodsAccessible: true } : secretOf(tenant, hash);
  if (op === 'change') return model.change(text, KEYS[(key + hash) % 3]!, credentials, timeMs);
  const proofs = [{ imageName: `name-${tenant}`, credentials }];
  return { op: 'writePulled', record: new PulledRecord(text, timeMs, proofs) };
}

describe.each([
  { name: 'blocking', options: { mayBlock: true } },
  { name: 'not blocking', options: { mayBlock: false } },
  { name: 'not flushed', options: { durability: 'write' as const } },
])('a journal, $name', ({ options: given }) => {
  const options: OpenOptions = {
    ...given,
    tuning: { snapshotBytesMin: 2000, snapshotFactor: 1, snapshotFrameBytes: 64 },
  };

  it('holds after any history of batches, kills and closes what was acknowledged', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const model = new Model();
        let path = newDirectory();
        let accessor = await openOne(path, options);
        let timeMs = 1_700_000_000_000;
        for (const current of steps) {
          if (current.kind === 'batch') {
            const batch: RecordWrite[] = [];
            for (const one of current.writes) {
              const next = writeOf(model, one, timeMs++);
              model.apply([next]);
              batch.push(next);
            }
            await accessor.commit(batch);
          } else if (current.kind === 'turn') {
            await turnOfEventLoop();
          } else {
            // A snapshot or a new segment may be half done.
            const old = accessor;
            if (current.kind === 'close') await old.close();
            const copy = current.kind === 'kill' ? copyOf(path) : path;
            await old.close();
            path = copy;
            accessor = await openOne(path, options);
            expect(await dump(accessor)).toEqual(model.dump());
          }
          const { intents, records } = model;
          expect(await accessor.count()).toEqual({ intents: intents.size, records: records.size });
        }
        await accessor.close();
        accessor = await openOne(path, options);
        expect(await dump(accessor)).toEqual(model.dump());
        await accessor.close();
      }),
      { numRuns: 60 },
    );
  });

  it('holds the batch under way at a kill as a whole or not at all', async () => {
    const path = newDirectory();
    const accessor = await openOne(path, options);
    await accessor.commit([{ op: 'writeIntent', image: 'before' }]);
    const writes = Array.from({ length: 40 }, (_, index): RecordWrite => {
      return { op: 'writeIntent', image: `image-${index}` };
    });
    const done = accessor.commit(writes);
    const copy = copyOf(path);
    await done;
    await accessor.close();
    const again = await openOne(copy, options);
    const { intents } = await again.count();
    expect([1, 41]).toContain(intents);
    await again.close();
  });

  it('removes what a snapshot has made superfluous', async () => {
    const path = newDirectory();
    const accessor = await openOne(path, options);
    const hasSnapshot = (): boolean => readdirSync(path).some((name) => name.endsWith('.snapshot'));
    for (let round = 0; round < 500 || (!hasSnapshot() && round < 100_000); round++) {
      const image = `image-${round % 5}`;
      await accessor.commit([{ op: round % 2 === 0 ? 'writeIntent' : 'deleteIntent', image }]);
      if (accessor.maintenance !== undefined) await turnOfEventLoop();
    }
    while (accessor.maintenance !== undefined) await accessor.maintenance;
    expect(readdirSync(path).length).toBeLessThan(8);
    expect(readdirSync(path).filter((name) => name.endsWith('.snapshot')).length).toBe(1);
    await accessor.close();
    for (let round = 0; round < 10; round++) await (await openOne(path, options)).close();
    expect(readdirSync(path).length).toBeLessThan(8);
  });
});

describe('a journal', () => {
  it('writes a snapshot of many records while they change', async () => {
    const path = newDirectory();
    const model = new Model();
    const accessor = await openOne(path, {
      durability: 'write',
      tuning: { segmentBytesMax: 65_536, snapshotBytesMin: 400_000, snapshotFrameBytes: 4096 },
    });
    const commit = async (batch: RecordWrite[]): Promise<void> => {
      model.apply(batch);
      await accessor.commit(batch);
      if (accessor.maintenance !== undefined) await turnOfEventLoop();
    };
    let timeMs = 1;
    for (let index = 0; index < 3000; index++) {
      await commit([
        model.change(`ref-${index}`, `name-${index % 50}`, secretOf(index % 20), timeMs++),
      ]);
    }
    let duringCount = 0;
    for (let index = 0; index < 10_000 || accessor.maintenance === undefined; index++) {
      if (accessor.maintenance !== undefined) duringCount++;
      const ref = `ref-${(index * 7919) % 3500}`;
      const isDeletion = index % 3 === 0;
      const credentials =
        index % 50 === 7 ? { nodePodsAccessible: true } : secretOf(index % 25, index % 3);
      await commit([
        isDeletion
          ? { op: 'deletePulled', imageRef: ref }
          : model.change(ref, `name-${index % 60}`, credentials, timeMs++),
        { op: index % 2 === 0 ? 'writeIntent' : 'deleteIntent', image: `image-${index % 101}` },
      ]);
    }
    expect(duringCount).toBeGreaterThan(100);
    const copies = [copyOf(path)];
    const during = model.dump();
    while (accessor.maintenance !== undefined) await accessor.maintenance;
    copies.push(copyOf(path));
    await accessor.close();
    copies.push(path);
    for (const copy of copies) {
      const again = await openOne(copy);
      expect(await dump(again)).toEqual(during);
      await again.close();
    }
  });

  it('writes snapshots of more names and credentials than their dictionary takes', async () => {
    const path = newDirectory();
    const model = new Model();
    const accessor = await openOne(path, {
      durability: 'write',
      tuning: { segmentBytesMax: 2 ** 24, snapshotBytesMin: 1_000_000, snapshotFrameBytes: 65_536 },
    });
    for (let index = 0; index < 70_000; index += 1000) {
      const batch: RecordWrite[] = [];
      for (let n = index; n < index + 1000; n++) {
        const write = model.change(`ref-${n}`, `name-${n % 300}`, secretOf(n), n);
        model.apply([write]);
        batch.push(write);
      }
      await accessor.commit(batch);
    }
    const again = model.change('ref-last', 'name-1', secretOf(7), 1);
    model.apply([again]);
    await accessor.commit([again]);
    await accessor.close();
    expect(readdirSync(path).some((name) => name.endsWith('.snapshot'))).toBe(true);
    const reopened = await openOne(path);
    expect(await dump(reopened)).toEqual(model.dump());
    await reopened.close();
  });

  it('takes a batch larger than any segment', async () => {
    for (const mayBlock of [true, false]) {
      const path = newDirectory();
      const accessor = await openOne(path, { mayBlock });
      const model = new Model();
      for (let size = 1; size <= 4096; size *= 4) {
        const batch = Array.from({ length: size }, (_, index): RecordWrite => {
          return { op: 'writeIntent', image: `image-${size}-${index}` };
        });
        model.apply(batch);
        await accessor.commit(batch);
      }
      await accessor.close();
      const again = await openOne(path);
      expect(await dump(again)).toEqual(model.dump());
      await again.close();
    }
  });

  it('answers at once where that is welcome, and keeps calls in order where it is not', async () => {
    const path = newDirectory();
    const blocking = await openOne(path);
    expect(blocking.commit([{ op: 'writeIntent', image: 'a' }])).toBeUndefined();
    expect(blocking.imagePullIntentExists('a')).toBe(true);
    await blocking.close();
    const accessor = await openOne(path, { mayBlock: false });
    const calls: unknown[] = [];
    for (let index = 0; index < 200; index++) {
      calls.push(accessor.commit([{ op: 'writeIntent', image: `image-${index}` }]));
      calls.push(accessor.deleteImagePullIntent(`image-${index - 1}`));
    }
    expect(calls.every((call) => call instanceof Promise)).toBe(true);
    expect(accessor.imagePullIntentExists('image-0')).toBe(false);
    const closing = accessor.close();
    expect(await failure(() => accessor.commit([]))).toMatchObject({
      code: 'ERR_PULLMANAGER_CLOSED',
    });
    await Promise.all(calls);
    await closing;
    await accessor.close();
    const again = await openOne(path);
    expect((await dump(again)).intents).toEqual(['a', 'image-199']);
    await again.close();
  });

  it('refuses a batch that could not be read back, and goes on', async () => {
    for (const mayBlock of [true, false]) {
      const accessor = await openOne(newDirectory(), { mayBlock });
      const bad = [
        { op: 'writeIntent', image: 'a' },
        { op: 'writeIntent', image: 5 as never },
      ] as const;
      expect(await failure(() => accessor.commit(bad))).toMatchObject({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      });
      expect(accessor.imagePullIntentExists('a')).toBe(false);
      await accessor.commit([{ op: 'writeIntent', image: 'b' }]);
      await accessor.close();
    }
  });

  it('copies what a caller may change', async () => {
    const path = newDirectory();
    const accessor = await openOne(path);
    const credentials = secretOf(1);
    const record = {
      imageRef: 'r',
      lastUpdatedTime: new Date(1),
      credentialMapping: { n: credentials },
    };
    await accessor.writeImagePulledRecord(record);
    credentials.kubernetesSecrets!.pop();
    const stored = await accessor.getImagePulledRecord('r');
    expect(stored!.credentialMapping.n!.kubernetesSecrets!.length).toBe(1);
    await accessor.close();
  });
});
