import { describe, expect, it } from 'vitest';
import type { Decision } from '../../src/engine/decision.ts';
import type { EngineHandle } from '../../src/engine/engine.ts';
import { errorCode } from '../../src/errors.ts';
import { waitWhileEqualAsync } from '../../src/locks/wait.ts';
import { PullManager } from '../../src/pull-manager.ts';
import type { ImagePulledRecord } from '../../src/records/record.ts';
import { AttachedThread } from '../support/attached-thread.ts';
import { secret } from '../support/credentials.ts';
import { intentsOf, openEngine, PolicyByImage, settles, shapeOf } from '../support/engines.ts';

const A = secret('a');
const PLACES = 16;

describe.each([shapeOf('memory', 0, 31), shapeOf('memory', 1, 31), shapeOf('journal', 2, 31)])(
  'a thread attached to an engine with $name',
  (shape) => {
    it('decides, records and lists, and both see what the other has done', async () => {
      const manager = await openEngine(shape);
      await manager.recordPullIntent('app');
      await manager.recordImagePulled('other', 'ref', { kubernetesSecrets: [A] });
      const thread = await AttachedThread.start();
      await thread.run('attach', manager.handle);
      expect(await thread.call('mustAttemptImagePull', 'app', 'unknown')).toBe(true);
      expect(await thread.call('decide', 'other', 'ref', { secrets: [A] })).toMatchObject({
        reason: 'credentialRecordFound',
      });
      await thread.call('recordImagePullFailed', 'app');
      expect(await intentsOf(manager)).toEqual([]);
      await thread.call('recordPullIntent', 'there');
      await thread.call('recordImagePulled', 'there', 'there', { nodePodsAccessible: true });
      expect(await manager.mustAttemptImagePull('there', 'there')).toBe(false);
      const listing = await thread.call('listImagePulledRecords');
      expect(listing).toEqual(await manager.listImagePulledRecords());
      const record = await thread.call<ImagePulledRecord>('getImagePulledRecord', 'ref');
      expect(record).toEqual(await manager.getImagePulledRecord('ref'));
      const pruned = await thread.call('pruneUnknownRecords', ['ref'], new Date(Date.now() + 1e6));
      expect(pruned).toEqual({ pruned: 1, kept: 1, errors: [] });
      // Counters are the engine's.
      expect(await thread.call('stats')).toMatchObject({
        decisions: manager.stats().decisions,
        records: 1,
        intents: 0,
      });
      expect(manager.stats().decisions).toMatchObject({
        mustAuthenticate: 1,
        credentialRecordFound: 2,
      });
      await thread.run('close');
      expect(await thread.call('mustAttemptImagePull', 'there', 'ref')).toBe(true);
      await expect(thread.call('recordPullIntent', 'late')).rejects.toMatchObject({
        code: 'ERR_PULLMANAGER_CLOSED',
      });
      // The engine goes on without it.
      await manager.recordPullIntent('after');
      expect(await intentsOf(manager)).toEqual(['after']);
    });

    it('may come and go as often as it likes', async () => {
      const manager = await openEngine(shape);
      await manager.recordImagePulled('app', 'ref', { nodePodsAccessible: true });
      const thread = await AttachedThread.start();
      const reasons = await thread.run('reattach', manager.handle, 3 * PLACES);
      expect(reasons).toEqual(new Array(3 * PLACES).fill('credentialRecordFound'));
      expect(await intentsOf(manager)).toHaveLength(3 * PLACES);
      // Also in the thread of the engine itself.
      for (let i = 0; i < 2 * PLACES; i++) {
        const own = await PullManager.attach(manager.handle);
        expect(await own.mustAttemptImagePull('app', 'ref')).toBe(false);
        await own.close();
      }
    });

    it('finds no place where all are taken, and one when it is free again', async () => {
      const manager = await openEngine(shape);
      await manager.recordImagePulled('app', 'ref', { nodePodsAccessible: true });
      const thread = await AttachedThread.start();
      const codes = await thread.run<string[]>('crowd', manager.handle, PLACES + 1);
      const expected = [
        ...new Array<string>(PLACES - 1).fill('attached'),
        ...new Array<string>(2).fill('ERR_PULLMANAGER_ENGINE_UNAVAILABLE'),
      ];
      expect(codes).toEqual(expected);
      expect(await thread.run('crowd', manager.handle, PLACES - 1)).toEqual(
        expected.slice(0, PLACES - 1),
      );
    });

    it('is told that the engine is closed', async () => {
      const manager = await openEngine(shape);
      const thread = await AttachedThread.start();
      await thread.run('attach', manager.handle);
      expect(await thread.call('mustAttemptImagePull', 'app', 'ref')).toBe(false);
      await settles('closing', manager.close());
      expect(await thread.call('mustAttemptImagePull', 'app', 'ref')).toBe(true);
      const decision = await thread.call<Decision>('decide', 'app', 'ref');
      expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
      const closed = { code: 'ERR_PULLMANAGER_CLOSED' };
      for (const call of [
        thread.call('recordPullIntent', 'app'),
        thread.call('recordImagePullFailed', 'app'),
        thread.call('recordImagePulled', 'app', 'ref', null),
        thread.call('listImagePullIntents'),
        thread.call('getImagePulledRecord', 'ref'),
        thread.call('pruneUnknownRecords', [], new Date()),
      ]) {
        await expect(call).rejects.toMatchObject(closed);
      }
      await thread.run('close');
      await expect(thread.run('attach', manager.handle)).rejects.toMatchObject(closed);
      await expect(PullManager.attach(manager.handle)).rejects.toMatchObject(closed);
    });

    it('does not keep the engine from closing while it calls', async () => {
      const manager = await openEngine(shape);
      const thread = await AttachedThread.start();
      await thread.run('attach', manager.handle);
      const storm = thread.run('storm', ['a', 'b', 'c'], 1_000_000, 1).catch(errorCode);
      await manager.recordPullIntent('app');
      await settles('closing', manager.close());
      expect(await storm).toBe('ERR_PULLMANAGER_CLOSED');
      await thread.run('close');
    });

    it('does not keep the engine from closing when it is gone, its answers unread', async () => {
      const manager = await openEngine(shape);
      await Promise.all(
        Array.from({ length: 5000 }, (_, i) =>
          manager.recordImagePulled('registry.io/app', `sha256:${i}`, { kubernetesSecrets: [A] }),
        ),
      );
      const thread = await AttachedThread.start();
      await thread.run('attach', manager.handle);
      const words = new Int32Array(new SharedArrayBuffer(8));
      const blocked = thread.run('block', words, 20).catch(() => {});
      await settles('the thread blocks', untilAtLeast(words, 0, 1));
      // The engine goes on for others.
      await settles('a call', manager.recordPullIntent('app'));
      await thread.terminate();
      await blocked;
      await settles('another call', manager.recordPullIntent('other'));
      await settles('closing', manager.close());
    });

    it('counts pulls together with all others', async () => {
      const manager = await openEngine(shape);
      const threads = await Promise.all([AttachedThread.start(), AttachedThread.start()]);
      await Promise.all(threads.map((thread) => thread.run('attach', manager.handle)));
      const images = Array.from({ length: 7 }, (_, i) => `registry.io/app${i}`);
      await manager.recordPullIntent(images[3]!);
      await Promise.all(threads.map((thread, i) => thread.run('storm', images, 2000, i + 1)));
      expect(await intentsOf(manager)).toEqual([images[3]]);
      await manager.recordImagePullFailed(images[3]!);
      expect(await intentsOf(manager)).toEqual([]);
      expect(manager.stats()).toMatchObject({ intents: 0, records: images.length });
    });
  },
);

const ROUNDS = 500;

describe.each([shapeOf('memory', 0, 31), shapeOf('memory', 2, 31)])(
  'across threads of an engine with $name',
  (shape) => {
    it.each(['intent', 'record'])(
      'every decision sees every %s that was acknowledged before it, in either direction',
      async (kind) => {
        const manager = await openEngine(shape);
        const thread = await AttachedThread.start();
        await thread.run('attach', manager.handle);
        const words = new Int32Array(new SharedArrayBuffer(8));

        const watching = thread.run('watch', words, ROUNDS, kind);
        for (let round = 1; round <= ROUNDS; round++) {
          if (kind === 'record') {
            await manager.recordImagePulled('watched', `ref${round}`, { nodePodsAccessible: true });
          } else if (round % 2 === 1) await manager.recordPullIntent('watched');
          else await manager.recordImagePullFailed('watched');
          raise(words, 0, round);
          await untilAtLeast(words, 1, round);
        }
        expect(await watching).toEqual([]);

        words.fill(0);
        await manager.pruneUnknownRecords([], new Date(Date.now() + 1e6));
        const writing = thread.run('write', words, ROUNDS, kind);
        const wrong: [number, string][] = [];
        for (let round = 1; round <= ROUNDS; round++) {
          await untilAtLeast(words, 0, round);
          const imageRef = kind === 'intent' ? 'unknown' : `ref${round}`;
          const { reason } =
            manager.decideSync('watched', imageRef) ?? (await manager.decide('watched', imageRef));
          const absent = round % 2 === 1 ? 'mustAuthenticate' : 'credentialPolicyAllowed';
          const expected = kind === 'record' ? 'credentialRecordFound' : absent;
          if (reason !== expected) wrong.push([round, reason]);
          raise(words, 1, round);
        }
        await writing;
        expect(wrong).toEqual([]);
      },
    );
  },
);

async function untilAtLeast(words: Int32Array, index: number, value: number): Promise<void> {
  for (let seen = Atomics.load(words, index); seen < value; seen = Atomics.load(words, index)) {
    await waitWhileEqualAsync(words, index, seen, 1000);
  }
}

function raise(words: Int32Array, index: number, value: number): void {
  Atomics.store(words, index, value);
  Atomics.notify(words, index);
}

describe('the policy of an attached thread', () => {
  it('is the one of the engine where that is data', async () => {
    const manager = await openEngine(shapeOf('memory', 0, 31), {
      policy: { kind: 'AlwaysVerify' },
    });
    expect(structuredClone(manager.handle).policy).toEqual({ kind: 'AlwaysVerify' });
    const thread = await AttachedThread.start();
    await thread.run('attach', manager.handle);
    expect(await thread.call('mustAttemptImagePull', 'app', 'ref')).toBe(true);
    await thread.run('close');
    await thread.run('attach', manager.handle, { policy: { kind: 'NeverVerify' } });
    expect(await thread.call('mustAttemptImagePull', 'app', 'ref')).toBe(false);
  });

  it('must be given where the engine has an enforcer of its own', async () => {
    const manager = await openEngine(shapeOf('memory', 1, 31), { policy: new PolicyByImage() });
    expect(manager.handle.policy).toBeUndefined();
    const thread = await AttachedThread.start();
    await expect(thread.run('attach', manager.handle)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
    });
    await thread.run('attachWithEnforcer', manager.handle);
    await manager.recordPullIntent('app');
    expect(await thread.call('mustAttemptImagePull', 'app', 'ref')).toBe(false);
    await thread.run('close');
    // The attempt without policy has taken no place.
    const codes = await thread.run<string[]>(
      'crowd',
      { ...manager.handle, policy: { kind: 'NeverVerify' } },
      PLACES - 1,
    );
    expect(new Set(codes)).toEqual(new Set(['attached']));
  });

  it.each([
    { name: 'a policy of unknown kind', policy: { kind: 'Sometimes' }, code: 'POLICY_UNKNOWN' },
    { name: 'no policy at all', policy: 5, code: 'INVALID_ARGUMENT' },
    {
      name: 'a bad pattern',
      policy: { kind: 'NeverVerifyAllowlistedImages', allowlist: ['*'] },
      code: 'ALLOWLIST_PATTERN_INVALID',
    },
  ])('is refused where it is $name', async ({ policy, code }) => {
    const manager = await openEngine(shapeOf('memory', 0, 31));
    const attaching = PullManager.attach(manager.handle, { policy: policy as never });
    await expect(attaching).rejects.toMatchObject({ code: `ERR_PULLMANAGER_${code}` });
  });
});

describe('what is no handle', () => {
  const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes);
  it.each([
    { name: 'nothing', handle: () => undefined },
    { name: 'null', handle: () => null },
    { name: 'a text', handle: () => 'handle' },
    { name: 'an empty object', handle: () => ({}) },
    {
      name: 'a handle without memory',
      handle: (h: EngineHandle) => ({ ...h, control: undefined }),
    },
    {
      name: 'memory of one thread',
      handle: (h: EngineHandle) => ({ ...h, control: new ArrayBuffer(1024) }),
    },
    {
      name: 'memory that is too small',
      handle: (h: EngineHandle) => ({ ...h, control: shared(8) }),
    },
    {
      name: 'memory of something else',
      handle: (h: EngineHandle) => ({ ...h, control: shared(1 << 20) }),
    },
    {
      name: 'a handle without counters',
      handle: (h: EngineHandle) => ({ ...h, metrics: undefined }),
    },
    {
      name: 'a handle with too few counters',
      handle: (h: EngineHandle) => ({ ...h, metrics: shared(64) }),
    },
    {
      name: 'a handle without limit',
      handle: (h: EngineHandle) => ({ ...h, maxPending: undefined }),
    },
    {
      name: 'a handle that went through JSON',
      handle: (h: EngineHandle) => JSON.parse(JSON.stringify(h)) as unknown,
    },
  ])('is refused: $name', async ({ handle }) => {
    const manager = await openEngine(shapeOf('memory', 0, 31));
    const attaching = PullManager.attach(handle(manager.handle) as never);
    const code = await attaching.then(
      () => 'attached',
      (error: unknown) => errorCode(error),
    );
    expect(['ERR_PULLMANAGER_INVALID_ARGUMENT', 'ERR_PULLMANAGER_ENGINE_UNAVAILABLE']).toContain(
      code,
    );
    // No place is lost by it.
    const others = await Promise.all(
      Array.from({ length: PLACES - 1 }, () => PullManager.attach(manager.handle)),
    );
    await Promise.all(others.map((other) => other.close()));
  });
});
