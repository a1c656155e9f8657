import { beforeAll, describe, expect, it } from 'vitest';
import type { PullManager } from '../../src/pull-manager.ts';
import { secret, unique } from '../support/credentials.ts';
import { FEW_SHAPES, intentsOf, open, openForAll, optionsOf, SHAPES } from '../support/engines.ts';

/** I: intent, F: failed, P: pulled, B: pulled, but its result cannot be recorded. */
type Act = 'I' | 'F' | 'P' | 'B';

interface Sequence {
  readonly name: string;
  readonly acts: string;
  readonly remains: boolean;
}

const SEQUENCES: readonly Sequence[] = [
  { name: 'an intent stays while its pull goes on', acts: 'I', remains: true },
  { name: 'a failed pull takes its intent away', acts: 'IF', remains: false },
  { name: 'a finished pull takes its intent away', acts: 'IP', remains: false },
  { name: 'the intent of two pulls outlives the first of them', acts: 'IIF', remains: true },
  { name: 'the intent of two pulls outlives the first success', acts: 'IIP', remains: true },
  { name: 'the intent of two pulls goes with the second', acts: 'IIFP', remains: false },
  { name: 'the intent of three pulls goes with the third', acts: 'IIIPFF', remains: false },
  { name: 'pulls one after another leave nothing', acts: 'IPIFIP', remains: false },
  { name: 'an outcome without a pull leaves nothing', acts: 'F', remains: false },
  { name: 'a success without a pull leaves nothing', acts: 'P', remains: false },
  {
    name: 'an outcome too many does not count against the next pull',
    acts: 'IFFFI',
    remains: true,
  },
  { name: 'the pull after an outcome too many ends as any other', acts: 'IFFIF', remains: false },
  { name: 'a result that cannot be recorded leaves the intent', acts: 'IB', remains: true },
  { name: 'a result that cannot be recorded is no outcome', acts: 'IIBF', remains: true },
  { name: 'outcomes end what a result that was not recorded left', acts: 'IIBFF', remains: false },
];

describe.each(SHAPES)('intents of an engine with $name', (shape) => {
  let manager: PullManager;

  beforeAll(async () => {
    manager = await openForAll(shape);
    return () => manager.close();
  });

  async function act(kind: Act, image: string): Promise<void> {
    if (kind === 'I') return manager.recordPullIntent(image);
    if (kind === 'F') return manager.recordImagePullFailed(image);
    if (kind === 'P') return manager.recordImagePulled(image, unique('sha256:'), null);
    const broken = { kubernetesSecrets: [{ uid: 'u' }] } as never;
    const rejected = manager.recordImagePulled(image, unique('sha256:'), broken);
    return expect(rejected).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });
  }

  async function expectIntent(image: string, isThere: boolean): Promise<void> {
    expect((await intentsOf(manager)).includes(image)).toBe(isThere);
    // While its intent is there, the image counts as pulled by the node.
    const reason = isThere ? 'mustAuthenticate' : 'credentialPolicyAllowed';
    expect(await manager.decide(image, unique('unknown:'))).toMatchObject({ reason });
  }

  it.each(SEQUENCES)('$name: $acts', async ({ acts, remains }) => {
    const image = unique('registry.io/app');
    for (const kind of acts) await act(kind as Act, image);
    await expectIntent(image, remains);
  });

  it.each(SEQUENCES)('$name, though nothing is awaited: $acts', async ({ acts, remains }) => {
    const image = unique('registry.io/app');
    // A pulled record may be of another owner, and then overtakes nothing but is overtaken.
    const inOrder = acts.replaceAll('P', 'F');
    await Promise.all(Array.from(inOrder).map((kind) => act(kind as Act, image)));
    await expectIntent(image, remains);
  });

  it('a result under a bad name is refused and leaves the intent', async () => {
    const image = `${unique('Bad')} Name`;
    await manager.recordPullIntent(image);
    await expect(manager.recordImagePulled(image, 'sha256:bad', null)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID',
      image,
    });
    await expectIntent(image, true);
    expect(await manager.getImagePulledRecord('sha256:bad')).toBeUndefined();
    await manager.recordImagePullFailed(image);
    await expectIntent(image, false);
  });

  it('spellings of one image are images of their own', async () => {
    const short = unique('team/app');
    await manager.recordPullIntent(short);
    await manager.recordPullIntent(`docker.io/${short}`);
    await manager.recordImagePullFailed(`${short}:latest`);
    await manager.recordImagePullFailed(short);
    await expectIntent(short, false);
    await expectIntent(`docker.io/${short}`, true);
  });

  it('statistics and metrics count intents and records', async () => {
    const before = manager.stats();
    const images = Array.from({ length: 20 }, () => unique('registry.io/app'));
    await Promise.all(images.map((image) => manager.recordPullIntent(image)));
    await Promise.all(images.map((image) => manager.recordPullIntent(image)));
    expect(manager.stats().intents).toBe(before.intents + 20);
    await Promise.all(
      images.map((image) =>
        manager.recordImagePulled(image, `sha256:${image}`, { kubernetesSecrets: [secret('a')] }),
      ),
    );
    expect(manager.stats()).toMatchObject({
      intents: before.intents + 20,
      records: before.records + 20,
    });
    await Promise.all(images.map((image) => manager.recordImagePullFailed(image)));
    const { intents, records } = manager.stats();
    expect([intents, records]).toEqual([before.intents, before.records + 20]);
    const text = await manager.metrics();
    expect(text).toContain(`\nkubelet_imagemanager_ondisk_pullintents ${intents}\n`);
    expect(text).toContain(`\nkubelet_imagemanager_ondisk_pulledrecords ${records}\n`);
    expect((await manager.listImagePullIntents()).records).toHaveLength(intents);
    expect((await manager.listImagePulledRecords()).records).toHaveLength(records);
  });
});

describe.each(FEW_SHAPES.filter(({ store }) => store === 'journal'))(
  'intents that an engine with $name leaves',
  (shape) => {
    it('outlive it, and protect their images in the next', async () => {
      const options = await optionsOf(shape);
      const first = await open(options);
      await first.recordPullIntent('registry.io/app');
      await first.recordPullIntent('registry.io/app');
      await first.recordPullIntent('not a name');
      await first.close();
      const second = await open({ ...options, workerCount: 1, stripeCount: 2 });
      expect(await intentsOf(second)).toEqual(['not a name', 'registry.io/app']);
      // Metrics are right from the start.
      expect(second.stats().intents).toBe(2);
      expect(await second.mustAttemptImagePull('registry.io/app', 'sha256:x')).toBe(true);
    });

    it('go with the first outcome, since counters do not outlive it', async () => {
      const options = await optionsOf(shape);
      const first = await open(options);
      await first.recordPullIntent('registry.io/app');
      await first.recordPullIntent('registry.io/app');
      await first.close();
      const second = await open(options);
      await second.recordImagePullFailed('registry.io/app');
      expect(await intentsOf(second)).toEqual([]);
      expect(await second.mustAttemptImagePull('registry.io/app', 'sha256:x')).toBe(false);
    });
  },
);
