/**
 * Tests both stores of this directory against the contract:
 *
 *   node --test examples/file-store/conformance.mjs
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { accessorSuite } from 'pullwarden/testing';
import openCachedFileStore from './cached-file-store.mjs';
import openFileStore from './file-store.mjs';

for (const openStore of [openFileStore, openCachedFileStore]) {
  accessorSuite({
    name: openStore.name,
    runner: { describe, it },
    capabilities: { historyCount: 5 },
    open: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'file-store-'));
      const context = { workerIndex: 0, workerCount: 1 };
      let accessor = await openStore({ directory }, context);

      const damage = (folder) => async (key) => {
        for (const name of await readdir(join(directory, folder))) {
          const path = join(directory, folder, name);
          const text = await readFile(path, 'utf8');
          if (JSON.parse(text).key === key) await writeFile(path, text.slice(1));
        }
        // Whoever changes what is behind a cache has to tell it.
        accessor.forget?.(key);
      };
      return {
        accessor,
        corruptPulled: damage('records'),
        corruptIntent: damage('intents'),
        reopen: async () => {
          await accessor.close();
          accessor = await openStore({ directory }, context);
          return accessor;
        },
        dispose: async () => {
          await accessor.close();
          await rm(directory, { recursive: true });
        },
      };
    },
  });
}
