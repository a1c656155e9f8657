import { describe, expect, it } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { FEW_SHAPES, open, openEngine, optionsOf, settles } from '../support/engines.ts';

const CLOSED = { code: 'ERR_PULLMANAGER_CLOSED' };

describe.each(FEW_SHAPES)('closing an engine with $name', (shape) => {
  it('refuses calls from then on, each in its way', async () => {
    const manager = await openEngine(shape, { policy: { kind: 'NeverVerify' } });
    await manager.recordImagePulled('app', 'ref', { nodePodsAccessible: true });
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
    const closing = manager.close();
    for (let round = 0; round < 2; round++) {
      for (const call of [
        manager.recordPullIntent('app'),
        manager.recordImagePulled('app', 'ref', null),
        manager.recordImagePullFailed('app'),
        manager.pruneUnknownRecords([], new Date()),
        manager.listImagePullIntents(),
        manager.listImagePulledRecords(),
        manager.getImagePulledRecord('ref'),
        manager.withPull('app', async () => ({ imageRef: 'ref', credentials: null })),
      ]) {
        await expect(call).rejects.toMatchObject(CLOSED);
      }
      const expected = { mustPull: true, reason: 'error', cause: CLOSED };
      expect(manager.decideSync('app', 'ref')).toMatchObject(expected);
      expect(await manager.decide('app', 'ref')).toMatchObject(expected);
      const request = { image: 'app', imageRef: 'ref' };
      expect(await manager.decideBatch([request, request])).toMatchObject([expected, expected]);
      let asked = 0;
      const source = (): object => {
        asked++;
        return {};
      };
      expect(await manager.mustAttemptImagePull('app', 'ref', source)).toBe(true);
      expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
      expect(asked).toBe(0);
      await closing;
    }
    // Figures stay.
    expect(manager.stats()).toMatchObject({ records: 1, intents: 0, pending: 0 });
    expect(await manager.metrics()).toContain('kubelet_imagemanager_ondisk_pulledrecords 1\n');
  });

  it('may be asked for any number of times, at once and later', async () => {
    const manager = await openEngine(shape);
    await manager.recordPullIntent('app');
    const closings = [manager.close(), manager.close(), manager[Symbol.asyncDispose]()];
    await settles('closing', Promise.all(closings));
    await settles('closing again', manager.close());
  });

  it('finishes what was called before', async () => {
    const options = await optionsOf(shape);
    const manager = await open(options);
    const images = Array.from({ length: 2000 }, (_, i) => `registry.io/app${i}`);
    const intents = images.map((image) => manager.recordPullIntent(image));
    const pulled = images
      .slice(0, 100)
      .map((image) =>
        manager.recordImagePulled(image, image, { kubernetesSecrets: [secret('a')] }),
      );
    const decisions = images.slice(100, 200).map((image) => manager.decide(image, 'unknown'));
    const listing = manager.listImagePullIntents();
    const closing = manager.close();
    const outcomes = await settles('calls', Promise.allSettled([...intents, ...pulled, listing]));
    await settles('closing', closing);
    const codes = new Set<string | undefined>();
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') codes.add(errorCode(outcome.reason));
    }
    // Only the second half of a pull, which was not begun yet, may be refused.
    expect(codes.size === 0 || codes.has(CLOSED.code)).toBe(true);
    expect(outcomes.slice(0, 2000).every(({ status }) => status === 'fulfilled')).toBe(true);
    for (const { mustPull } of await Promise.all(decisions)) expect(mustPull).toBe(true);
    if (shape.store === 'memory') return;
    const next = await open(options);
    const left = new Set((await next.listImagePullIntents()).records.map(({ image }) => image));
    for (const image of images.slice(100)) expect(left.has(image)).toBe(true);
    for (const [i, image] of images.slice(0, 100).entries()) {
      const isRecorded = (await next.getImagePulledRecord(image)) !== undefined;
      if (outcomes[2000 + i]!.status === 'fulfilled') {
        expect([isRecorded, left.has(image)]).toEqual([true, false]);
      } else {
        // The record comes first: an intent too many is the safe side.
        expect(isRecorded || left.has(image)).toBe(true);
      }
    }
  });

  it('leaves nothing that keeps a call waiting, however it races', async () => {
    for (const turns of shape.workerCount === 0 ? [0, 1, 2, 4, 9, 25] : [1, 9]) {
      const manager = await openEngine(shape);
      let calls = 0;
      const caller = async (): Promise<void> => {
        for (;;) {
          const image = `app${calls++ % 7}`;
          await manager.recordPullIntent(image);
          await manager.mustAttemptImagePull(image, image, async () => ({}));
          await manager.recordImagePulled(image, image, null);
        }
      };
      const callers = Array.from({ length: 20 }, () => caller().catch(errorCode));
      for (let i = 0; i < turns; i++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      await settles('closing', manager.close());
      const codes = await settles('callers', Promise.all(callers));
      expect(new Set(codes)).toEqual(new Set([CLOSED.code]));
    }
  });

  it('frees the store for the next', async () => {
    const options = await optionsOf(shape);
    for (let i = 0; i < 3; i++) {
      const manager = await PullManager.open(options);
      await manager.recordPullIntent(`app${i}`);
      expect(manager.stats().intents).toBe(shape.store === 'memory' ? 1 : i + 1);
      await manager.close();
    }
  });
});
