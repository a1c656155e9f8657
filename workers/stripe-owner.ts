/** A worker of the pool: owns stripes until it is told to stop. */
import { isMainThread } from 'node:worker_threads';
import { type OwnerTask, runOwner } from '../src/engine/owner-loop.ts';

if (isMainThread) throw new Error('stripe-owner runs in a worker thread only');

export default async function stripeOwner(task: OwnerTask): Promise<void> {
  await runOwner(task);
}
