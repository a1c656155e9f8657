/**
 * The owner's side of a store: opens one partition of it. A worker loads the code of its own kind of
 * store only, which takes half the time of loading all of them.
 */
import type { AccessorContext, OwnedAccessor } from './accessor.ts';
import type { StoreSpec } from './backend.ts';

/**
 * Opens a worker's part of the store that `spec` describes, in the calling thread.
 *
 * Errors: `STORE_UNAVAILABLE`, `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`.
 */
export async function openAccessor(
  spec: StoreSpec,
  context: AccessorContext,
): Promise<OwnedAccessor> {
  switch (spec.kind) {
    case 'memory': {
      const { openMemory } = await import('./memory.ts');
      return openMemory(context);
    }
    case 'journal': {
      const { openJournal } = await import('./journal/journal-accessor.ts');
      return openJournal(spec.plan, context);
    }
    case 'lmdb': {
      const { openLmdb } = await import('./lmdb.ts');
      return openLmdb(spec.path);
    }
    case 'kubelet': {
      const { openKubelet } = await import('./kubelet/kubelet-accessor.ts');
      return openKubelet(spec.plan, context);
    }
    case 'module': {
      const { openModule } = await import('./module.ts');
      return openModule(spec, context);
    }
  }
}
