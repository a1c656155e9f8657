import { describe, expect, it } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import type { PodCredentials } from '../../src/records/record.ts';
import { secret } from '../support/credentials.ts';
import { eventually, intentsOf, open, openEngine, settles, shapeOf } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

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
