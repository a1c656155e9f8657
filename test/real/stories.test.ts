/** What tenants of a node meet, told against the real containerd and a real private registry. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { PullPolicy } from '../../src/images/pull-policy.ts';
import type { VerificationPolicy } from '../../src/policies/enforcer.ts';
import { Agent, passwordOf, secretOf } from './agent.ts';
import { describeEachRuntime } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const POLICIES: readonly PullPolicy[] = ['Always', 'IfNotPresent', 'Never'];

describeEachRuntime('tenants of one node', (components) => {
  let agent: Agent;
  let stories = 0;
  /** Each story has repositories, users and contents of its own. */
  let story: string;

  beforeEach(async () => {
    story = `story-${++stories}`;
    agent = await Agent.open(components.containerd.socket);
  });
  afterEach(async () => {
    await agent[Symbol.asyncDispose]();
    // A story that stopped it must not stop the next one.
    await components.registry.start();
    await components.tokenServer.start();
  });

  /** A private image, and who may pull it. */
  async function privateImage(
    users: readonly string[],
    { repository = `${story}/app`, tag = 'v1', content = story } = {},
  ): Promise<{ name: string; id: string }> {
    const image = buildImage({ content });
    const name = await components.registry.push(image, repository, tag);
    for (const user of users) allow(user, repository);
    return { name, id: image.id };
  }

  function allow(user: string, ...repositories: string[]): void {
    components.tokenServer.setUser(user, { password: passwordOf(user), repositories });
  }

  /** Requests that reached the registry or its token server during `act`. */
  async function contacts(act: () => Promise<unknown>): Promise<number> {
    const count = (): number =>
      components.registry.requests.length + components.tokenServer.requests.length;
    const before = count();
    await act();
    return count() - before;
  }

  it('lets nobody in because another has pulled', async () => {
    const { name, id } = await privateImage(['alice']);
    expect(await agent.ensure(name, 'IfNotPresent', [secretOf('alice')])).toEqual({
      imageRef: id,
      pulled: true,
    });
    for (const policy of POLICIES) {
      const refusal = policy === 'Never' ? 'ErrImageNeverPull' : 'ErrImagePull';
      expect(await agent.outcome(name, policy)).toBe(refusal);
      expect(await agent.outcome(name, policy, [secretOf('mallory')])).toBe(refusal);
    }
    // A user of the registry, but not of this repository; and a wrong password of one who is.
    allow('bob', `${story}/other`);
    expect(await agent.outcome(name, 'IfNotPresent', [secretOf('bob')])).toBe('ErrImagePull');
    const guessed = secretOf('alice', 'guessed');
    const stranger = { ...guessed, source: { ...guessed.source, uid: 'uid-of-another' } };
    expect(await agent.outcome(name, 'IfNotPresent', [stranger])).toBe('ErrImagePull');
    expect(await agent.outcome(name, 'Never', [secretOf('alice')])).toBe('used');
    expect(await agent.intents()).toEqual([]);
  });

  it('asks the registry once for a tenant with rights of its own, and then needs no registry', async () => {
    const { name } = await privateImage(['alice', 'bob']);
    await agent.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    const first = await contacts(async () => {
      expect(await agent.outcome(name, 'IfNotPresent', [secretOf('bob')])).toBe('pulled');
    });
    expect(first).toBeGreaterThan(0);
    const again = await contacts(async () => {
      for (const user of ['alice', 'bob']) {
        for (const policy of ['IfNotPresent', 'Never'] as const) {
          expect(await agent.outcome(name, policy, [secretOf(user)])).toBe('used');
        }
      }
    });
    expect(again).toBe(0);
    await components.registry.stop();
    await components.tokenServer.stop();
    expect(await agent.outcome(name, 'IfNotPresent', [secretOf('bob')])).toBe('used');
    expect(await agent.outcome(name, 'IfNotPresent', [secretOf('carol')])).toBe('ErrImagePull');
  });

  it('lets everybody use an image that needs no credentials', async () => {
    const { name } = await privateImage([]);
    components.tokenServer.setPublicRepositories([`${story}/app`]);
    expect(await agent.outcome(name, 'IfNotPresent')).toBe('pulled');
    expect(await agent.outcome(name, 'Never')).toBe('used');
    expect(await agent.outcome(name, 'Never', [secretOf('mallory')])).toBe('used');
  });

  it('trusts a rotated secret as the kubelet does, and no other', async () => {
    const { name } = await privateImage(['alice']);
    await agent.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    components.tokenServer.setUser('alice', {
      password: 'rotated',
      repositories: [`${story}/app`],
    });
    expect(await agent.outcome(name, 'Always', [secretOf('alice')])).toBe('ErrImagePull');
    expect(await agent.outcome(name, 'Never', [secretOf('alice', 'rotated')])).toBe('used');
    const elsewhere = secretOf('alice', 'another');
    const moved = { ...elsewhere, source: { ...elsewhere.source, namespace: 'elsewhere' } };
    expect(await agent.outcome(name, 'Never', [moved])).toBe('ErrImageNeverPull');
  });

  it('asks the registry about a rotated secret where it is told to verify them', async () => {
    await using strict = await Agent.open(components.containerd.socket, {
      rotatedSecrets: 'verify',
    });
    const { name } = await privateImage(['alice']);
    await strict.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    components.tokenServer.setUser('alice', {
      password: 'rotated',
      repositories: [`${story}/app`],
    });
    const rotated = [secretOf('alice', 'rotated')];
    expect(await strict.outcome(name, 'Never', rotated)).toBe('ErrImageNeverPull');
    expect(await strict.outcome(name, 'IfNotPresent', rotated)).toBe('pulled');
    expect(await strict.outcome(name, 'Never', rotated)).toBe('used');
  });

  it('takes two tags of one repository for one, and two repositories for two', async () => {
    const { name, id } = await privateImage(['alice']);
    const other = await privateImage(['alice'], { tag: 'v2' });
    const twin = await privateImage(['bob'], { repository: `${story}/twin` });
    expect([other.id, twin.id]).toEqual([id, id]);
    await agent.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    // The content is there, but the runtime has not heard of the other names.
    expect(await agent.outcome(other.name, 'Never', [secretOf('alice')])).toBe('ErrImageNeverPull');
    expect(await agent.outcome(other.name, 'IfNotPresent', [secretOf('alice')])).toBe('pulled');
    expect(await agent.outcome(twin.name, 'IfNotPresent', [secretOf('alice')])).toBe(
      'ErrImagePull',
    );
    expect(await agent.outcome(twin.name, 'IfNotPresent', [secretOf('bob')])).toBe('pulled');
    expect(await agent.outcome(twin.name, 'Never', [secretOf('alice')])).toBe('ErrImageNeverPull');
    expect(await agent.outcome(name, 'Never', [secretOf('bob')])).toBe('ErrImageNeverPull');
    const { credentialMapping } = (await agent.pullManager.getImagePulledRecord(id))!;
    expect(Object.keys(credentialMapping).sort()).toEqual([
      `${components.registry.host}/${story}/app`,
      `${components.registry.host}/${story}/twin`,
    ]);
  });

  it('gives a moved tag to those only who have shown that they may use the new image', async () => {
    const { name, id } = await privateImage(['alice']);
    await agent.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    const moved = await privateImage(['bob'], { content: `${story} moved` });
    expect(moved.name).toBe(name);
    // The node still has the old image under the name.
    expect(await agent.ensure(name, 'IfNotPresent', [secretOf('alice')])).toMatchObject({
      imageRef: id,
    });
    allow('alice');
    expect(await agent.ensure(name, 'Always', [secretOf('bob')])).toEqual({
      imageRef: moved.id,
      pulled: true,
    });
    expect(await agent.outcome(name, 'Never', [secretOf('alice')])).toBe('ErrImageNeverPull');
    expect(await agent.outcome(name, 'IfNotPresent', [secretOf('alice')])).toBe('ErrImagePull');
  });

  it.each<[policy: VerificationPolicy['kind'], never: string, ifNotPresent: string]>([
    ['NeverVerify', 'used', 'used'],
    ['NeverVerifyPreloadedImages', 'used', 'used'],
    ['NeverVerifyAllowlistedImages', 'ErrImageNeverPull', 'ErrImagePull'],
    ['AlwaysVerify', 'ErrImageNeverPull', 'ErrImagePull'],
  ])('treats a preloaded image as %s has it', async (kind, never, ifNotPresent) => {
    const image = buildImage({ content: `${story} preloaded` });
    const name = `${components.registry.host}/${story}/preloaded:v1`;
    await components.containerd.importImage(image, [name]);
    const policy: VerificationPolicy =
      kind === 'NeverVerifyAllowlistedImages'
        ? { kind, allowlist: ['registry.example.com/allowed/*'] }
        : { kind };
    await using strict = await Agent.open(components.containerd.socket, { policy });
    expect(await strict.outcome(name, 'Never')).toBe(never);
    expect(await strict.outcome(name, 'IfNotPresent')).toBe(ifNotPresent);
    const allowed = `registry.example.com/allowed/${story}:v1`;
    await components.containerd.importImage(image, [allowed]);
    if (kind === 'NeverVerifyAllowlistedImages') {
      expect(await strict.outcome(allowed, 'Never')).toBe('used');
    }
  });

  it('stops taking an image for preloaded once it was pulled', async () => {
    const image = buildImage({ content: story });
    const { name } = await privateImage(['alice']);
    await components.containerd.importImage(image, [name]);
    expect(await agent.outcome(name, 'Never')).toBe('used');
    expect(await agent.outcome(name, 'Always', [secretOf('alice')])).toBe('pulled');
    expect(await agent.outcome(name, 'Never')).toBe('ErrImageNeverPull');
  });

  it('does not tell whether an image is there that may not be used', async () => {
    const { name } = await privateImage(['alice']);
    const told = async (): Promise<string> => {
      const error: unknown = await agent
        .ensure(name, 'Never', [secretOf('mallory')])
        .catch((cause: unknown) => cause);
      return JSON.stringify([error, (error as Error).message, (error as Error).cause]);
    };
    const absent = await told();
    await agent.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    expect(await told()).toBe(absent);
  });

  it('keeps records of what the runtime has, and of nothing else, when it collects', async () => {
    const kept = await privateImage(['alice'], { content: `${story} kept` });
    const gone = await privateImage(['alice'], {
      repository: `${story}/gone`,
      content: `${story} gone`,
    });
    allow('alice', `${story}/app`, `${story}/gone`);
    await agent.ensure(kept.name, 'IfNotPresent', [secretOf('alice')]);
    await agent.ensure(gone.name, 'IfNotPresent', [secretOf('alice')]);
    await agent.runtime.removeImage(gone.id);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await agent.images.collect()).toEqual({ pruned: 1, kept: 1, errors: [] });
    expect(await agent.outcome(kept.name, 'Never', [secretOf('alice')])).toBe('used');
    expect(await agent.pullManager.getImagePulledRecord(gone.id)).toBeUndefined();
  });

  it('lets nobody in by the id of an image, or its beginning', async () => {
    const { name, id } = await privateImage(['alice']);
    await agent.ensure(name, 'IfNotPresent', [secretOf('alice')]);
    await using exempting = await Agent.open(components.containerd.socket, {
      policy: { kind: 'NeverVerifyAllowlistedImages', allowlist: ['docker.io/library/*'] },
    });
    for (const length of ['sha256:'.length + 1, 'sha256:'.length + 8, id.length]) {
      expect(await exempting.outcome(id.slice(0, length), 'Never')).toBe('ErrImageNeverPull');
    }
  });

  it('lets in who has an identity token, and a service account by its name', async () => {
    const { name } = await privateImage([]);
    components.tokenServer.setUser('robot', {
      identityToken: 'refresh-me',
      password: 'not used',
      repositories: [`${story}/app`],
    });
    const source = { kind: 'serviceAccount', uid: 'u', namespace: 'n', name: 'robot' } as const;
    const credential = { auth: { identityToken: 'refresh-me' }, source };
    expect(await agent.outcome(name, 'IfNotPresent', [credential])).toBe('pulled');
    const renewed = { auth: { identityToken: 'another' }, source };
    expect(await agent.outcome(name, 'Never', [renewed])).toBe('used');
    const other = { ...renewed, source: { ...source, name: 'other' } };
    expect(await agent.outcome(name, 'Never', [other])).toBe('ErrImageNeverPull');
  });
});
