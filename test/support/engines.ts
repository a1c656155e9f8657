/**
 * Engines for tests: opened in every shape that must behave the same, and closed after the test.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import type { PullManagerOptions } from '../../src/options.ts';
import type { ImagePullPolicyEnforcer, VerificationPolicy } from '../../src/policies/enforcer.ts';
import { createImagePullCredentialVerificationPolicy } from '../../src/policies/enforcer.ts';
import { PullManager } from '../../src/pull-manager.ts';

/** How an engine is built; none of it may change what it answers. */
export interface Shape {
  readonly name: string;
  readonly workerCount: number;
  readonly stripeCount: number;
  readonly store: 'memory' | 'journal';
}

/** Every store with 0, 1 and 2 workers, and with 1, 3 and 31 stripes. */
export const SHAPES: readonly Shape[] = shapes(['memory', 'journal'], [0, 1, 2], [1, 3, 31]);

/** A few shapes for tests that take long. */
export const FEW_SHAPES: readonly Shape[] = [
  shapeOf('memory', 0, 31),
  shapeOf('memory', 2, 3),
  shapeOf('journal', 0, 3),
  shapeOf('journal', 2, 31),
];

/** One shape for each number of workers. */
export const WORKER_SHAPES: readonly Shape[] = [0, 1, 2].map((count) =>
  shapeOf('memory', count, 31),
);

function shapes(stores: readonly Shape['store'][], workers: number[], stripes: number[]): Shape[] {
  const all: Shape[] = [];
  for (const store of stores) {
    for (const workerCount of workers) {
      for (const stripeCount of stripes) {
        // More workers than stripes are as many as stripes: such an engine is listed already.
        if (workerCount <= stripeCount) all.push(shapeOf(store, workerCount, stripeCount));
      }
    }
  }
  return all;
}

export function shapeOf(store: Shape['store'], workerCount: number, stripeCount: number): Shape {
  const name = `${store}, ${workerCount} workers, ${stripeCount} stripes`;
  return { name, workerCount, stripeCount, store };
}

/** An empty directory that is removed when the file's tests are done. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'pullwarden-test-'));
  directories.push(directory);
  return directory;
}

/** Options of a shape, with an empty store. */
export async function optionsOf(shape: Shape): Promise<PullManagerOptions> {
  const store: StoreOptions =
    shape.store === 'memory'
      ? { kind: 'memory' }
      : { kind: 'journal', path: await temporaryDirectory(), durability: 'write' };
  return { store, workerCount: shape.workerCount, stripeCount: shape.stripeCount };
}

/** An engine that the caller closes, for all tests of a block. */
export async function openForAll(
  shape: Shape,
  options: PullManagerOptions = {},
): Promise<PullManager> {
  return PullManager.open({ ...(await optionsOf(shape)), ...options });
}

/** An engine that is closed after the test. */
export async function openEngine(
  shape: Shape,
  options: PullManagerOptions = {},
): Promise<PullManager> {
  return open({ ...(await optionsOf(shape)), ...options });
}

/** The same, with options of its own alone. */
export async function open(options: PullManagerOptions): Promise<PullManager> {
  const manager = await PullManager.open(options);
  shortLived.push(manager);
  return manager;
}

const directories: string[] = [];
const shortLived: PullManager[] = [];

afterEach(async () => {
  await Promise.all(shortLived.splice(0).map((manager) => manager.close()));
});

afterAll(async () => {
  const found = directories.splice(0);
  await Promise.all(found.map((path) => rm(path, { recursive: true, force: true })));
});

/** A policy that differs by image, so that one engine serves cases with different policies. */
export class PolicyByImage implements ImagePullPolicyEnforcer {
  readonly #policies = new Map<string, ImagePullPolicyEnforcer>();
  readonly #default: ImagePullPolicyEnforcer = createImagePullCredentialVerificationPolicy({
    kind: 'NeverVerifyPreloadedImages',
  });

  set(image: string, policy: VerificationPolicy | ImagePullPolicyEnforcer): void {
    const isEnforcer = 'requireCredentialVerificationForImage' in policy;
    this.#policies.set(
      image,
      isEnforcer ? policy : createImagePullCredentialVerificationPolicy(policy),
    );
  }

  requireCredentialVerificationForImage(image: string, imagePulledByKubelet: boolean): boolean {
    const policy = this.#policies.get(image) ?? this.#default;
    return policy.requireCredentialVerificationForImage(image, imagePulledByKubelet);
  }
}

/** Waits until the condition holds; fails after a long time. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** What the promise gives, or a failure that says what hangs. */
export async function settles<T>(what: string, promise: Promise<T>, ms = 10_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`does not settle: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The sorted images that have an intent. */
export async function intentsOf(manager: PullManager): Promise<string[]> {
  const { records, errors } = await manager.listImagePullIntents();
  if (errors.length > 0) throw errors[0]!;
  return records.map(({ image }) => image).sort();
}

/** Leaves no intent and no record, for the next test on the same engine. */
export async function emptied(manager: PullManager): Promise<void> {
  for (
    let images = await intentsOf(manager);
    images.length > 0;
    images = await intentsOf(manager)
  ) {
    await Promise.all(images.map((image) => manager.recordImagePullFailed(image)));
  }
  await manager.pruneUnknownRecords([], new Date(8.64e15));
  const { intents, records } = manager.stats();
  if (intents !== 0 || records !== 0)
    throw new Error(`${intents} intents, ${records} records left`);
}
