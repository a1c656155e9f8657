/** Opens stores for tests the way an engine does: backend first, then one accessor. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AccessorContext, OwnedAccessor } from '../../src/accessors/accessor.ts';
import { openBackend, type StoreBackend, type StoreOptions } from '../../src/accessors/backend.ts';
import { openAccessor } from '../../src/accessors/open-accessor.ts';
import type { StoreUnderTest } from '../conformance/accessor-suite.ts';

/** The context of the only worker of an engine. */
export function soleWorker(changes: Partial<AccessorContext> = {}): AccessorContext {
  return {
    workerIndex: 0,
    workerCount: 1,
    stripeCount: 31,
    generation: 1,
    mayBlock: true,
    ...changes,
  };
}

export interface OpenedStore extends StoreUnderTest {
  readonly accessor: OwnedAccessor;
  readonly backend: StoreBackend;
  readonly dispose: () => Promise<void>;
}

/** Opens a store with one accessor; `reopen` closes and opens both. */
export async function openStore(
  options: StoreOptions,
  context: AccessorContext = soleWorker(),
): Promise<OpenedStore> {
  const open = async (): Promise<{ backend: StoreBackend; accessor: OwnedAccessor }> => {
    const backend = await openBackend(options, { ...context, compatibility: 'v1.35' });
    const accessor = await openAccessor(backend.spec, context);
    await backend.commitOpen();
    return { backend, accessor };
  };
  let current = await open();
  const close = async (): Promise<void> => {
    await current.accessor.close();
    await current.backend.release();
  };
  return {
    ...current,
    reopen: async () => {
      await close();
      current = await open();
      return current.accessor;
    },
    dispose: close,
  };
}

/** A new directory for one test. */
export async function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'pullwarden-test-'));
}

/** Opens a store in a new directory, which goes when it is disposed of. */
export async function openTemporaryStore(
  optionsFor: (path: string) => StoreOptions,
  context?: AccessorContext,
): Promise<OpenedStore & { readonly path: string }> {
  const directory = await temporaryDirectory();
  const path = join(directory, 'store');
  const store = await openStore(optionsFor(path), context);
  const dispose = async (): Promise<void> => {
    await store.dispose();
    await rm(directory, { recursive: true, force: true });
  };
  return { ...store, path, dispose };
}
