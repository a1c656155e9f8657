/** What a worker of any store does: owns stripes until it is told to stop. */
import { isMainThread } from 'node:worker_threads';
import type { AccessorContext, OwnedAccessor } from '../src/accessors/accessor.ts';
import type { StoreSpec } from '../src/accessors/backend.ts';
import { type OwnerTask, runOwner } from '../src/engine/owner-loop.ts';
import { toWire, type WireError } from '../src/errors.ts';

if (isMainThread) throw new Error('stripe owners run in worker threads only');

type SpecOf<Kind extends StoreSpec['kind']> = Extract<StoreSpec, { readonly kind: Kind }>;
export type StripeOwner = (task: OwnerTask) => Promise<WireError | undefined>;

/**
 * The task of a worker whose store `open` opens. Resolves when the owner was asked to stop, or with
 * what made it give up: errors lose their class on the way.
 *
 * There is an entry for each kind of store, since a thread starts in half the time where it loads the
 * code of its own kind only.
 */
export function ownerOf<Kind extends StoreSpec['kind']>(
  open: (spec: SpecOf<Kind>, context: AccessorContext) => OwnedAccessor | Promise<OwnedAccessor>,
): StripeOwner {
  return async (task) => {
    try {
      await runOwner(task, async (spec, context) => open(spec as SpecOf<Kind>, context));
      return undefined;
    } catch (error) {
      return toWire(error);
    }
  };
}
