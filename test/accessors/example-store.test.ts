import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AccessorFactory } from '../../src/accessors/module.ts';
import { accessorSuite, codeOf, type StoreUnderTest } from '../conformance/accessor-suite.ts';
import { openStore, openTemporaryStore, temporaryDirectory } from './open-store.ts';

const EXAMPLE = new URL('../../examples/file-store/file-store.mjs', import.meta.url);

accessorSuite({
  name: 'example of a store',
  open: (): Promise<StoreUnderTest> =>
    openTemporaryStore((directory) => ({ module: EXAMPLE, options: { directory } })),
  capabilities: { historyCount: 3 },
});

describe('the example of a store', () => {
  it('needs a directory', async () => {
    const { default: open }: { default: AccessorFactory } = await import(EXAMPLE.href);
    const context = { workerIndex: 0, workerCount: 1 };
    for (const options of [undefined, {}, { directory: 1 }]) {
      expect(await codeOf(() => open(options, context))).toContain('options.directory');
    }
  });

  it('says that it cannot be used where its directory is a file', async () => {
    const directory = join(await temporaryDirectory(), 'file');
    await writeFile(directory, '');
    const opening = (): unknown => openStore({ module: EXAMPLE, options: { directory } });
    expect(await codeOf(opening)).toBe('ERR_PULLMANAGER_STORE_UNAVAILABLE');
  });
});
