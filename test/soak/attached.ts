/** A thread that attaches to the engine of a soak, asks about one image as owner and stranger, and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import type { EngineHandle } from '../../src/engine/engine.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { podOf, strangerOf } from './churn.ts';

/** What the thread is told. */
export interface AttachedTask {
  readonly handle: EngineHandle;
  readonly image: string;
  readonly imageRef: string;
  readonly tenant: number;
  readonly questions: number;
}

/** What it answers. */
export interface AttachedAnswer {
  readonly ownersRefused: number;
  readonly strangersLetIn: number;
}

const { handle, image, imageRef, tenant, questions } = workerData as AttachedTask;
const manager = await PullManager.attach(handle);
let ownersRefused = 0;
let strangersLetIn = 0;
for (let question = 0; question < questions; question++) {
  const owner = await manager.decide(image, imageRef, podOf(tenant, 0));
  if (owner.mustPull && owner.reason !== 'error') ownersRefused++;
  const stranger = await manager.decide(image, imageRef, strangerOf(tenant));
  if (!stranger.mustPull) strangersLetIn++;
}
await manager.close();
parentPort!.postMessage({ ownersRefused, strangersLetIn } satisfies AttachedAnswer);
