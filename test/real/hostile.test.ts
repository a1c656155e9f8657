/** What goes wrong around an agent must be told, harm nobody else, and let nobody in. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EnsureImageError } from '../../src/image-manager/ensure-image-error.ts';
import { ImageManager } from '../../src/image-manager/image-manager.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { criRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { ImageRuntimeError, type ImageRuntimeErrorKind } from '../../src/runtime/image-runtime.ts';
import { Agent, passwordOf, secretOf } from './agent.ts';
import { BadRegistry, type FaultPlace, type RegistryFault } from './kit/bad-registry.ts';
import { BadRuntime, type RuntimeFault } from './kit/bad-runtime.ts';
import { describeReal } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const PULL_LIMIT_MS = 1_500;
const SECRET = 'not-to-be-told-anywhere';

describeReal('an agent and a hostile registry', (components) => {
  let registry: BadRegistry;
  let agent: Agent;
  let name: string;
  let honest: string;
  let stories = 0;

  beforeAll(async () => {
    registry = await BadRegistry.start(buildImage({ content: 'hostile' }));
    await components.containerd.useRegistry(registry);
    honest = await components.registry.push(buildImage({ content: 'honest' }), 'honest/app', 'v1');
    components.tokenServer.setUser('alice', {
      password: passwordOf('alice'),
      repositories: ['honest/app'],
    });
  });
  afterAll(() => registry[Symbol.asyncDispose]());

  beforeEach(async () => {
    const image = buildImage({ content: `hostile ${++stories}` });
    registry.serve(image);
    name = `${registry.host}/hostile/app:v${stories}`;
    agent = await Agent.open(
      components.containerd.socket,
      {},
      { unansweredGraceMs: 100 },
      { pullTimeoutMs: PULL_LIMIT_MS },
    );
  });
  afterEach(async () => {
    registry.recover();
    await agent[Symbol.asyncDispose]();
  });

  const stranger = { ...secretOf('alice', SECRET), auth: { username: 'alice', password: SECRET } };

  it.each<[RegistryFault, FaultPlace]>([
    [401, 'everything'],
    [403, 'manifest'],
    [404, 'manifest'],
    [429, 'manifest'],
    [500, 'manifest'],
    [503, 'layer'],
    ['altered', 'layer'],
    ['altered', 'config'],
    ['cut', 'layer'],
    ['deadTokenServer', 'everything'],
    ['html', 'manifest'],
    ['html', 'layer'],
    ['redirectLoop', 'manifest'],
    ['reset', 'everything'],
    ['stall', 'manifest'],
    ['stall', 'layer'],
  ])('is told of %s at %s, serves others meanwhile, and lets nobody in', async (fault, place) => {
    const applied = registry.fail(fault, place);
    const failing = agent.ensure(name, 'IfNotPresent', [stranger]).catch((error: unknown) => error);
    // Others are served while this one fails, however long it takes.
    expect(await agent.outcome(honest, 'Always', [secretOf('alice')])).toBe('pulled');
    const error = await failing;
    await applied;
    expect(error).toBeInstanceOf(EnsureImageError);
    expect((error as EnsureImageError).code).toBe('ErrImagePull');
    expect((error as EnsureImageError).message).toContain(name);
    expect((error as EnsureImageError).cause).toBeInstanceOf(ImageRuntimeError);
    expect(inspect(error, { depth: 10 })).not.toContain(SECRET);
    expect(await agent.outcome(name, 'Never', [stranger])).toBe('ErrImageNeverPull');
    // In the end nothing is left of it.
    while ((await agent.intents()).length > 0)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await agent.outcome(name, 'Never')).toBe('ErrImageNeverPull');
    registry.recover();
    // What containerd has of a bad blob it may keep for some time.
    const isOfBlob = place === 'config' || place === 'layer';
    if (!isOfBlob) expect(await agent.outcome(name, 'IfNotPresent')).toBe('pulled');
  });
});

describe('an agent without a runtime', () => {
  const CALL_LIMIT_MS = 300;

  it.each<[RuntimeFault, ImageRuntimeErrorKind[]]>([
    ['absent', ['unavailable']],
    ['file', ['unavailable']],
    ['refuses', ['unavailable']],
    ['closes', ['unavailable', 'protocol']],
    ['silent', ['timeout', 'unavailable']],
    ['garbage', ['protocol', 'unavailable']],
    ['http1', ['protocol', 'unavailable']],
    ['hangs', ['timeout']],
    ['html', ['protocol', 'unavailable']],
    ['unimplemented', ['protocol']],
    ['nonsense', ['protocol', 'other']],
  ])('answers where the socket is %s, and lets nobody in', async (fault, kinds) => {
    const directory = await mkdtemp(join(tmpdir(), 'pullwarden-hostile-'));
    await using bad = await BadRuntime.start(fault, directory);
    const runtime = criRuntime({
      socket: bad.socket,
      timeoutMs: CALL_LIMIT_MS,
      pullTimeoutMs: CALL_LIMIT_MS,
    });
    const pullManager = await PullManager.open({
      store: { kind: 'memory' },
      imageService: runtime,
    });
    const images = new ImageManager({ pullManager, runtime, unansweredGraceMs: 50 });
    const request = {
      image: 'registry.example.com/app:1',
      podUid: 'pod',
      credentials: [],
    } as const;
    try {
      for (const pullPolicy of ['Always', 'IfNotPresent', 'Never'] as const) {
        const error: unknown = await images
          .ensureImage({ ...request, pullPolicy })
          .catch((cause: unknown) => cause);
        expect(error).toBeInstanceOf(EnsureImageError);
        const { code, cause } = error as EnsureImageError;
        expect(code).toBe(pullPolicy === 'Always' ? 'ErrImagePull' : 'ErrImageInspect');
        expect(cause).toBeInstanceOf(ImageRuntimeError);
        expect(kinds).toContain((cause as ImageRuntimeError).kind);
        expect((cause as ImageRuntimeError).message).toContain(bad.socket);
      }
      await expect(images.collect()).rejects.toThrow();
      // The pull may have been begun for all that is known.
      const { records } = await pullManager.listImagePullIntents();
      expect(records).toEqual([{ image: request.image }]);
    } finally {
      await images.close();
      await pullManager.close();
      await runtime.close();
      await rm(directory, { recursive: true, force: true });
    }
  });
});
