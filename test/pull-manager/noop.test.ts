import { expect, it } from 'vitest';
import type { ImagePullManager } from '../../src/image-pull-manager.ts';
import { NoopImagePullManager } from '../../src/noop-pull-manager.ts';

it('the manager of a node without the feature never asks for a pull and does nothing', async () => {
  const manager: ImagePullManager = new NoopImagePullManager();
  let asked = 0;
  const source = (): object => {
    asked++;
    return {};
  };
  expect(await manager.mustAttemptImagePull('app', 'ref', source)).toBe(false);
  expect(await manager.mustAttemptImagePull('app', '', source)).toBe(false);
  expect(await manager.mustAttemptImagePull('Bad Name', 'ref')).toBe(false);
  expect(asked).toBe(0);
  await manager.recordPullIntent('app');
  await manager.recordImagePulled('Bad Name', 'ref', null);
  await manager.recordImagePullFailed('app');
  expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
  expect(await manager.pruneUnknownRecords([], new Date())).toEqual({
    pruned: 0,
    kept: 0,
    errors: [],
  });
});
