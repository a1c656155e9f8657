import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../src/accessors/accessor.ts';
import { openBackend, type StoreBackend, type StoreOptions } from '../../src/accessors/backend.ts';
import { openAccessor } from '../../src/accessors/open-accessor.ts';
import { ownerOf, stripeOf } from '../../src/locks/stripe.ts';
import type { ImagePulledRecord } from '../../src/records/record.ts';
import { codeOf, comparableList, record, secrets } from '../conformance/accessor-suite.ts';
import { soleWorker, temporaryDirectory } from './open-store.ts';

const INVALID_ARGUMENT = 'ERR_PULLMANAGER_INVALID_ARGUMENT';
const STORE_IN_USE = 'ERR_PULLMANAGER_STORE_IN_USE';
const STORE_UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
const CONTEXT = { workerCount: 1, stripeCount: 31, compatibility: 'v1.35' } as const;
const USER_MODULE = new URL('../fixtures/accessors/user-accessor.mjs', import.meta.url);

let parent: string;
let path: string;

beforeEach(async () => {
  parent = await temporaryDirectory();
  path = join(parent, 'store');
});

afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

describe('openBackend', () => {
  it.each<[name: string, options: unknown, argument: string]>([
    ['nothing', undefined, 'store'],
    ['null', null, 'store'],
    ['a text', 'journal', 'store'],
    ['an array', [], 'store'],
    ['no kind', {}, 'store.kind'],
    ['an unknown kind', { kind: 'postgres' }, 'store.kind'],
    ['a kind from the prototype', { kind: 'constructor' }, 'store.kind'],
    ['a kubelet store without directory', { kind: 'kubelet', path: '/x' }, 'store.dir'],
    ['a journal without path', { kind: 'journal' }, 'store.path'],
    ['a journal with an empty path', { kind: 'journal', path: '' }, 'store.path'],
    ['a journal with NUL in its path', { kind: 'journal', path: 'a\0b' }, 'store.path'],
    ['lmdb with a number as path', { kind: 'lmdb', path: 3 }, 'store.path'],
    [
      'an unknown durability',
      { kind: 'journal', path: 'x', durability: 'none' },
      'store.durability',
    ],
    ['an empty module', { module: '' }, 'store.module'],
    ['a number as module', { module: 1 }, 'store.module'],
    ['both a kind and a module', { kind: 'memory', module: './x.mjs' }, 'store'],
    ['options that cannot be cloned', { module: USER_MODULE, options: () => 1 }, 'store.options'],
  ])('refuses %s', async (_name, options, argument) => {
    const failing = openBackend(options as StoreOptions, CONTEXT);
    await expect(failing).rejects.toMatchObject({ code: INVALID_ARGUMENT, argument });
  });

  it.each(['journal', 'lmdb'] as const)('names a path that is a file (%s)', async (kind) => {
    await writeFile(path, 'a file');
    const failing = openBackend({ kind, path }, CONTEXT);
    await expect(failing).rejects.toMatchObject({ code: STORE_UNAVAILABLE, path });
  });

  it.each(['journal', 'lmdb'] as const)('takes the directory of a %s', async (kind) => {
    const backend = await openBackend({ kind, path }, CONTEXT);
    for (const other of ['journal', 'lmdb'] as const) {
      const failing = openBackend({ kind: other, path }, CONTEXT);
      await expect(failing).rejects.toMatchObject({ code: STORE_IN_USE, path });
    }
    await Promise.all([backend.release(), backend.release()]);
    await backend.release();
    const next = await openBackend({ kind, path }, CONTEXT);
    await next.release();
    expect(await codeOf(() => next.commitOpen())).toBe('ERR_PULLMANAGER_CLOSED');
  });

  it('lets go of the directory if the store in it cannot be opened', async () => {
    await mkdir(path);
    await writeFile(join(path, 'MANIFEST'), 'not a manifest');
    await writeFile(join(path, 'data.mdb'), 'not an environment');
    for (const kind of ['journal', 'lmdb'] as const) {
      for (let round = 0; round < 2; round++) {
        const code = await codeOf(() => openBackend({ kind, path }, CONTEXT));
        expect(code).toBe('ERR_PULLMANAGER_STORE_CORRUPT');
      }
    }
    expect((await readdir(path)).filter((name) => name.startsWith('LOCK.'))).toEqual([]);
  });

  it('describes each store in a message that reaches other threads', async () => {
    const options: StoreOptions[] = [
      { kind: 'memory' },
      { kind: 'journal', path: join(parent, 'journal') },
      { kind: 'lmdb', path: join(parent, 'lmdb') },
      { module: USER_MODULE, options: { store: 'cloned' } },
    ];
    for (const one of options) {
      const backend = await openBackend(one, CONTEXT);
      const accessor = await openAccessor(structuredClone(backend.spec), soleWorker());
      await backend.commitOpen();
      await accessor.writeImagePullIntent('a');
      expect(await accessor.imagePullIntentExists('a')).toBe(true);
      expect(backend.needsEventLoop).toBe('module' in one);
      await accessor.close();
      await backend.release();
    }
  });
});

/** All workers of an engine, each with its own part of one store. */
class Workers {
  readonly #backend: StoreBackend;
  readonly #accessors: readonly OwnedAccessor[];
  readonly #stripeCount: number;

  private constructor(backend: StoreBackend, accessors: OwnedAccessor[], stripeCount: number) {
    this.#backend = backend;
    this.#accessors = accessors;
    this.#stripeCount = stripeCount;
  }

  static async open(
    options: StoreOptions,
    workerCount: number,
    stripeCount: number,
  ): Promise<Workers> {
    const backend = await openBackend(options, {
      workerCount,
      stripeCount,
      compatibility: 'v1.35',
    });
    const accessors: OwnedAccessor[] = [];
    for (let workerIndex = 0; workerIndex < workerCount; workerIndex++) {
      const context = soleWorker({ workerIndex, workerCount, stripeCount });
      accessors.push(await openAccessor(backend.spec, context));
    }
    await backend.commitOpen();
    return new Workers(backend, accessors, stripeCount);
  }

  ownerOf(key: string): OwnedAccessor {
    const stripe = stripeOf(key, this.#stripeCount);
    return this.#accessors[ownerOf(stripe, this.#accessors.length)]!;
  }

  /** The listings of all owners together, or of any one where each lists everything. */
  async list(): Promise<{ images: string[]; records: ImagePulledRecord[] }> {
    const asked = this.#accessors.filter((accessor, i) => i === 0 || accessor.listsOnlyOwnKeys);
    const images: string[] = [];
    const records: ImagePulledRecord[] = [];
    for (const accessor of asked) {
      const intents = await accessor.listImagePullIntents();
      images.push(...intents.records.map(({ image }) => image));
      records.push(...(await accessor.listImagePulledRecords()).records);
    }
    return { images: images.sort(), records };
  }

  async close(): Promise<void> {
    for (const accessor of this.#accessors) await accessor.close();
    await this.#backend.release();
  }
}

describe.each(['journal', 'lmdb', 'module'] as const)('what a %s store holds', (kind) => {
  it('does not depend on the number of workers or stripes', async () => {
    const options: StoreOptions =
      kind === 'module' ? { module: USER_MODULE, options: { store: path } } : { kind, path };
    const images = new Set<string>();
    const records = new Map<string, ImagePulledRecord>();
    let round = 0;
    for (const [workerCount, stripeCount] of [
      [1, 31],
      [3, 31],
      [3, 7],
      [8, 5],
      [2, 1],
      [1, 1],
    ] as const) {
      const workers = await Workers.open(options, workerCount, stripeCount);
      const held = await workers.list();
      expect(held.images).toEqual([...images].sort());
      expect(comparableList(held.records)).toEqual(comparableList([...records.values()]));
      for (const image of images) {
        expect(await workers.ownerOf(image).imagePullIntentExists(image)).toBe(true);
      }
      for (const imageRef of records.keys()) {
        expect(await workers.ownerOf(imageRef).getImagePulledRecord(imageRef)).toBeDefined();
      }
      for (const image of [...images].slice(0, 10)) {
        await workers.ownerOf(image).deleteImagePullIntent(image);
        images.delete(image);
      }
      for (let i = 0; i < 40; i++) {
        const image = `image-${round}-${i}`;
        await workers.ownerOf(image).writeImagePullIntent(image);
        images.add(image);
        const written = record(`ref-${i}`, { [image]: secrets(2) }, round);
        await workers.ownerOf(written.imageRef).writeImagePulledRecord(written);
        records.set(written.imageRef, written);
      }
      await workers.close();
      round++;
    }
  });
});
