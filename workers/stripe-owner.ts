/** What a worker of any store does: owns stripes until it is told to stop. */
import { isMainThread } from 'node:worker_threads';
import type { AccessorContext } from '../src/accessors/accessor.ts';
import type { StoreSpec } from '../src/accessors/backend.ts';
import { type OpenStore, type OwnerTask, runOwner } from '../src/engine/owner-loop.ts';
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
export function stripeOwner<Kind extends StoreSpec['kind']>(
  open: (spec: SpecOf<Kind>, context: AccessorContext) => ReturnType<OpenStore>,
): StripeOwner {
  return async (task) => {
    try {
      await runOwner(task, (spec, context) => open(spec as SpecOf<Kind>, context));
      return undefined;
    } catch (error) {
      return toWire(error);
    }
  };
}
