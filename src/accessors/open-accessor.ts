/** The owner's side of a store of any kind. A worker loads the code of its own kind only: see `workers/`. */
import type { AccessorContext, OwnedAccessor } from './accessor.ts';
import type { StoreSpec } from './backend.ts';
import { openJournal } from './journal/journal-accessor.ts';
import { openKubelet } from './kubelet/kubelet-accessor.ts';
import { openLmdb } from './lmdb.ts';
import { openMemory } from './memory.ts';
import { openModule } from './module.ts';

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
    case 'memory':
      return openMemory(context);
    case 'journal':
      return openJournal(spec.plan, context);
    case 'lmdb':
      return openLmdb(spec.path);
    case 'kubelet':
      return openKubelet(spec.plan, context);
    case 'module':
      return openModule(spec, context);
  }
}
