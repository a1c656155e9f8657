/** A worker of the pool: owns stripes until it is told to stop. */
import { isMainThread } from 'node:worker_threads';
import { type OwnerTask, runOwner } from '../src/engine/owner-loop.ts';
import { toWire, type WireError } from '../src/errors.ts';

if (isMainThread) throw new Error('stripe-owner runs in a worker thread only');

/** Resolves when the owner was asked to stop, or with what made it give up: errors lose their class. */
export default async function stripeOwner(task: OwnerTask): Promise<WireError | undefined> {
  try {
    await runOwner(task);
    return undefined;
  } catch (error) {
    return toWire(error);
  }
}
