import type { PullRecordsAccessor } from '../../src/accessors/accessor.ts';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import {
  type CachedAccessor,
  type CacheOptions,
  cachedAccessor,
} from '../../src/accessors/cached.ts';
import { accessorSuite, type StoreUnderTest } from '../conformance/accessor-suite.ts';
import { corruptible } from './lmdb-damage.ts';
import { openStore, openTemporaryStore } from './open-store.ts';

const USER = new URL('../fixtures/accessors/user-accessor.mjs', import.meta.url);
let storeCount = 0;

/** Puts a cache in front of a store; it is told of every damage. */
async function cached(store: StoreUnderTest, options?: CacheOptions): Promise<StoreUnderTest> {
  const { reopen, corruptPulled, corruptIntent } = store;
  let cache: CachedAccessor = await cachedAccessor(store.accessor, options);
  return {
    ...store,
    accessor: cache,
    ...(reopen && {
      reopen: async (): Promise<PullRecordsAccessor> => {
        await cache.close();
        cache = await cachedAccessor(await reopen(), options);
        return cache;
      },
    }),
    ...(corruptPulled && {
      corruptPulled: async (imageRef): Promise<void> => {
        await corruptPulled(imageRef);
        cache.forget(imageRef);
      },
    }),
    ...(corruptIntent && {
      corruptIntent: async (image): Promise<void> => {
        await corruptIntent(image);
        cache.forget(image);
      },
    }),
  };
}

const journal = (path: string): StoreOptions => ({ kind: 'journal', path, durability: 'write' });
const STORES: Record<string, () => Promise<StoreUnderTest>> = {
  memory: async () => {
    // What an engine opens again is another memory.
    const { accessor, dispose } = await openStore({ kind: 'memory' });
    return { accessor, dispose };
  },
  journal: () => openTemporaryStore(journal),
  lmdb: async () => corruptible(await openTemporaryStore((path) => ({ kind: 'lmdb', path }))),
  'asynchronous module': () =>
    openStore({ module: USER, options: { mode: 'asynchronous', store: `store-${storeCount++}` } }),
};

for (const [name, open] of Object.entries(STORES)) {
  for (const max of [undefined, 2]) {
    accessorSuite({
      name: `cached ${name}, ${max ?? 'default'} entries`,
      open: async () => cached(await open(), { intentsMax: max, pulledMax: max }),
      capabilities: { overlappingCommits: name !== 'asynchronous module', historyCount: 20 },
    });
  }
}
