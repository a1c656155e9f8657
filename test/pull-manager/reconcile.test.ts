import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { ImageService, RuntimeImage } from '../../src/images/image-service.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { intentsOf, open, optionsOf, type Shape, settles, shapeOf } from '../support/engines.ts';

const A = secret('a');
const DIGEST = `registry.io/app@sha256:${'a'.repeat(64)}`;

class Runtime implements ImageService {
  asked = 0;
  readonly #images: readonly Partial<RuntimeImage>[];

  constructor(...images: Partial<RuntimeImage>[]) {
    this.#images = images;
  }

  async listImages(): Promise<readonly RuntimeImage[]> {
    this.asked++;
    return this.#images.map((image) => ({ id: 'id', repoTags: [], repoDigests: [], ...image }));
  }
}

const INLINE = shapeOf('journal', 0, 31);
const WORKERS = shapeOf('journal', 2, 31);

/** Opens an engine, leaves these intents, and opens the next one with the service. */
async function reopened(
  shape: Shape,
  intents: readonly string[],
  imageService?: ImageService,
  prepare: (manager: PullManager) => Promise<void> = async () => {},
): Promise<PullManager> {
  const options = await optionsOf(shape);
  const first = await open(options);
  await Promise.all(intents.map((image) => first.recordPullIntent(image)));
  await prepare(first);
  await first.close();
  return open({ ...options, ...(imageService === undefined ? {} : { imageService }) });
}

describe('opening an engine', () => {
  const shape = INLINE;

  it('does not ask the runtime where no intent is left', async () => {
    const runtime = new Runtime({ repoTags: ['app'] });
    const manager = await reopened(shape, [], runtime, (first) =>
      first.recordImagePulled('app', 'ref', null),
    );
    expect(runtime.asked).toBe(0);
    expect(manager.stats().records).toBe(1);
  });

  it.each([
    { name: 'a tag', image: 'registry.io/app:1', listed: { repoTags: ['x', 'registry.io/app:1'] } },
    { name: 'a digest', image: DIGEST, listed: { repoDigests: [DIGEST] } },
  ])(
    'turns an intent that the runtime lists as $name into a record without proof',
    async ({ image, listed }) => {
      const runtime = new Runtime({ id: 'sha256:x', ...listed }, { id: 'other' });
      const manager = await reopened(shape, [image, 'left'], runtime);
      expect(runtime.asked).toBe(1);
      expect(await intentsOf(manager)).toEqual(['left']);
      const { records } = await manager.listImagePulledRecords();
      expect(records).toEqual([
        { imageRef: 'sha256:x', credentialMapping: {}, lastUpdatedTime: expect.any(Date) },
      ]);
      expect(manager.stats()).toMatchObject({ records: 1, intents: 1, failures: { reconcile: 0 } });
      const decision = await manager.decide(image, 'sha256:x', { secrets: [A] });
      expect(decision).toMatchObject({ mustPull: true, reason: 'mustAuthenticate' });
      expect(await manager.mustAttemptImagePull('left', 'unknown')).toBe(true);
      expect(await manager.mustAttemptImagePull(image, 'unknown')).toBe(false);
    },
  );

  it.each([
    { name: 'a name without its tag', image: 'registry.io/app', tag: 'registry.io/app:latest' },
    { name: 'a short name', image: 'app:1', tag: 'docker.io/library/app:1' },
    { name: 'other letters', image: 'registry.io/app:V1', tag: 'registry.io/app:v1' },
    { name: 'a longer name', image: 'registry.io/app:1', tag: 'registry.io/app:10' },
  ])('leaves the intent of $name, which the runtime lists otherwise', async ({ image, tag }) => {
    const runtime = new Runtime({ repoTags: [tag], repoDigests: [tag] });
    const manager = await reopened(shape, [image], runtime);
    expect(runtime.asked).toBe(1);
    expect(await intentsOf(manager)).toEqual([image]);
    expect(manager.stats().records).toBe(0);
  });

  it('leaves all intents where there is no runtime to ask', async () => {
    const manager = await reopened(shape, ['registry.io/app:1']);
    expect(await intentsOf(manager)).toEqual(['registry.io/app:1']);
    expect(manager.stats().failures.reconcile).toBe(0);
  });

  it('changes nothing in a record that is there', async () => {
    const runtime = new Runtime({ id: 'ref', repoTags: ['registry.io/app:1'] });
    const manager = await reopened(shape, ['registry.io/app:1'], runtime, (first) =>
      first.recordImagePulled('registry.io/app:2', 'ref', { kubernetesSecrets: [A] }),
    );
    expect(await intentsOf(manager)).toEqual([]);
    expect((await manager.getImagePulledRecord('ref'))!.credentialMapping).toEqual({
      'registry.io/app': { kubernetesSecrets: [A] },
    });
  });

  it('records every image that has the name', async () => {
    const runtime = new Runtime(
      { id: 'one', repoTags: ['registry.io/app:1', 'registry.io/app:1'] },
      { id: 'two', repoTags: ['registry.io/app:1'] },
    );
    const manager = await reopened(shape, ['registry.io/app:1'], runtime);
    const { records } = await manager.listImagePulledRecords();
    expect(records.map(({ imageRef }) => imageRef).sort()).toEqual(['one', 'two']);
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('leaves an intent whose name cannot be recorded', async () => {
    const runtime = new Runtime({ repoTags: ['Bad Name', 'registry.io/app:1'] });
    const manager = await reopened(shape, ['Bad Name', 'registry.io/app:1'], runtime);
    expect(await intentsOf(manager)).toEqual(['Bad Name']);
    expect(manager.stats().failures.reconcile).toBe(1);
  });

  it.each([INLINE, WORKERS])('takes hundreds of intents, with $name', async (each) => {
    const images = Array.from({ length: 500 }, (_, i) => `registry.io/app:${i}`);
    const runtime = new Runtime(
      ...images.slice(0, 400).map((image, i) => ({ id: `id${i}`, repoTags: [image] })),
    );
    const manager = await reopened(each, images, runtime);
    expect(await intentsOf(manager)).toEqual(images.slice(400).sort());
    expect(manager.stats()).toMatchObject({ intents: 100, records: 400 });
  });

  it.each([INLINE, WORKERS])('counts pulls from zero, with $name', async (each) => {
    const manager = await reopened(each, ['app', 'app', 'app']);
    await manager.recordPullIntent('app');
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual([]);
  });
});

const LIST = 'registry.io/app:1';

/** A service that misbehaves; `adopts` says whether the intent can be reconciled all the same. */
const MISBEHAVIOURS: { name: string; listImages: () => unknown; adopts?: boolean }[] = [
  { name: 'rejects', listImages: () => Promise.reject(new Error('no runtime')) },
  {
    name: 'throws',
    listImages: () => {
      throw new Error('no runtime');
    },
  },
  { name: 'answers nothing', listImages: async () => undefined },
  { name: 'answers null', listImages: async () => null },
  { name: 'answers a text', listImages: async () => LIST },
  { name: 'answers an object', listImages: async () => ({ images: [] }) },
  { name: 'lists null', listImages: async () => [null] },
  { name: 'lists a text', listImages: async () => [LIST] },
  { name: 'lists an image without names', listImages: async () => [{ id: 'x' }] },
  {
    name: 'lists an image whose names are a number',
    listImages: async () => [{ id: 'x', repoTags: 5, repoDigests: [] }],
  },
  {
    name: 'lists an image whose names are a text',
    listImages: async () => [{ id: 'x', repoTags: LIST, repoDigests: LIST }],
  },
  {
    name: 'lists an image whose name is null',
    listImages: async () => [{ id: 'x', repoTags: [null], repoDigests: [5] }],
  },
  {
    name: 'lists an image without id',
    listImages: async () => [{ repoTags: [LIST], repoDigests: [] }],
  },
  {
    name: 'lists an image whose id is a number',
    listImages: async () => [{ id: 5, repoTags: [LIST], repoDigests: [] }],
  },
  {
    name: 'lists an image whose id is too long',
    listImages: async () => [{ id: 'x'.repeat((1 << 20) + 1), repoTags: [LIST], repoDigests: [] }],
  },
  {
    name: 'lists a sound image behind a broken one',
    listImages: async () => [
      null,
      { id: 5, repoTags: [LIST] },
      { id: 'x', repoTags: [LIST], repoDigests: [] },
    ],
    adopts: true,
  },
  {
    name: 'answers at once',
    listImages: () => [{ id: 'x', repoTags: [LIST], repoDigests: [] }],
    adopts: true,
  },
];

describe.each([INLINE, shapeOf('journal', 1, 31)])(
  'opening an engine with $name, where the runtime misbehaves,',
  (shape) => {
    // Where there are workers, what is sent to them matters.
    const cases = MISBEHAVIOURS.filter(({ name }) => shape === INLINE || name.includes(' id '));
    it.each(cases)('opens all the same: it $name', async ({ listImages, adopts }) => {
      const service = { listImages } as ImageService;
      const manager = await settles('opening', reopened(shape, [LIST], service));
      expect(await intentsOf(manager)).toEqual(adopts === true ? [] : [LIST]);
      expect(await manager.mustAttemptImagePull(LIST, adopts === true ? 'x' : 'unknown')).toBe(
        true,
      );
      // The engine is sound.
      await manager.recordPullIntent('app');
      await manager.recordImagePulled('app', 'ref', { nodePodsAccessible: true });
      expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
      expect(manager.stats().workersReplaced).toBe(0);
    });

    it('counts and logs what it could not reconcile', async () => {
      const options = await optionsOf(shape);
      const first = await open(options);
      await first.recordPullIntent(LIST);
      await first.close();
      const logged: unknown[] = [];
      const log = (...args: unknown[]): void => {
        logged.push(args);
      };
      const logger = { debug: log, info: log, warn: log, error: log };
      const imageService = new (class extends Runtime {
        override async listImages(): Promise<never> {
          throw new Error('hash-a');
        }
      })();
      const manager = await open({ ...options, imageService, logger });
      expect(manager.stats().failures.reconcile).toBe(1);
      expect(JSON.stringify(logged)).toContain('IMAGE_SERVICE_FAILED');
      expect(JSON.stringify(logged)).not.toContain('hash-a');
    });

    it('leaves no listener on its signal where it has asked the runtime', async () => {
      const options = await optionsOf(shape);
      const first = await open(options);
      await first.recordPullIntent(LIST);
      await first.close();
      const { signal } = new AbortController();
      const manager = await open({ ...options, imageService: new Runtime(), signal });
      await manager.close();
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    });

    it('can be aborted while the runtime never answers, and leaves the store free', async () => {
      const options = await optionsOf(shape);
      const first = await open(options);
      await first.recordPullIntent(LIST);
      await first.close();
      const aborter = new AbortController();
      let given: AbortSignal | undefined;
      const imageService: ImageService = {
        listImages: (signal) => {
          given = signal;
          setImmediate(() => aborter.abort(new Error('enough')));
          return new Promise(() => {});
        },
      };
      const opening = PullManager.open({ ...options, imageService, signal: aborter.signal });
      const rejected = expect(opening).rejects.toMatchObject({
        name: 'AbortError',
        code: 'ERR_PULLMANAGER_ABORTED',
        cause: new Error('enough'),
      });
      await settles('an aborted opening', rejected);
      expect(given?.aborted).toBe(true);
      const manager = await open(options);
      expect(await intentsOf(manager)).toEqual([LIST]);
    });
  },
);
