import { describe, expect, it } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { AttachedThread } from '../support/attached-thread.ts';
import { secret } from '../support/credentials.ts';
import { eventually, intentsOf, open, settles } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

const LOST = 'ERR_PULLMANAGER_WORKER_LOST';
const A = secret('a');

describe.each([1, 2])('one of %d workers that dies while others are attached', (workerCount) => {
  it('is seen by all of them, and its replacement serves all of them', async () => {
    const store = await FileStore.create();
    const manager = await open({ store: store.options, workerCount, stripeCount: 7 });
    const thread = await AttachedThread.start();
    await thread.run('attach', manager.handle);
    const beside = await PullManager.attach(manager.handle);
    for (const each of [manager, beside]) {
      await each.recordPullIntent('known');
      expect(await each.mustAttemptImagePull('known', 'unknown')).toBe(true);
    }
    await thread.call('recordImagePulled', 'app', 'ref', { kubernetesSecrets: [A] });
    for (let death = 1; death <= 3; death++) {
      store.setOnce('commit', COMMAND.EXIT);
      const codes = await settles(
        'calls of all threads',
        Promise.all([
          thread.call('recordPullIntent', 'there').then(() => undefined, errorCode),
          beside.recordPullIntent('here').then(() => undefined, errorCode),
        ]),
      );
      expect(codes).toContain(LOST);
      await eventually('it is replaced', () => manager.stats().workersReplaced >= death);
      for (const [i, code] of codes.entries()) {
        const image = i === 0 ? 'there' : 'here';
        if (code !== undefined) {
          await eventually('it works again', () =>
            beside.recordPullIntent(image).then(
              () => true,
              () => false,
            ),
          );
        }
        await eventually('the pull is ended', () =>
          (i === 0
            ? thread.call('recordImagePullFailed', image)
            : beside.recordImagePullFailed(image)
          ).then(
            () => true,
            () => false,
          ),
        );
      }
      expect(await intentsOf(manager)).toEqual(['known']);
      for (const each of [manager, beside]) {
        const decision = await each.decide('app', 'ref', { secrets: [A] });
        expect(decision).toMatchObject({ reason: 'credentialRecordFound' });
        expect(await each.mustAttemptImagePull('known', 'unknown')).toBe(true);
        expect(await each.mustAttemptImagePull('there', 'unknown')).toBe(false);
      }
      const there = thread.call('decide', 'app', 'ref', { secrets: [A] });
      expect(await there).toMatchObject({ reason: 'credentialRecordFound' });
      expect(await thread.call('mustAttemptImagePull', 'known', 'unknown')).toBe(true);
      expect(await thread.call('mustAttemptImagePull', 'here', 'unknown')).toBe(false);
    }
    // Two pulls of it are under way, through all deaths.
    await beside.recordImagePullFailed('known');
    expect(await intentsOf(manager)).toEqual(['known']);
    await thread.call('recordImagePullFailed', 'known');
    expect(await intentsOf(manager)).toEqual([]);
    await beside.close();
    await thread.run('close');
  });
});
