import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type CriRuntime, criRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import type { ImageRuntimeErrorKind } from '../../src/runtime/image-runtime.ts';
import { BadRegistry, type FaultPlace, type RegistryFault } from './kit/bad-registry.ts';
import { PASSWORD_USERS } from './kit/components.ts';
import { describeEachRuntime } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const ALICE = { username: 'alice', password: PASSWORD_USERS.alice! };
const BOB = { username: 'bob', password: PASSWORD_USERS.bob! };
const IMAGE_ID = /^sha256:[0-9a-f]{64}$/;

describeEachRuntime('the CRI client', (components) => {
  let runtime: CriRuntime;
  beforeAll(() => {
    runtime = criRuntime({ socket: `unix://${components.containerd.socket}` });
  });
  afterAll(() => runtime?.close());

  it('is told who it is talking to', async () => {
    expect(await runtime.version()).toMatchObject({
      runtimeName: 'containerd',
      runtimeApiVersion: 'v1',
    });
  });

  it('pulls, finds, lists and removes an image by its id, under all its names', async () => {
    const { passwordRegistry: registry } = components;
    const image = buildImage({ content: 'one' });
    const first = await registry.push(image, 'team-z/app', 'v1');
    const second = await registry.push(image, 'team-a/app', 'v1');
    expect(await runtime.imageStatus(first)).toBeUndefined();
    expect(await runtime.pullImage(first, ALICE)).toBe(image.id);
    expect(await runtime.pullImage(second, ALICE)).toBe(image.id);
    const found = await runtime.imageStatus(first);
    expect(found).toEqual({
      id: image.id,
      repoTags: expect.arrayContaining([first, second]) as string[],
      repoDigests: expect.arrayContaining([
        `${registry.host}/team-a/app@${image.digest}`,
        `${registry.host}/team-z/app@${image.digest}`,
      ]) as string[],
      sizeBytes: expect.any(Number) as number,
      pinned: false,
    });
    expect(found!.sizeBytes).toBeGreaterThan(0);
    expect(await runtime.imageStatus(image.id)).toEqual(found);
    expect(await runtime.listImages()).toContainEqual(found);
    await runtime.removeImage(image.id);
    expect(await runtime.imageStatus(second)).toBeUndefined();
    await runtime.removeImage(image.id);
  });

  it('lists an imported image, which has no digests', async () => {
    const { containerd } = components;
    const image = buildImage({ content: 'imported' });
    await containerd.importImage(image, ['registry.example.com/imported:v1']);
    const listed = (await runtime.listImages()).find(({ id }) => id === image.id);
    expect(listed).toMatchObject({
      repoTags: ['registry.example.com/imported:v1'],
      repoDigests: [],
    });
  });

  it('is told what the images take up', async () => {
    expect(await runtime.imageFsInfo()).toEqual([
      {
        mountpoint: expect.stringContaining('/') as string,
        usedBytes: expect.any(Number) as number,
        inodesUsed: expect.any(Number) as number,
        measuredAt: expect.any(Date) as Date,
      },
    ]);
  });

  it.each([
    ['none', undefined],
    ['a wrong password', { ...ALICE, password: 'alice-secret-2' }],
    ['one for another server', { ...ALICE, serverAddress: 'https://registry.example.com' }],
  ])('tells a refused credential as an answer: %s', async (_name, auth) => {
    const { passwordRegistry: registry } = components;
    const image = await registry.push(buildImage({ content: 'private' }), 'private/app', 'v1');
    await expect(runtime.pullImage(image, auth)).rejects.toMatchObject({
      kind: 'denied',
      answered: true,
      message: expect.not.stringContaining('alice-secret') as string,
    });
    expect(await runtime.imageStatus(image)).toBeUndefined();
  });

  it.each([
    ['as the key of a configuration', (host: string) => host],
    ['with a path', (host: string) => `${host}/v2/team`],
    ['with a scheme', (host: string) => `http://${host}`],
  ])('presents a credential that names its server %s', async (form, address) => {
    const { passwordRegistry: registry } = components;
    const image = await registry.push(buildImage({ content: form }), 'served/app', 'v1');
    const auth = { ...ALICE, serverAddress: address(registry.host) };
    expect(await runtime.pullImage(image, auth)).toMatch(IMAGE_ID);
  });

  it('tells what is missing, malformed or out of reach as answers', async () => {
    const { passwordRegistry: registry } = components;
    const absent = registry.imageName('no/such', 'v1');
    const pulls = [absent, 'Not//A:Reference', '127.0.0.1:1/closed/app:v1'].map((image) =>
      runtime.pullImage(image, ALICE).catch((error: unknown) => error),
    );
    expect(await Promise.all(pulls)).toMatchObject([
      { kind: 'notFound', answered: true },
      { kind: 'invalidName', answered: true },
      { kind: 'registryUnavailable', answered: true },
    ]);
  });

  it('leaves a pull unanswered that is aborted, or for which the time is up', async () => {
    const { passwordRegistry: registry, containerd } = components;
    const image = await registry.push(buildImage({ content: 'held' }), 'held/app', 'v1');
    const hold = registry.hold(({ path }) => path.includes('held/app'));
    const controller = new AbortController();
    const pull = runtime.pullImage(image, ALICE, controller.signal).catch((error) => error);
    await hold.arrived;
    controller.abort();
    expect(await pull).toMatchObject({ kind: 'aborted', answered: false });
    const hasty = criRuntime({ socket: containerd.socket, pullTimeoutMs: 50 });
    // Connects, which is not to be counted.
    await hasty.version();
    await expect(hasty.pullImage(image, ALICE)).rejects.toMatchObject({
      kind: 'timeout',
      answered: false,
    });
    await hasty.close();
    hold.release();
    expect(await runtime.pullImage(image, ALICE)).toMatch(IMAGE_ID);
  });

  it('leaves a pull unanswered whose runtime is killed, and finds the next', async () => {
    const { passwordRegistry: registry, containerd } = components;
    const image = await registry.push(buildImage({ content: 'killed' }), 'killed/app', 'v1');
    const hold = registry.hold(({ path }) => path.includes('killed/app'));
    const pull = runtime.pullImage(image, ALICE).catch((error: unknown) => error);
    await hold.arrived;
    await containerd.kill();
    expect(await pull).toMatchObject({ kind: 'unavailable', answered: false });
    hold.release();
    // Its socket is still there, and refuses.
    await expect(runtime.listImages()).rejects.toMatchObject({ kind: 'unavailable' });
    await containerd.start();
    await expect
      .poll(() => runtime.version().catch((error: unknown) => error), { interval: 5 })
      .toMatchObject({ runtimeName: 'containerd' });
    expect(await runtime.pullImage(image, ALICE)).toMatch(IMAGE_ID);
  });

  it('leaves a pull unanswered that took effect and whose answer is lost', async () => {
    const { containerd, passwordRegistry, runtimeFront } = components;
    const image = buildImage({ content: 'lost' });
    const name = await passwordRegistry.push(image, 'lost/app', 'v1');
    const fronted = criRuntime({ socket: runtimeFront.socket });
    const hold = passwordRegistry.hold(({ path }) => path.endsWith(image.layer.digest));
    const pull = fronted.pullImage(name, ALICE).catch((error: unknown) => error);
    await hold.arrived;
    runtimeFront.holdAnswers();
    hold.release();
    await vi.waitUntil(() => containerd.cri.imageStatus(name), { timeout: 10_000, interval: 1 });
    runtimeFront.cut();
    expect(await pull).toMatchObject({ kind: 'unavailable', answered: false });
    expect((await runtime.imageStatus(name))?.id).toBe(image.id);
    await fronted.close();
  });

  it('does not wait for a runtime that hangs', async () => {
    const { containerd } = components;
    const hasty = criRuntime({ socket: containerd.socket, timeoutMs: 100 });
    await hasty.version();
    await containerd.whilePaused(async () => {
      await expect(hasty.listImages()).rejects.toMatchObject({ kind: 'timeout', answered: false });
    });
    await hasty.close();
    expect(await runtime.listImages()).toBeInstanceOf(Array);
  });

  it('tells a user without access to a repository, and one without the right password', async () => {
    const { registry, tokenServer } = components;
    tokenServer.setUser('alice', { password: ALICE.password, repositories: ['team-a/app'] });
    tokenServer.setUser('bob', { password: BOB.password, repositories: [] });
    const image = buildImage({ content: 'tokens' });
    const name = await registry.push(image, 'team-a/app', 'v1');
    for (const auth of [undefined, BOB, { ...ALICE, password: 'wrong-secret' }]) {
      await expect(runtime.pullImage(name, auth)).rejects.toMatchObject({
        kind: 'denied',
        answered: true,
      });
    }
    expect(await runtime.pullImage(name, ALICE)).toBe(image.id);
  });
});

describeEachRuntime('the CRI client, of a hostile registry', (components) => {
  let runtime: CriRuntime;
  let registry: BadRegistry;
  beforeAll(async () => {
    runtime = criRuntime({ socket: components.containerd.socket });
    registry = await BadRegistry.start(buildImage({ content: 'hostile' }));
    await components.containerd.useRegistry(registry);
  });
  afterAll(async () => {
    await runtime?.close();
    await registry?.[Symbol.asyncDispose]();
  });

  it.each<[RegistryFault, FaultPlace, ImageRuntimeErrorKind | RegExp]>([
    [401, 'manifest', 'denied'],
    [403, 'manifest', 'denied'],
    [404, 'manifest', 'notFound'],
    [429, 'manifest', 'registryUnavailable'],
    [500, 'manifest', 'registryUnavailable'],
    [502, 'manifest', 'registryUnavailable'],
    [503, 'manifest', 'registryUnavailable'],
    [403, 'layer', 'denied'],
    [500, 'layer', 'registryUnavailable'],
    ['html', 'manifest', 'registryUnavailable'],
    ['html', 'everything', 'registryUnavailable'],
    ['html', 'layer', /^(corrupt|registryUnavailable)$/],
    ['reset', 'manifest', 'registryUnavailable'],
    ['reset', 'layer', 'registryUnavailable'],
    ['deadTokenServer', 'manifest', 'registryUnavailable'],
    ['redirectLoop', 'manifest', 'registryUnavailable'],
    ['altered', 'config', 'corrupt'],
    ['altered', 'layer', 'corrupt'],
    // What arrived is short, or the connection was lost: versions see it differently.
    ['cut', 'layer', /^(corrupt|registryUnavailable)$/],
  ])('tells %s at the %s as %s', async (fault, at, kind) => {
    registry.serve(buildImage({ content: `${fault} ${at}`, fillBytes: 100_000 }));
    const applied = registry.fail(fault, at);
    const pull = runtime.pullImage(`${registry.host}/team-a/app:v1`, ALICE);
    await expect(pull).rejects.toMatchObject({
      kind: expect.stringMatching(kind) as string,
      answered: true,
      message: expect.not.stringContaining(ALICE.password) as string,
    });
    await applied;
  });
});
