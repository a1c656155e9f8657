import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import { stripeOf } from '../../src/locks/stripe.ts';
import { StripedLockSet } from '../../src/locks/striped-lock-set.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { WorkerThreads } from '../../src/storm/worker-threads.ts';
import { secret } from '../support/credentials.ts';
import { eventually, intentsOf, open, settles } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

const LOST = 'ERR_PULLMANAGER_WORKER_LOST';
const A = secret('a');
const STRIPES = 7;
const HEARD_MS = 500;
/** Before a worker that died twice in a row is started again. */
const SECOND_DELAY_MS = 10;

/** So many texts that the given worker of two owns. */
function ownedBy(worker: number, count: number, prefix: string): string[] {
  const found: string[] = [];
  for (let i = 0; found.length < count; i++) {
    const text = `${prefix}${i}`;
    if (stripeOf(text, STRIPES) % 2 === worker) found.push(text);
  }
  return found;
}

async function openStore(workerCount: number): Promise<{ store: FileStore; manager: PullManager }> {
  const store = await FileStore.create();
  const manager = await open({ store: store.options, workerCount, stripeCount: STRIPES });
  return { store, manager };
}

async function replaced(manager: PullManager, times: number): Promise<void> {
  await eventually('the worker is replaced', () => manager.stats().workersReplaced >= times);
  await eventually('the replacement works', async () => {
    const outcomes = await Promise.allSettled(
      [...ownedBy(0, 1, 'probe'), ...ownedBy(1, 1, 'probe')].map((ref) =>
        manager.getImagePulledRecord(ref),
      ),
    );
    return outcomes.every(({ status }) => status === 'fulfilled');
  });
}

const DEATHS = [
  { name: 'ends before its write', command: COMMAND.EXIT },
  { name: 'ends after its write', command: COMMAND.EXIT_AFTER },
  { name: 'dies of an error that nobody catches', command: COMMAND.THROW_LATER },
] as const;

describe.each([1, 2])('a worker, one of %d, that dies', (workerCount) => {
  it.each(DEATHS)('settles every call when it $name', async ({ command }) => {
    const { store, manager } = await openStore(workerCount);
    await manager.recordPullIntent('before');
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    store.setOnce('commit', command);
    const writes = Array.from({ length: 300 }, (_, i) => manager.recordPullIntent(`image${i}`));
    const pulls = Array.from({ length: 20 }, (_, i) =>
      manager.withPull(`pulled${i}`, async () => ({ imageRef: `ref${i}`, credentials: null })),
    );
    const reads = Array.from({ length: 100 }, (_, i) => manager.decide(`app${i}`, `other${i}`));
    const listing = manager.listImagePulledRecords();
    const all = [...writes, ...pulls, listing];
    const outcomes = await settles('calls of a dead worker', Promise.allSettled(all));
    const decisions = await settles('decisions of a dead worker', Promise.all(reads));
    const lost = outcomes.filter(({ status }) => status === 'rejected');
    expect(lost.length).toBeGreaterThan(0);
    for (const outcome of lost) {
      expect(errorCode((outcome as PromiseRejectedResult).reason)).toBe(LOST);
    }
    for (const { reason, mustPull, cause } of decisions) {
      expect(mustPull).toBe(reason === 'error');
      if (reason === 'error') expect(cause?.code).toBe(LOST);
    }
    await replaced(manager, 1);
    expect(manager.stats().workersReplaced).toBe(1);
    // What was acknowledged is there, before the death as well as during it.
    const intents = new Set(await intentsOf(manager));
    expect(intents).toContain('before');
    for (const [i, outcome] of outcomes.slice(0, 300).entries()) {
      if (outcome.status === 'fulfilled') expect(intents).toContain(`image${i}`);
    }
    expect(await manager.decide('app', 'ref', { secrets: [A] })).toMatchObject({
      reason: 'credentialRecordFound',
    });
    for (const image of intents) {
      const decision = await manager.decide(image, 'unknown');
      expect(decision).toMatchObject({ reason: 'mustAuthenticate' });
    }
    expect(manager.stats().intents).toBe(intents.size);
  });

  it('leaves counters to its replacement', async () => {
    const { store, manager } = await openStore(workerCount);
    const images = Array.from({ length: 60 }, (_, i) => `image${i}`);
    // One, two or three pulls of each image are under way.
    const pulls = images.flatMap((image, i) => new Array<string>(1 + (i % 3)).fill(image));
    await Promise.all(pulls.map((image) => manager.recordPullIntent(image)));
    const rest = pulls.filter((image, i) => pulls[i - 1] === image);
    store.setOnce('commit', COMMAND.EXIT);
    const killed = manager.recordPullIntent('killer').catch(errorCode);
    expect(await settles('the call that kills', killed)).toBe(LOST);
    await replaced(manager, 1);
    await Promise.all(images.map((image) => manager.recordImagePullFailed(image)));
    expect(await intentsOf(manager)).toEqual([...new Set(rest)].sort());
    await Promise.all(rest.slice(0, -1).map((image) => manager.recordImagePullFailed(image)));
    expect(await intentsOf(manager)).toEqual([rest.at(-1)]);
    await manager.recordImagePullFailed(rest.at(-1)!);
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('is replaced again and again', async () => {
    const { store, manager } = await openStore(workerCount);
    for (let death = 1; death <= 3; death++) {
      store.setOnce('commit', COMMAND.EXIT);
      const rejected = manager.recordPullIntent(`image${death}`).catch(errorCode);
      expect(await settles('a call of a dying worker', rejected)).toBe(LOST);
      await replaced(manager, death);
      await manager.recordPullIntent(`image${death}`);
    }
    expect(await intentsOf(manager)).toEqual(['image1', 'image2', 'image3']);
    expect(manager.stats()).toMatchObject({ workersReplaced: 3, intents: 3 });
  });

  it('is replaced at once each time, where it had run for a while', async () => {
    const { store, manager } = await openStore(workerCount);
    const timers = vi.spyOn(globalThis, 'setTimeout');
    try {
      for (let death = 1; death <= 2; death++) {
        const startedMs = performance.now();
        store.setOnce('commit', COMMAND.EXIT);
        await manager.recordPullIntent('image').catch(errorCode);
        await replaced(manager, death);
        await manager.recordPullIntent(`image${death}`);
        // Longer than its start took, however busy the machine is.
        await delay(2 * (performance.now() - startedMs) + 1_500);
      }
      expect(timers.mock.calls.map(([, delayMs]) => delayMs)).not.toContain(SECOND_DELAY_MS);
    } finally {
      timers.mockRestore();
    }
  });

  it('is replaced later the second time, though the wall clock leaps', async () => {
    const { store, manager } = await openStore(workerCount);
    let nowMs = Date.now();
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => (nowMs += 3_600_000));
    // A busy machine must not make the workers look as if they had lived long.
    const startedMs = performance.now();
    const realNow = performance.now.bind(performance);
    const steady = vi
      .spyOn(performance, 'now')
      .mockImplementation(() => startedMs + (realNow() - startedMs) / 100);
    const timers = vi.spyOn(globalThis, 'setTimeout');
    try {
      for (let death = 1; death <= 2; death++) {
        store.setOnce('commit', COMMAND.EXIT);
        await manager.recordPullIntent('image').catch(errorCode);
        await replaced(manager, death);
      }
      // Otherwise a worker that dies as soon as it runs would be started again without a pause.
      expect(timers.mock.calls.map(([, delayMs]) => delayMs)).toContain(SECOND_DELAY_MS);
    } finally {
      clock.mockRestore();
      steady.mockRestore();
      timers.mockRestore();
    }
  });

  it('while closing, does not keep the engine from closing', async () => {
    const { store, manager } = await openStore(workerCount);
    store.setOnce('commit', COMMAND.EXIT);
    const writes = Array.from({ length: 10 }, (_, i) => manager.recordPullIntent(`image${i}`));
    const outcomes = Promise.allSettled(writes);
    await settles('closing an engine whose worker dies', manager.close());
    for (const outcome of await settles('calls at closing', outcomes)) {
      if (outcome.status === 'rejected') {
        expect([LOST, 'ERR_PULLMANAGER_CLOSED']).toContain(errorCode(outcome.reason));
      }
    }
  });

  it('while its store is closed, does not keep the engine from closing', async () => {
    const { store, manager } = await openStore(workerCount);
    await manager.recordPullIntent('app');
    store.set('close', COMMAND.EXIT);
    await settles('closing', manager.close().catch(errorCode));
  });

  it('and cannot be replaced, is tried again until it can', async () => {
    const { store, manager } = await openStore(workerCount);
    store.set('open', COMMAND.FAIL);
    const before = store.openCount;
    store.set('commit', COMMAND.EXIT);
    const rejected = manager.recordPullIntent('image').catch(errorCode);
    expect(await settles('a call of a dying worker', rejected)).toBe(LOST);
    await eventually('two attempts fail', () => store.openCount >= before + 2);
    // Nobody waits for a worker that is down: it says so, or the pull must be made.
    const meanwhile = settles(
      'a call to a worker that is down',
      manager.recordPullIntent('image').catch(errorCode),
    );
    expect(await meanwhile).toBe(LOST);
    expect(await settles('a decision', manager.mustAttemptImagePull('image', 'ref'))).toBe(true);
    store.work();
    await eventually('it works again', async () => {
      try {
        await manager.recordPullIntent('image');
        return true;
      } catch {
        return false;
      }
    });
    expect(await intentsOf(manager)).toEqual(['image']);
  });
});

describe.each([1, 2])('one of %d workers that dies while the engine is opened', (workerCount) => {
  it('fails the opening, as a worker that was lost, and leaves the store free', async () => {
    const store = await FileStore.create();
    store.set('open', COMMAND.EXIT);
    const options = { store: store.options, workerCount, stripeCount: STRIPES };
    const failed = await settles(
      'opening',
      PullManager.open(options).catch((error) => error),
    );
    expect(errorCode(failed)).toBe(LOST);
    expect(failed.message).toMatch(/^worker [01] died: /);
    expect(failed.workerIndex).toBeLessThan(workerCount);
    store.work();
    const manager = await open(options);
    await manager.recordPullIntent('app');
  });
});

describe('a worker whose stripe is taken away while it prunes', () => {
  it('gives up, since it may not have published what it has written, and is replaced', async () => {
    const { store, manager } = await openStore(1);
    await manager.recordPullIntent('app');
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
    const before = store.commitCount;
    store.set('commit', COMMAND.HOLD);
    const pruned = manager.pruneUnknownRecords([], new Date(8.64e15)).catch(errorCode);
    await eventually('it is at its commit', () => store.commitCount > before);
    const locks = StripedLockSet.attach(manager.handle.locks);
    const stripe = stripeOf('ref', STRIPES);
    expect(locks.releaseHeldBy(locks.holderOf(stripe))).toBe(1);
    store.work();
    expect(await settles('a prune of a worker that gives up', pruned)).toBe(LOST);
    await replaced(manager, 1);
    // Pruned, and known to be: what this thread knew of the record, it no longer trusts.
    expect(await manager.getImagePulledRecord('ref')).toBeUndefined();
    const decision = await manager.decide('app', 'ref', { secrets: [A] });
    expect(decision.reason).toBe('credentialPolicyAllowed');
  });
});

describe('a pruning of two workers one of which dies', () => {
  it('fails when the other one is done, and not while it may still delete', async () => {
    const threads = new WorkerThreads();
    const { store, manager } = await openStore(2);
    const refs = [...ownedBy(0, 1, 'ref'), ...ownedBy(1, 1, 'ref')];
    for (const ref of refs) await manager.recordImagePulled('app', ref, { kubernetesSecrets: [A] });
    const before = store.commitCount;
    store.set('commit', COMMAND.HOLD);
    let isSettled = false;
    const pruned = manager.pruneUnknownRecords([], new Date(8.64e15)).then(
      () => undefined,
      (error: unknown) => {
        isSettled = true;
        return errorCode(error);
      },
    );
    await eventually('both are at their commits', () => store.commitCount >= before + 2);
    await threads.alive[0]!.terminate();
    await eventually('the death is known', () => manager.stats().workersReplaced === 1);
    // Ten times what it takes to hear of it.
    await delay(HEARD_MS);
    expect(isSettled).toBe(false);
    store.work();
    expect(await settles('the pruning', pruned)).toBe(LOST);
    threads.close();
    await replaced(manager, 1);
    expect(await manager.getImagePulledRecord(refs[1]!)).toBeUndefined();
  });
});

describe('one of two workers that dies', () => {
  it('leaves the other one at work', async () => {
    const { store, manager } = await openStore(2);
    const [mine] = ownedBy(0, 1, 'registry.io/a');
    const [other] = ownedBy(1, 1, 'registry.io/b');
    const otherRefs = ownedBy(1, 50, 'ref');
    store.set('open', COMMAND.HOLD);
    store.setOnce('commit', COMMAND.EXIT);
    const rejected = manager.recordPullIntent(mine!).catch(errorCode);
    expect(await settles('the call that kills', rejected)).toBe(LOST);
    store.set('open', COMMAND.HOLD);
    for (const ref of otherRefs) {
      await manager.recordPullIntent(other!);
      await manager.recordImagePulled(other!, ref, { kubernetesSecrets: [A] });
      expect(await manager.mustAttemptImagePull(other!, ref, { secrets: [A] })).toBe(false);
    }
    store.work();
    await replaced(manager, 1);
    await manager.recordPullIntent(mine!);
  });

  it('is seen by calls that need both', async () => {
    const { store, manager } = await openStore(2);
    const [image] = ownedBy(0, 1, 'registry.io/a');
    const [ref] = ownedBy(1, 1, 'ref');
    await manager.recordPullIntent(image!);
    // Only the worker of the image has an intent to delete.
    await manager.recordImagePulled('other', ref!, { kubernetesSecrets: [A] });
    await manager.recordImagePulled(image!, ref!, null).catch(() => {});
    await manager.recordPullIntent(image!);
    store.setOnce('commit', COMMAND.EXIT);
    const ended = manager.recordImagePulled(image!, ref!, null).catch(errorCode);
    expect(await settles('recordImagePulled', ended)).toBe(LOST);
    await replaced(manager, 1);
    // The intent stays, and protects.
    expect(await intentsOf(manager)).toEqual([image]);
    expect(await manager.mustAttemptImagePull(image!, 'unknown')).toBe(true);
  });
});

describe.each([1, 2])(
  'a write that its worker, one of %d, did not live to tell of',
  (workerCount) => {
    it('is not denied by any thread once the call is rejected', async () => {
      const { store, manager } = await openStore(workerCount);
      const beside = await PullManager.attach(manager.handle);
      const ask = (ref: string): unknown[] =>
        [manager, beside].map((one) => one.decideSync('app', ref)?.reason);
      for (const one of [manager, beside]) {
        await one.decide('app', 'ref');
        await one.decide('app', 'other');
      }
      const allowed = ['credentialPolicyAllowed', 'credentialPolicyAllowed'];
      expect(ask('ref')).toEqual(allowed);
      store.setOnce('commit', COMMAND.EXIT_AFTER);
      const rejected = manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      expect(await settles('a call of a dying worker', rejected.catch(errorCode))).toBe(LOST);
      // The replacement cannot have come to anything yet.
      expect(ask('ref')).toEqual([undefined, undefined]);
      // What it had not been writing is known as before.
      expect(ask('other')).toEqual(allowed);
      await replaced(manager, 1);
      for (const one of [manager, beside]) {
        expect((await one.decide('app', 'ref')).reason).toBe('mustAuthenticate');
      }
      await beside.close();
    });
  },
);

/** Kills the only worker of an engine whose store is not ours to command. */
async function killWorker(manager: PullManager): Promise<void> {
  const replacedBefore = manager.stats().workersReplaced;
  // A worker cannot write a text that it was never sent: it dies of the broken message.
  const { SharedState } = await import('../../src/protocol/shared-state.ts');
  const state = SharedState.attach(manager.handle.control);
  const ring = state.ringAt(0, 0, 0);
  // Each frame is damaged as it comes: an intent of image number 1,000,000,000.
  const { LINK } = await import('../../src/protocol/shared-state.ts');
  const tailAt = state.linkAt(0, 0) + LINK.REQUEST_TAIL;
  const tail = Atomics.load(state.words, tailAt);
  const at = ring + (tail & (state.ringWords - 1));
  state.words[at] = 5 | (2 << 8);
  state.words[at + 1] = 1_000_000_000;
  Atomics.store(state.words, tailAt, tail + 2);
  state.ringDoorbell(0);
  await eventually('the worker dies', () => manager.stats().workersReplaced > replacedBefore);
}

describe('a store in memory that is lost with its worker', () => {
  it('fails closed, and works again for pulls that are new', async () => {
    const manager = await open({ store: { kind: 'memory' }, workerCount: 1 });
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    await manager.recordPullIntent('begun');
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
    expect(await manager.mustAttemptImagePull('preloaded', 'other')).toBe(false);
    await killWorker(manager);
    await eventually('the replacement works', async () => {
      const answer = await manager.getImagePulledRecord('ref').catch(errorCode);
      return answer !== LOST && typeof answer === 'string';
    });
    const lost = await manager.decide('app', 'ref', { secrets: [A] });
    expect(lost).toMatchObject({ mustPull: true, reason: 'error' });
    expect(lost.cause).toBeDefined();
    expect(await manager.mustAttemptImagePull('preloaded', 'other')).toBe(true);
    expect((await manager.listImagePulledRecords()).errors).toHaveLength(1);

    await manager.recordPullIntent('app');
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.decide('app', 'ref', { secrets: [A] })).toMatchObject({
      reason: 'credentialRecordFound',
    });
    await manager.recordPullIntent('new');
    await manager.recordImagePulled('new', 'new', { nodePodsAccessible: true });
    expect(await manager.mustAttemptImagePull('new', 'new')).toBe(false);
    await manager.recordImagePullFailed('begun');
    expect(manager.stats()).toMatchObject({ records: 2, intents: 0 });
  });
});
