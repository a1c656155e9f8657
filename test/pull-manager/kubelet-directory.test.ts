/** An engine on a kubelet's own directory: its records, its restarts, and a kubelet beside it. */
import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullSecret } from '../../src/records/record.ts';
import { PlainKubelet } from '../accessors/kubelet/kit.ts';
import { record } from '../conformance/accessor-suite.ts';
import { eventually, intentsOf, open, temporaryDirectory } from '../support/engines.ts';

const GOLDEN = fileURLToPath(new URL('../fixtures/kubelet-records', import.meta.url));
const TEST_IMAGE = 'docker.io/testing/test:latest';
const SECRET: ImagePullSecret = {
  uid: 'testsecretuid',
  namespace: 'default',
  name: 'pull-secret',
  credentialHash: 'testsecrethash',
};

/** A copy of what real kubelets have left. */
async function goldenDirectory(): Promise<string> {
  const dir = join(await temporaryDirectory(), 'image_manager');
  for (const name of ['pulling', 'pulled']) {
    await cp(join(GOLDEN, name), join(dir, name), { recursive: true });
  }
  return dir;
}

function openOn(dir: string, workerCount: number): Promise<PullManager> {
  return open({ store: { kind: 'kubelet', dir }, workerCount, stripeCount: 31 });
}

async function contents(directory: string): Promise<Record<string, string>> {
  const names = await readdir(directory);
  const files = names.map(async (name) => [name, await readFile(join(directory, name), 'utf8')]);
  return Object.fromEntries(await Promise.all(files));
}

for (const workerCount of [0, 1, 2]) {
  describe(`an engine with ${workerCount} workers on the directory of a kubelet`, () => {
    it('decides by the records that kubelets have left', async () => {
      const manager = await openOn(await goldenDirectory(), workerCount);
      const mustPull = async (imageRef: string, secrets: ImagePullSecret[] = []) =>
        (await manager.decide(TEST_IMAGE, imageRef, { secrets })).mustPull;
      expect(await mustPull('testimageref', [SECRET])).toBe(false);
      expect(await mustPull('testimageref', [{ ...SECRET, uid: 'u', credentialHash: 'h' }])).toBe(
        true,
      );
      expect(await mustPull('testimage-anonpull')).toBe(false);
      expect(await mustPull('testemptycredmapping', [SECRET])).toBe(true);
      // The recorded hash is empty: only the coordinates count.
      expect(await mustPull('test-brokenhash', [{ ...SECRET, credentialHash: 'any' }])).toBe(false);
      const account = { uid: 'test-sa-uid', namespace: 'default', name: 'test-sa' };
      const byAccount = await manager.decide(TEST_IMAGE, 'testimageref-sa', {
        serviceAccount: account,
      });
      expect(byAccount.mustPull).toBe(false);
      const broken = await manager.decide(TEST_IMAGE, 'testbrokenrecord', { secrets: [SECRET] });
      expect(broken).toMatchObject({ mustPull: true, reason: 'error' });
      const { records, errors } = await manager.listImagePulledRecords();
      expect(records).toHaveLength(11);
      expect(errors).toEqual([expect.objectContaining({ code: 'ERR_PULLMANAGER_RECORD_CORRUPT' })]);
      expect(await intentsOf(manager)).toHaveLength(7);
      expect(manager.stats()).toMatchObject({ records: 11, intents: 7 });
    });

    it('sees what a kubelet beside it writes and deletes', async () => {
      const dir = await goldenDirectory();
      const kubelet = new PlainKubelet(dir);
      const manager = await openOn(dir, workerCount);
      const mustPull = async (imageRef: string): Promise<boolean> =>
        (await manager.decide('docker.io/testing/other:1', imageRef)).mustPull;
      expect(await mustPull('new')).toBe(false);
      await kubelet.writePulled(record('new', { 'docker.io/testing/other': {} }));
      await eventually('the record protects the image', () => mustPull('new'));
      await kubelet.writePulled(
        record('new', { 'docker.io/testing/other': { nodePodsAccessible: true } }),
      );
      await eventually('it opens the image', async () => !(await mustPull('new')));
      await kubelet.deletePulled('testemptycredmapping');
      await eventually('the record is gone', async () => {
        const found = await manager.getImagePulledRecord('testemptycredmapping');
        return found === undefined;
      });
      const intent = 'registry.example.com/app:1';
      const isPulled = async () => (await manager.decide(intent, 'nothing')).mustPull;
      expect(await isPulled()).toBe(false);
      await kubelet.writeIntent(intent);
      await eventually('the intent protects its image', isPulled);
      await kubelet.deleteIntent(intent);
      await eventually('the intent is gone', async () => !(await isPulled()));
      await writeFile(kubelet.pathOf('pulled', 'new'), 'damaged');
      await eventually('the damaged record protects its image', () => mustPull('new'));
      await eventually('the gauges are right', () => manager.stats().records === 10);
    });

    it('does not prune a record of the second of the cut-off, and prunes one from before', async () => {
      const dir = join(await temporaryDirectory(), 'image_manager');
      const manager = await openOn(dir, workerCount);
      const secondMs = Math.floor(Date.now() / 1000) * 1000;
      const kubelet = new PlainKubelet(dir);
      await kubelet.writePulled(record('same', {}, secondMs));
      await kubelet.writePulled(record('before', {}, secondMs - 1000));
      await eventually('both are known', () => manager.stats().records === 2);
      const result = await manager.pruneUnknownRecords([], new Date(secondMs + 999));
      expect(result).toMatchObject({ pruned: 1, kept: 1, errors: [] });
      expect(await manager.getImagePulledRecord('same')).toBeDefined();
      await manager.close();
      expect(await kubelet.names('pulled')).toHaveLength(1);
    });
  });
}

describe('older record files of a kubelet', () => {
  it('are rewritten at open from v1.35 on, under the name of their content; others are not touched', async () => {
    const dir = await goldenDirectory();
    const before = await contents(join(dir, 'pulled'));
    const manager = await openOn(dir, 1);
    const after = await contents(join(dir, 'pulled'));
    expect(Object.keys(after)).toEqual(expect.arrayContaining(Object.keys(before)));
    let rewritten = 0;
    for (const [name, text] of Object.entries(before)) {
      const isOld = text.includes('v1alpha1') && !name.includes('e766e462');
      if (isOld) {
        rewritten++;
        expect(after[name]).toContain('kubelet.config.k8s.io/v1beta1');
        expect(after[name]?.endsWith('}\n')).toBe(true);
      } else expect(after[name]).toBe(text);
    }
    expect(rewritten).toBe(7);
    await manager.close();
  });

  it('that are misfiled get a copy where they belong, unless something is there', async () => {
    const dir = join(await temporaryDirectory(), 'image_manager');
    await mkdir(dir);
    const old = new PlainKubelet(dir, 'v1.34');
    const mapping = { 'docker.io/testing/test': { nodePodsAccessible: true } };
    await old.writePulled(record('inner', mapping));
    await rename(old.pathOf('pulled', 'inner'), old.pathOf('pulled', 'outer'));
    await old.writePulled(record('taken', mapping));
    await rename(old.pathOf('pulled', 'taken'), old.pathOf('pulled', 'elsewhere'));
    await new PlainKubelet(dir).writePulled(record('taken', {}));
    const manager = await openOn(dir, 1);
    expect(await old.read('pulled', 'inner')).toContain('v1beta1');
    expect(await old.read('pulled', 'outer')).toContain('v1alpha1');
    expect(await old.read('pulled', 'taken')).not.toContain('nodePodsAccessible');
    expect((await manager.decide(TEST_IMAGE, 'taken')).mustPull).toBe(true);
    expect((await manager.decide(TEST_IMAGE, 'outer')).reason).toBe('error');
    expect((await manager.listImagePulledRecords()).errors).toHaveLength(2);
  });
});
