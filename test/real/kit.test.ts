/**
 * What the other tests against the real programs build on: the programs start, and answer as
 * containerd does everywhere.
 */
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { BadRegistry, type FaultPlace, type RegistryFault } from './kit/bad-registry.ts';
import { BadRuntime, type RuntimeFault } from './kit/bad-runtime.ts';
import { PASSWORD_USERS } from './kit/components.ts';
import { describeEachRuntime, describeReal } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';
import { RawCri } from './kit/raw-cri.ts';

const ALICE = { username: 'alice', password: 'alice-secret-1' };
const BOB = { username: 'bob', password: 'bob-secret-1' };

/** The gRPC status of a call; `OK` where it succeeds. */
function statusOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => 'OK',
    (error: { code: number }) => status[error.code],
  );
}

describeEachRuntime('the real components', (components) => {
  /** Alice may use `team-a/app`, bob nothing. */
  async function pushPrivate(content: string) {
    components.tokenServer.setUser('alice', {
      password: ALICE.password,
      identityToken: 'identity-of-alice',
      repositories: ['team-a/app', 'team-a/other'],
    });
    components.tokenServer.setUser('bob', { password: BOB.password, repositories: [] });
    const image = buildImage({ content });
    return { image, name: await components.registry.push(image, 'team-a/app', content) };
  }

  it('tell the version of the runtime', async () => {
    expect(await components.containerd.cri.version()).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('answer a pull with the id of the image, and show it under its name', async () => {
    const { containerd } = components;
    const { image, name } = await pushPrivate('plain');
    expect(await containerd.cri.imageStatus(name)).toBeUndefined();
    expect(await containerd.cri.pullImage(name, ALICE)).toBe(image.id);
    const found = await containerd.cri.imageStatus(name);
    expect(found).toEqual({
      id: image.id,
      repoTags: [name],
      repoDigests: [`${components.registry.host}/team-a/app@${image.digest}`],
    });
    expect(await containerd.cri.listImages()).toContainEqual(found);
  });

  it.each([
    ['no credentials', {}],
    ['a wrong password', { username: 'alice', password: 'wrong' }],
    ['an unknown user', { username: 'mallory', password: 'alice-secret-1' }],
    ['a user without access to the repository', BOB],
    ['a wrong identity token', { identityToken: 'wrong' }],
  ])('refuse a pull with %s, and hold no image then', async (what, auth) => {
    const { name } = await pushPrivate(what.replaceAll(' ', '-'));
    expect(await statusOf(components.containerd.cri.pullImage(name, auth))).toBe('UNKNOWN');
    expect(await components.containerd.cri.imageStatus(name)).toBeUndefined();
  });

  it('let in whoever has an identity token, or all for a public repository', async () => {
    const { image, name } = await pushPrivate('tokens');
    const { cri } = components.containerd;
    expect(await cri.pullImage(name, { identityToken: 'identity-of-alice' })).toBe(image.id);
    const open = await components.registry.push(image, 'public/app', 'v1');
    expect(await statusOf(cri.pullImage(open))).toBe('UNKNOWN');
    components.tokenServer.setPublicRepositories(['public/app']);
    expect(await cri.pullImage(open)).toBe(image.id);
  });

  it('say that a tag is missing to whoever may know', async () => {
    const { cri } = components.containerd;
    await pushPrivate('present');
    const absent = components.registry.imageName('team-a/app', 'absent');
    expect(await statusOf(cri.pullImage(absent, ALICE))).toBe('NOT_FOUND');
    expect(await statusOf(cri.pullImage(absent, BOB))).toBe('UNKNOWN');
  });

  it('follow users whose password changes, and who are removed', async () => {
    const { tokenServer, containerd } = components;
    const { name } = await pushPrivate('rotated');
    const rotated = { ...ALICE, password: 'alice-secret-2' };
    tokenServer.setUser('alice', { password: rotated.password, repositories: ['team-a/app'] });
    expect(await statusOf(containerd.cri.pullImage(name, ALICE))).toBe('UNKNOWN');
    expect(await statusOf(containerd.cri.pullImage(name, rotated))).toBe('OK');
    tokenServer.removeUser('alice');
    expect(await statusOf(containerd.cri.pullImage(name, rotated))).toBe('UNKNOWN');
  });

  it('let users of the registry with passwords see everything, by their passwords of now', async () => {
    const { passwordRegistry, containerd } = components;
    const image = buildImage({ content: 'passwords', format: 'schema2' });
    const name = await passwordRegistry.push(image, 'anything', 'v1');
    const pull = (auth: object) => statusOf(containerd.cri.pullImage(name, auth));
    expect(await pull({})).toBe('UNKNOWN');
    expect(await pull(ALICE)).toBe('OK');
    expect(await pull(BOB)).toBe('OK');
    await passwordRegistry.setUsers({ ...PASSWORD_USERS, alice: 'alice-secret-2' });
    expect(await pull(ALICE)).toBe('UNKNOWN');
    expect(await pull({ ...ALICE, password: 'alice-secret-2' })).toBe('OK');
    await passwordRegistry.setUsers(PASSWORD_USERS);
  });

  it('have one id for two tags, repositories and registries, with the digests in order', async () => {
    const { registry, passwordRegistry, containerd } = components;
    const { image, name } = await pushPrivate('shared');
    const names = [
      name,
      await registry.push(image, 'team-a/app', 'shared-too'),
      await registry.push(image, 'team-a/other', 'shared'),
      await passwordRegistry.push(image, 'team-a/app', 'shared'),
    ];
    for (const each of names) expect(await containerd.cri.pullImage(each, ALICE)).toBe(image.id);
    const found = await containerd.cri.imageStatus(image.id);
    expect(found?.repoTags.toSorted()).toEqual(names.toSorted());
    expect(found?.repoDigests).toHaveLength(3);
    expect(found?.repoDigests).toEqual(found?.repoDigests.toSorted());
  });

  it('have two ids for one content in two formats', () => {
    const [oci, schema2] = (['oci', 'schema2'] as const).map((format) =>
      buildImage({ content: 'formats', format }),
    );
    expect(oci?.layer.digest).toBe(schema2?.layer.digest);
    expect(oci?.id).not.toBe(schema2?.id);
    expect(oci?.digest).not.toBe(schema2?.digest);
  });

  it('let a tag move to another image', async () => {
    const { registry, containerd } = components;
    const { image, name } = await pushPrivate('moves');
    expect(await containerd.cri.pullImage(name, ALICE)).toBe(image.id);
    const next = buildImage({ content: 'moved' });
    await registry.push(next, 'team-a/app', 'moves');
    expect(await containerd.cri.pullImage(name, ALICE)).toBe(next.id);
    expect((await containerd.cri.imageStatus(name))?.id).toBe(next.id);
  });

  it('count what reaches the registry, with whose credentials', async () => {
    const { registry, tokenServer, containerd } = components;
    const { name } = await pushPrivate('counted');
    const [requestCount, tokenCount] = [registry.requests.length, tokenServer.requests.length];
    await containerd.cri.imageStatus(name);
    expect(registry.requests.slice(requestCount)).toEqual([]);
    await containerd.cri.pullImage(name, ALICE);
    const path = '/v2/team-a/app/manifests/counted';
    expect(registry.requests.slice(requestCount, requestCount + 2)).toEqual([
      { method: 'HEAD', path, user: undefined, status: 401 },
      { method: 'HEAD', path, user: 'alice', status: 200 },
    ]);
    expect(tokenServer.requests.slice(tokenCount)[0]).toEqual({
      user: 'alice',
      scopes: ['repository:team-a/app:pull'],
      accepted: true,
    });
  });

  it('hold a pull in the middle for as long as a test wants', async () => {
    const { registry, containerd } = components;
    const { image, name } = await pushPrivate('held');
    const hold = registry.hold(({ path }) => path.endsWith(image.layer.digest));
    const pull = containerd.cri.pullImage(name, ALICE);
    expect(await hold.arrived).toMatchObject({ method: 'GET', user: 'alice', status: undefined });
    expect(await containerd.cri.imageStatus(name)).toBeUndefined();
    hold.release();
    expect(await pull).toBe(image.id);
  });

  it('stop and start the registry on the same port and data', async () => {
    const { registry, containerd } = components;
    const { image, name } = await pushPrivate('stopped');
    const requestCount = registry.requests.length;
    await registry.stop();
    expect(await statusOf(containerd.cri.pullImage(name, ALICE))).toBe('UNKNOWN');
    expect(registry.requests).toHaveLength(requestCount);
    await registry.start();
    expect(await containerd.cri.pullImage(name, ALICE)).toBe(image.id);
  });

  it('import images without asking a registry', async () => {
    const { containerd } = components;
    const image = buildImage({ content: 'preloaded' });
    const names = ['preloaded.test/app:v1', 'preloaded.test/other:v2'];
    await containerd.importImage(image, names);
    for (const name of names) {
      const found = await containerd.cri.imageStatus(name);
      expect(found?.id).toBe(image.id);
      expect(found?.repoTags.toSorted()).toEqual(names);
      expect(found?.repoDigests).toEqual([]);
    }
    await containerd.cri.removeImage(names[0]!);
    expect(await containerd.cri.imageStatus(names[1]!)).toBeUndefined();
  });

  it.each(['kill', 'stop'] as const)('keep the images when the runtime ends by %s', async (end) => {
    const { containerd } = components;
    const { image, name } = await pushPrivate(end);
    await containerd.cri.pullImage(name, ALICE);
    const { pid } = containerd;
    await containerd[end]();
    expect(await statusOf(containerd.cri.imageStatus(name))).toBe('UNAVAILABLE');
    await containerd.start();
    expect(containerd.pid).not.toBe(pid);
    expect((await containerd.cri.imageStatus(name))?.id).toBe(image.id);
  });

  it('hang when the runtime is paused, and go on when it is resumed', async () => {
    const { containerd } = components;
    const { image, name } = await pushPrivate('paused');
    await containerd.cri.pullImage(name, ALICE);
    using impatient = new RawCri(containerd.socket, 100);
    await impatient.version();
    await containerd.whilePaused(async () => {
      expect(await statusOf(impatient.imageStatus(name))).toBe('DEADLINE_EXCEEDED');
    });
    expect((await containerd.cri.imageStatus(name))?.id).toBe(image.id);
  });

  it('can lose the answer of a pull that took effect', async () => {
    const { containerd, runtimeFront, registry } = components;
    const { image, name } = await pushPrivate('unanswered');
    using agent = new RawCri(runtimeFront.socket);
    const hold = registry.hold(({ path }) => path.endsWith(image.layer.digest));
    const pull = statusOf(agent.pullImage(name, ALICE));
    await hold.arrived;
    runtimeFront.holdAnswers();
    hold.release();
    await vi.waitUntil(() => containerd.cri.imageStatus(name), { timeout: 10_000, interval: 1 });
    runtimeFront.cut();
    expect(await pull).toBe('UNAVAILABLE');
    expect((await agent.imageStatus(name))?.id).toBe(image.id);
  });

  it('cut a pull off when the runtime is killed', async () => {
    const { registry, containerd } = components;
    const { image, name } = await pushPrivate('killed');
    const hold = registry.hold(({ path }) => path.endsWith(image.layer.digest));
    const pull = statusOf(containerd.cri.pullImage(name, ALICE));
    await hold.arrived;
    await containerd.restart();
    hold.release();
    expect(await pull).toBe('UNAVAILABLE');
    expect(await containerd.cri.imageStatus(name)).toBeUndefined();
    expect(await containerd.cri.pullImage(name, ALICE)).toBe(image.id);
  });
});

describeEachRuntime('a hostile registry', (components) => {
  let registry: BadRegistry;
  let name: string;
  beforeAll(async () => {
    registry = await BadRegistry.start(buildImage({ content: 'hostile' }));
    name = `${registry.host}/team-a/app:v1`;
    await components.containerd.useRegistry(registry);
  });

  /** An image of which the runtime has no part. */
  function serveNew(content: string) {
    const image = buildImage({ content, fillBytes: 100_000 });
    registry.serve(image);
    return image;
  }

  afterAll(() => registry[Symbol.asyncDispose]());

  it.each<[RegistryFault, FaultPlace, RegExp]>([
    [401, 'manifest', /^UNKNOWN$/],
    [403, 'manifest', /^UNKNOWN$/],
    [404, 'manifest', /^NOT_FOUND$/],
    [429, 'manifest', /^UNKNOWN$/],
    [500, 'manifest', /^UNKNOWN$/],
    [502, 'manifest', /^UNKNOWN$/],
    [503, 'manifest', /^UNKNOWN$/],
    [500, 'layer', /^UNKNOWN$/],
    ['html', 'manifest', /^NOT_FOUND$/],
    ['html', 'everything', /^NOT_FOUND$/],
    ['reset', 'manifest', /^UNKNOWN$/],
    ['reset', 'layer', /^UNKNOWN$/],
    ['deadTokenServer', 'manifest', /^UNKNOWN$/],
    ['redirectLoop', 'manifest', /^UNKNOWN$/],
    ['altered', 'config', /^FAILED_PRECONDITION$/],
    ['altered', 'layer', /^FAILED_PRECONDITION$/],
    ['cut', 'layer', /^(UNKNOWN|FAILED_PRECONDITION)$/],
  ])('fails a pull: %s at the %s', async (fault, at, expected) => {
    const { cri } = components.containerd;
    const image = serveNew(`${fault} ${at}`);
    const applied = registry.fail(fault, at);
    expect(await statusOf(cri.pullImage(name))).toMatch(expected);
    await applied;
    expect(await cri.imageStatus(image.id)).toBeUndefined();
  });

  it('keeps a pull waiting without end when it stalls', async () => {
    const { containerd } = components;
    serveNew('stall');
    const applied = registry.fail('stall', 'layer');
    const pull = statusOf(containerd.cri.pullImage(name));
    await applied;
    await containerd.restart();
    expect(await pull).toBe('UNAVAILABLE');
  });

  it('serves its image when it behaves', async () => {
    const image = serveNew('good');
    registry.recover();
    expect(await components.containerd.cri.pullImage(name)).toBe(image.id);
  });
});

describeReal('a broken runtime', (components) => {
  it.each<[RuntimeFault, RegExp]>([
    ['absent', /^UNAVAILABLE$/],
    ['file', /^UNAVAILABLE$/],
    ['refuses', /^UNAVAILABLE$/],
    ['closes', /^UNAVAILABLE$/],
    ['silent', /^DEADLINE_EXCEEDED$/],
    ['garbage', /^UNAVAILABLE$/],
    ['http1', /^UNAVAILABLE$/],
    ['hangs', /^DEADLINE_EXCEEDED$/],
    ['html', /^(UNKNOWN|INTERNAL|RESOURCE_EXHAUSTED)$/],
    ['unimplemented', /^UNIMPLEMENTED$/],
  ])('%s: every call fails with %s', async (fault, expected) => {
    await using runtime = await BadRuntime.start(fault, components.directoryOf('broken'));
    using cri = new RawCri(runtime.socket, 300);
    expect(await statusOf(cri.imageStatus('app:v1'))).toMatch(expected);
    expect(await statusOf(cri.listImages())).toMatch(expected);
  });

  it('answers what is no message', async () => {
    await using runtime = await BadRuntime.start('nonsense', components.directoryOf('broken'));
    using cri = new RawCri(runtime.socket);
    await expect(cri.listImages()).rejects.toThrow();
  });
});
