/** Other numbers of workers and stripes, and crashes while the layout changes. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { OwnedAccessor, RecordWrite } from '../../../src/accessors/accessor.ts';
import { commitJournal } from '../../../src/accessors/journal/journal-directory.ts';
import { ownerOf, stripeOf } from '../../../src/locks/stripe.ts';
import {
  copyOf,
  type Dump,
  dump,
  failure,
  Model,
  newDirectory,
  type OpenOptions,
  openAll,
  openPartition,
  prepare,
  secretOf,
} from '../../fixtures/journal/kit.ts';

const CORRUPT = 'ERR_PULLMANAGER_STORE_CORRUPT';

/** Gives each write to the accessor that owns its key. */
async function commitTo(
  accessors: readonly OwnedAccessor[],
  stripeCount: number,
  batch: readonly RecordWrite[],
): Promise<void> {
  for (const write of batch) {
    const key = 'image' in write ? write.image : keyOf(write);
    const owner = ownerOf(stripeOf(key, stripeCount), accessors.length);
    await accessors[owner]!.commit([write]);
  }
}

function keyOf(write: Exclude<RecordWrite, { image: string }>): string {
  return write.op === 'writePulled' ? write.record.imageRef : write.imageRef;
}

async function closeAll(accessors: readonly OwnedAccessor[]): Promise<void> {
  for (const accessor of accessors) await accessor.close();
}

function round(model: Model, number: number): RecordWrite[] {
  const batch: RecordWrite[] = [];
  for (let index = 0; index < 40; index++) {
    const ref = `sha256:${(index * number) % 97}`;
    const next: RecordWrite[] = [
      model.change(ref, `name-${index % 5}`, secretOf(index % 7), number * 1000 + index),
      { op: 'writeIntent', image: `image-${index}-${number}` },
      { op: 'deleteIntent', image: `image-${index + 1}-${number - 1}` },
    ];
    if (index % 9 === 0) next.push({ op: 'deletePulled', imageRef: `sha256:${index}` });
    for (const write of next) model.apply([write]);
    batch.push(...next);
  }
  return batch;
}

const LAYOUTS: readonly (OpenOptions & { partitionCount: number; stripeCount: number })[] = [
  { partitionCount: 1, stripeCount: 31 },
  { partitionCount: 2, stripeCount: 31 },
  { partitionCount: 3, stripeCount: 31 },
  { partitionCount: 3, stripeCount: 7 },
  { partitionCount: 1, stripeCount: 7 },
  { partitionCount: 1, stripeCount: 1 },
  { partitionCount: 4, stripeCount: 2 },
  { partitionCount: 2, stripeCount: 31, mayBlock: false },
];

describe('the layout of a journal', () => {
  it('may change with each opening; nothing is lost, and every key is where it belongs', async () => {
    const path = newDirectory();
    const model = new Model();
    let number = 0;
    for (const layout of [...LAYOUTS, ...LAYOUTS.toReversed()]) {
      const accessors = await openAll(path, layout);
      expect(await dump(...accessors)).toEqual(model.dump());
      await commitTo(accessors, layout.stripeCount, round(model, ++number));
      for (const [index, accessor] of accessors.entries()) {
        const { intents } = await dump(accessor);
        for (const image of intents) {
          const stripe = stripeOf(image, layout.stripeCount);
          expect(ownerOf(stripe, layout.partitionCount)).toBe(index);
        }
      }
      await closeAll(accessors);
    }
  });

  it('stays when only the stripes of a single partition change', async () => {
    const path = newDirectory();
    await closeAll(await openAll(path, { stripeCount: 31 }));
    const plan = await prepare(path, { stripeCount: 7 });
    expect(plan.target.layout).toBe(1);
  });

  it('is the old one until the manifest is switched, whatever was written by then', async () => {
    const path = newDirectory();
    const model = new Model();
    const first = await openAll(path, { partitionCount: 2 });
    await commitTo(first, 31, round(model, 1));
    await closeAll(first);
    for (const openedCount of [0, 1, 2, 3]) {
      const plan = await prepare(path, { partitionCount: 3 });
      const opened: OwnedAccessor[] = [];
      for (let index = 0; index < openedCount; index++) {
        opened.push(await openPartition(plan, index));
      }
      const crashed = copyOf(path);
      await closeAll(opened);
      for (const copy of [crashed, path]) {
        const accessors = await openAll(copy, { partitionCount: 2 });
        expect(await dump(...accessors)).toEqual(model.dump());
        await closeAll(accessors);
        expect(readdirSync(copy).some((name) => name.startsWith('000002'))).toBe(false);
      }
    }
  });

  it('is the new one once the manifest is switched, with or without the old files', async () => {
    const path = newDirectory();
    const model = new Model();
    const first = await openAll(path, { partitionCount: 2 });
    await commitTo(first, 31, round(model, 1));
    await closeAll(first);
    const plan = await prepare(path, { partitionCount: 3 });
    const opened: OwnedAccessor[] = [];
    for (let index = 0; index < 3; index++) opened.push(await openPartition(plan, index));
    const before = copyOf(path);
    await commitJournal(plan);
    await commitTo(opened, 31, round(model, 2));
    // As if the old files had not been removed.
    const crashed = copyOf(path);
    for (const name of readdirSync(before)) {
      if (!name.startsWith('000001')) continue;
      writeFileSync(join(crashed, name), readFileSync(join(before, name)));
    }
    await closeAll(opened);
    for (const copy of [crashed, path]) {
      expect(await contentOf(copy, { partitionCount: 3 })).toEqual(model.dump());
      expect(readdirSync(copy).some((name) => name.startsWith('000001'))).toBe(false);
    }
  });

  it('lets a worker be replaced before the switch and after it', async () => {
    const path = newDirectory();
    const model = new Model();
    const first = await openAll(path, { partitionCount: 1 });
    await commitTo(first, 31, round(model, 1));
    await closeAll(first);
    const plan = await prepare(path, { partitionCount: 2 });
    const dead = await openPartition(plan, 0);
    const accessors = [
      await openPartition(plan, 0, { generation: 2 }),
      await openPartition(plan, 1),
    ];
    await commitJournal(plan);
    expect(await dump(...accessors)).toEqual(model.dump());
    await commitTo(accessors, 31, round(model, 2));
    const replaced = await openPartition(plan, 1, { generation: 2 });
    expect(await dump(accessors[0]!, replaced)).toEqual(model.dump());
    await commitTo([accessors[0]!, replaced], 31, round(model, 3));
    const copy = copyOf(path);
    await closeAll([dead, ...accessors, replaced]);
    expect(await contentOf(copy, { partitionCount: 2 })).toEqual(model.dump());
  });

  it('does not change when the old one is damaged', async () => {
    const path = newDirectory();
    const model = new Model();
    const first = await openAll(path, { partitionCount: 2 });
    await commitTo(first, 31, round(model, 1));
    await closeAll(first);
    const damaged = join(path, '000001-0001-0000000001.journal');
    const bytes = readFileSync(damaged);
    bytes[300]! ^= 4;
    writeFileSync(damaged, bytes);
    for (const partitionCount of [1, 2, 3]) {
      const error = await failure(() => openAll(path, { partitionCount }));
      expect(error).toMatchObject({ code: CORRUPT, path: damaged });
      expect(readFileSync(damaged).equals(bytes)).toBe(true);
    }
    bytes[300]! ^= 4;
    writeFileSync(damaged, bytes);
    expect(await contentOf(path, { partitionCount: 2 })).toEqual(model.dump());
  });

  it('is damaged when the files of a partition are missing', async () => {
    const path = newDirectory();
    await closeAll(await openAll(path, { partitionCount: 2 }));
    for (const name of readdirSync(path)) {
      if (name.startsWith('000001-0001')) rmSync(join(path, name));
    }
    expect(await failure(() => openAll(path, { partitionCount: 2 }))).toMatchObject({
      code: CORRUPT,
    });
  });
});

describe('a replaced worker', () => {
  it('can write no more to what its replacement serves', async () => {
    const path = newDirectory();
    const plan = await prepare(path);
    const old = await openPartition(plan, 0);
    await commitJournal(plan);
    await old.commit([{ op: 'writeIntent', image: 'acknowledged' }]);
    const replacement = await openPartition(plan, 0, { generation: 2 });
    // A write that was under way when the worker was given up.
    await old.commit([{ op: 'writeIntent', image: 'late' }]);
    await old.commit([{ op: 'deleteIntent', image: 'acknowledged' }]);
    await replacement.commit([{ op: 'writeIntent', image: 'new' }]);
    await old.close();
    const copy = copyOf(path);
    await replacement.close();
    for (const directory of [copy, path]) {
      expect((await contentOf(directory, {})).intents).toEqual(['acknowledged', 'new']);
    }
  });
});

async function contentOf(path: string, options: OpenOptions): Promise<Dump> {
  const accessors = await openAll(path, options);
  const content = await dump(...accessors);
  await closeAll(accessors);
  return content;
}
