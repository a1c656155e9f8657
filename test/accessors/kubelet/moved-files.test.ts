import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { recordFileName } from '../../../src/accessors/kubelet/record-format.ts';
import { PullManager } from '../../../src/index.ts';
import { record, secrets } from '../../conformance/accessor-suite.ts';
import { temporaryDirectory } from '../open-store.ts';
import { foreignChange, openTemporary, PlainKubelet, settled } from './kit.ts';

const IMAGE = 'registry.example.com/app:1';
const SECRET = { uid: '1', namespace: 'n', name: 's', credentialHash: 'h' };

describe('a record file that was moved aside and back', () => {
  it('is taken in again, though it is the very file that was placed', async () => {
    const store = await openTemporary();
    const { accessor, dir } = store;
    const path = new PlainKubelet(dir).pathOf('pulled', 'ref');
    await accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
    await settled(accessor);
    await rename(path, join(dir, 'aside'));
    await foreignChange(accessor);
    expect(await accessor.getImagePulledRecord('ref')).toBeUndefined();
    await rename(join(dir, 'aside'), path);
    await foreignChange(accessor);
    expect(await accessor.getImagePulledRecord('ref')).toBeDefined();
    await store.dispose();
  });

  it.each([0, 1, 2])('protects its image again, with %i workers', async (workerCount) => {
    const dir = join(await temporaryDirectory(), 'image_manager');
    const path = join(dir, 'pulled', recordFileName('ref'));
    const manager = await PullManager.open({ store: { kind: 'kubelet', dir }, workerCount });
    try {
      await manager.recordPullIntent(IMAGE);
      await manager.recordImagePulled(IMAGE, 'ref', { kubernetesSecrets: [SECRET] });
      const mustPull = async (): Promise<boolean> =>
        (await manager.decide(IMAGE, 'ref', {})).mustPull;
      await vi.waitUntil(() => existsSync(path), { timeout: 10_000 });
      await delay(100);
      await rename(path, join(dir, 'aside'));
      await vi.waitUntil(async () => !(await mustPull()), { timeout: 10_000, interval: 20 });
      await rename(join(dir, 'aside'), path);
      await vi.waitUntil(mustPull, { timeout: 10_000, interval: 20 });
    } finally {
      await manager.close();
    }
  });
});
