import { describe, expect, it } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import { PullManager } from '../../src/pull-manager.ts';
import type { PodCredentials } from '../../src/records/record.ts';
import { secret } from '../support/credentials.ts';
import { eventually, intentsOf, open, openEngine, settles, shapeOf } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';
import { until } from '../support/wait.ts';

const MILLION = 1_000_000;
const FULL = 'ERR_PULLMANAGER_QUEUE_FULL';
const CLOSED = 'ERR_PULLMANAGER_CLOSED';

describe.each([shapeOf('memory', 0, 31), shapeOf('memory', 2, 31)])(
  'an engine with $name',
  (shape) => {
    it('survives a million intents that nobody waits for, and loses none that it took', async () => {
      const manager = await openEngine(shape);
      const taken: string[] = [];
      const codes = new Set<string | undefined>();
      let settled = 0;
      const all: Promise<void>[] = [];
      for (let i = 0; i < MILLION; i++) {
        const image = `registry.io/app${i}`;
        const call = manager.recordPullIntent(image).then(
          () => {
            taken.push(image);
            settled++;
          },
          (error: unknown) => {
            codes.add(errorCode(error));
            settled++;
          },
        );
        // A promise each would be a million promises to wait for: a sample will do.
        if (i % 1000 === 0) all.push(call);
      }
      expect(manager.stats().pending).toBeLessThanOrEqual(manager.stats().pendingLimit);
      await settles('a sample of the calls', Promise.all(all), 50_000);
      await settles('a later call', manager.listImagePullIntents(), 50_000);
      await eventually('all are settled', () => settled === MILLION);
      expect([...codes]).toEqual([FULL]);
      expect(taken.length).toBeGreaterThan(10_000);
      expect(manager.stats()).toMatchObject({ pending: 0, intents: taken.length });
      expect(await intentsOf(manager)).toEqual(taken.sort());
      await settles('closing', manager.close(), 50_000);
    });
  },
);

it('an engine survives a million questions whose credentials never come', async () => {
  const manager = await openEngine(shapeOf('memory', 0, 31));
  await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [secret('a')] });
  const never = new Promise<PodCredentials>(() => {});
  const codes = new Map<string, number>();
  let answered = 0;
  for (let i = 0; i < MILLION; i++) {
    void manager
      .decide('app', 'ref', () => never)
      .then(({ mustPull, cause }) => {
        answered++;
        const code = mustPull ? (cause?.code ?? 'none') : 'wrong';
        codes.set(code, (codes.get(code) ?? 0) + 1);
      });
  }
  // It goes on for others, and only refuses what it has no room for.
  await settles('an intent', manager.recordPullIntent('app'), 50_000);
  const asked = manager.mustAttemptImagePull('app', 'ref', { secrets: [secret('a')] });
  expect(await settles('a question', asked, 50_000)).toBe(false);
  expect([...codes.keys()].filter((code) => code !== FULL)).toEqual([]);
  expect(answered).toBeLessThan(MILLION);
  await settles('closing', manager.close(), 50_000);
  await eventually('all are answered', () => answered === MILLION);
  expect([...codes.keys()].filter((code) => code !== FULL)).toEqual([CLOSED]);
});

describe.each([0, 1, 2])('maxPending with %d workers', (workerCount) => {
  it.each([1, 2, 10])(
    'refuses the call after %d that wait, and takes more later',
    async (limit) => {
      const store = await FileStore.create();
      const options = { store: store.options, workerCount, stripeCount: 3, maxPending: limit };
      const manager = await open(options);
      expect(manager.stats().pendingLimit).toBe(limit * Math.max(1, workerCount));
      store.set('commit', COMMAND.HOLD);
      // All of one owner.
      const calls = Array.from({ length: limit + 5 }, () => manager.recordPullIntent('app'));
      const outcomes = Promise.allSettled(calls);
      expect(manager.stats().pending).toBe(limit);
      const refused = await Promise.all(calls.slice(limit).map((call) => call.catch(errorCode)));
      expect(refused).toEqual(new Array(5).fill(FULL));
      const decision = await manager.decide('app', 'ref');
      expect(decision).toMatchObject({ mustPull: true, reason: 'error', cause: { code: FULL } });
      expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
      // Outcomes of the pulls that were taken have room of their own; everything else is refused.
      for (const call of [
        manager.recordImagePulled('app', 'app', null),
        manager.listImagePullIntents(),
        manager.withPull('app', async () => ({ imageRef: 'ref', credentials: null })),
      ]) {
        const code = await call.then(() => 'taken', errorCode);
        // A listing or another image may belong to a worker that has room.
        expect(workerCount === 2 ? [FULL, 'taken'] : [FULL]).toContain(code);
      }
      store.work();
      const settled = await settles('calls that waited', outcomes);
      expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(limit);
      expect(await intentsOf(manager)).toEqual(['app']);
      // As many pulls are counted as calls were taken.
      for (let i = 0; i < limit - 1; i++) await manager.recordImagePullFailed('app');
      expect(await intentsOf(manager)).toEqual(['app']);
      await manager.recordImagePullFailed('app');
      expect(await intentsOf(manager)).toEqual([]);
    },
  );

  it('does not keep an engine with a store that hangs for a while from closing', async () => {
    const store = await FileStore.create();
    const manager = await open({ store: store.options, workerCount, stripeCount: 3 });
    store.set('commit', COMMAND.HOLD);
    const writes = Array.from({ length: 100 }, (_, i) => manager.recordPullIntent(`app${i}`));
    const outcomes = Promise.allSettled(writes);
    const closing = manager.close();
    const late = await manager.recordPullIntent('late').catch(errorCode);
    expect(late).toBe(CLOSED);
    store.work();
    await settles('closing', closing);
    for (const { status } of await outcomes) expect(status).toBe('fulfilled');
    const next = await open({ store: store.options, workerCount });
    expect(next.stats().intents).toBe(100);
  });
});

describe.each([0, 1, 2])("whenFull 'wait' with %d workers", (workerCount) => {
  async function full(limit: number): Promise<{ store: FileStore; manager: PullManager }> {
    const store = await FileStore.create();
    const manager = await open({
      store: store.options,
      workerCount,
      stripeCount: 3,
      maxPending: limit,
      whenFull: 'wait',
    });
    store.set('commit', COMMAND.HOLD);
    return { store, manager };
  }

  it('holds back what there is no room for, and does it in call order', async () => {
    const { store, manager } = await full(2);
    const order: string[] = [];
    const noted = (name: string, call: Promise<unknown>): Promise<void> =>
      call.then(() => void order.push(name));
    // All of one owner: five pulls begin, four end, one more begins.
    const calls = [
      ...Array.from({ length: 5 }, (_, i) => noted(`begin${i}`, manager.recordPullIntent('app'))),
      ...Array.from({ length: 4 }, (_, i) =>
        noted(`end${i}`, manager.recordImagePullFailed('app')),
      ),
      noted('again', manager.recordPullIntent('app')),
    ];
    const listing = manager.listImagePullIntents();
    const decision = manager.decide('app', 'ref');
    expect(manager.stats()).toMatchObject({ pending: 2 + Math.max(0, workerCount - 1) });
    expect(manager.stats().heldBack).toBeGreaterThanOrEqual(8);
    expect(manager.stats().pending).toBeLessThanOrEqual(manager.stats().pendingLimit);
    store.work();
    await settles('calls that were held back', Promise.all([...calls, listing]));
    const begun = ['begin0', 'begin1', 'begin2', 'begin3', 'begin4'];
    expect(order).toEqual([...begun, 'end0', 'end1', 'end2', 'end3', 'again']);
    expect((await decision).mustPull).toBe(true);
    // A read may be answered before the batch that it is in is done.
    await until('nothing waits', () => manager.stats().pending === 0);
    expect(manager.stats()).toMatchObject({ heldBack: 0, intents: 1 });
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual(['app']);
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('finishes them when it is closed, and answers everybody', async () => {
    const { store, manager } = await full(3);
    const images = Array.from({ length: 200 }, (_, i) => `app${i}`);
    const calls = Promise.all(images.map((image) => manager.recordPullIntent(image)));
    const closing = manager.close();
    expect(await manager.recordPullIntent('late').catch(errorCode)).toBe(CLOSED);
    store.work();
    await settles('closing', closing);
    await settles('calls that were held back', calls);
    const next = await open({ store: store.options, workerCount });
    expect(await intentsOf(next)).toEqual(images.sort());
  });

  it('goes as fast as the store does for callers that await each call', async () => {
    const manager = await open({
      store: { kind: 'memory' },
      workerCount,
      maxPending: 4,
      whenFull: 'wait',
    });
    const beside = await PullManager.attach(manager.handle);
    const call = async (caller: number): Promise<void> => {
      const each = caller % 2 === 0 ? manager : beside;
      for (let i = 0; i < 50; i++) {
        const image = `app${caller}-${i}`;
        await each.recordPullIntent(image);
        await each.recordImagePulled(image, `ref${caller}-${i}`, { nodePodsAccessible: true });
        expect(await each.mustAttemptImagePull(image, `ref${caller}-${i}`)).toBe(false);
      }
    };
    await settles(
      'all callers',
      Promise.all(Array.from({ length: 40 }, (_, i) => call(i))),
      50_000,
    );
    expect(manager.stats()).toMatchObject({ records: 2000, intents: 0, heldBack: 0 });
    await beside.close();
  });
});

describe.each([1, 2])("whenFull 'wait' when one of %d workers dies", (workerCount) => {
  it('answers what was sent and what was held back, and holds nothing for ever', async () => {
    const store = await FileStore.create();
    const manager = await open({
      store: store.options,
      workerCount,
      stripeCount: 3,
      maxPending: 2,
      whenFull: 'wait',
    });
    store.setOnce('commit', COMMAND.EXIT);
    const images = Array.from({ length: 100 }, (_, i) => `app${i}`);
    const calls = Promise.allSettled(images.map((image) => manager.recordPullIntent(image)));
    const outcomes = await settles('calls of a dead worker', calls);
    const lost = outcomes.filter(({ status }) => status === 'rejected');
    expect(lost.length).toBeGreaterThan(0);
    for (const outcome of lost) {
      const { reason } = outcome as PromiseRejectedResult;
      expect(errorCode(reason)).toBe('ERR_PULLMANAGER_WORKER_LOST');
    }
    await eventually('it works again', () =>
      Promise.all(images.map((image) => manager.recordPullIntent(image))).then(
        () => true,
        () => false,
      ),
    );
    expect(await intentsOf(manager)).toEqual(images.sort());
  });
});
