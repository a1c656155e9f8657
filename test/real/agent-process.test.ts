/** The built agent as a process, asked over its socket, with a real runtime and a real registry. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Client, type Reply } from '../agent/kit.ts';
import { until } from '../image-manager/kit.ts';
import { passwordOf } from './agent.ts';
import { describeReal } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const POLICIES = ['Always', 'IfNotPresent', 'Never'];

/** `pullwarden agent` of the build. */
class BuiltAgent {
  readonly client: Client;
  stderr = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(runtimeSocket: string, directory: string) {
    const socket = join(directory, 'agent.sock');
    const store = `journal:${join(directory, 'records')}`;
    const flags = ['--runtime', `unix://${runtimeSocket}`, '--socket', socket, '--store', store];
    this.#child = spawn(process.execPath, [MAIN, 'agent', ...flags, '--log-level', 'debug'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#ended = once(this.#child, 'close');
    this.client = new Client(socket);
  }

  async ready(): Promise<this> {
    await until(() => this.stderr.includes('"ready"') || this.#child.exitCode !== null);
    expect(this.#child.exitCode, this.stderr).toBeNull();
    return this;
  }

  /** The exit code; `null` after SIGKILL. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    await this.#ended;
    return this.#child.exitCode;
  }
}

describeReal('the agent as a process', (components) => {
  let stories = 0;
  let story: string;
  let agents: BuiltAgent[];

  beforeEach(() => {
    story = `process-${++stories}`;
    agents = [];
  });
  afterEach(async () => {
    for (const agent of agents) await agent.end('SIGKILL');
    await components.registry.start();
    await components.tokenServer.start();
  });

  /** Starts an agent on the records of this story. */
  function start(): Promise<BuiltAgent> {
    const agent = new BuiltAgent(components.containerd.socket, components.directoryOf(story));
    agents.push(agent);
    return agent.ready();
  }

  /** An image that these users may pull. */
  async function privateImage(...users: string[]): Promise<{ image: string; id: string }> {
    const built = buildImage({ content: story });
    const repository = `${story}/app`;
    const image = await components.registry.push(built, repository, 'v1');
    for (const user of users) {
      const password = passwordOf(user);
      components.tokenServer.setUser(user, { password, repositories: [repository] });
    }
    return { image, id: built.id };
  }

  let pods = 0;
  /** A new pod of a team asks, with the pull secret of its namespace. */
  function ensure(
    { client }: BuiltAgent,
    image: string,
    user?: string,
    pullPolicy = 'IfNotPresent',
  ): Promise<Reply> {
    const auths = (name: string): object => ({
      [components.registry.host]: { username: name, password: passwordOf(name) },
    });
    const secretOf = (name: string): object => ({
      uid: `uid-${name}`,
      namespace: name,
      name: 'pull',
      data: { auths: auths(name) },
    });
    const secrets = user === undefined ? [] : [secretOf(user)];
    return client.post('/v1/ensure', { image, pullPolicy, podUid: `pod-${pods++}`, secrets });
  }

  async function intents({ client }: BuiltAgent): Promise<unknown> {
    return (await client.get('/v1/images')).json.intents;
  }

  it('lets in who has proven access, through a crash and without a registry, and nobody else', async () => {
    const { image, id } = await privateImage('alice', 'bob');
    const first = await start();
    expect((await ensure(first, image, 'alice')).json).toEqual({ imageRef: id, pulled: true });
    for (const policy of POLICIES) {
      for (const user of [undefined, 'mallory']) {
        expect((await ensure(first, image, user, policy)).status).toBe(403);
      }
    }
    await first.end('SIGKILL');
    await components.registry.stop();
    await components.tokenServer.stop();

    const second = await start();
    expect((await ensure(second, image, 'alice')).json).toEqual({ imageRef: id, pulled: false });
    expect((await ensure(second, image, 'mallory', 'Never')).status).toBe(403);
    // He has rights, but nobody is there to say so.
    const bob = await ensure(second, image, 'bob');
    expect(bob.status).toBe(503);
    expect(bob.json).not.toHaveProperty('imageRef');

    await components.registry.start();
    await components.tokenServer.start();
    expect((await ensure(second, image, 'bob')).json).toEqual({ imageRef: id, pulled: true });
    expect((await ensure(second, image, 'bob', 'Never')).json).toEqual({
      imageRef: id,
      pulled: false,
    });
    expect(await intents(second)).toEqual([]);
    expect(await second.end('SIGTERM')).toBe(0);
    expect(first.stderr + second.stderr).not.toMatch(/-password-1|Bearer|"auth"/);
  });

  it('has no image for a stranger whose pull was cut short by the death of the agent', async () => {
    const { image, id } = await privateImage('alice');
    const first = await start();
    const hold = components.registry.hold(({ path }) => path.includes('/blobs/'));
    const cut = ensure(first, image, 'alice').catch((error: unknown) => error);
    await hold.arrived;
    expect(await intents(first)).toEqual([image]);
    await first.end('SIGKILL');
    expect(await cut).toBeInstanceOf(Error);
    hold.release();

    const second = await start();
    for (const policy of POLICIES) {
      expect((await ensure(second, image, 'mallory', policy)).status).toBe(403);
    }
    expect((await ensure(second, image, 'alice')).json).toEqual({ imageRef: id, pulled: true });
    await until(async () => JSON.stringify(await intents(second)) === '[]');
    expect((await ensure(second, image, 'mallory', 'Never')).status).toBe(403);
  });

  it('finishes a pull that is under way when it is told to end', async () => {
    const { image, id } = await privateImage('alice');
    const first = await start();
    const hold = components.registry.hold(({ path }) => path.includes('/blobs/'));
    const reply = ensure(first, image, 'alice');
    await hold.arrived;
    const ended = first.end('SIGTERM');
    await until(() => first.stderr.includes('"stopping"'));
    hold.release();
    expect((await reply).json).toEqual({ imageRef: id, pulled: true });
    expect(await ended).toBe(0);
    await components.registry.stop();
    expect((await ensure(await start(), image, 'alice')).json).toEqual({
      imageRef: id,
      pulled: false,
    });
  });

  it('says by itself that the runtime has gone, and that it is back', async () => {
    const agent = await start();
    const health = async (): Promise<unknown> => (await agent.client.get('/healthz')).json.runtime;
    expect(await health()).toBe('reachable');
    await components.containerd.kill();
    try {
      await until(() => agent.stderr.includes('"the container runtime cannot be reached: '));
      expect(agent.stderr).toContain('nobody listens on the socket; does the runtime run?');
      expect(agent.stderr).toContain(`"socket":"${components.containerd.socket}"`);
      expect(await health()).toBe('unreachable');
      expect((await agent.client.get('/readyz')).status).toBe(503);
    } finally {
      await components.containerd.start();
    }
    await until(() => agent.stderr.includes('"the container runtime can be reached again"'));
    expect(await health()).toBe('reachable');
    expect((await agent.client.get('/readyz')).status).toBe(200);
  });

  it('is asked for one image by hundreds of pods at once, and pulls once for each tenant', async () => {
    const { image, id } = await privateImage('alice', 'bob');
    const agent = await start();
    const users = Array.from(
      { length: 200 },
      (_, i) => ['alice', 'bob', 'mallory', undefined][i % 4],
    );
    const replies = await Promise.all(users.map((user) => ensure(agent, image, user)));
    for (const [i, { status, json }] of replies.entries()) {
      const isLetIn = users[i] === 'alice' || users[i] === 'bob';
      expect(status, users[i]).toBe(isLetIn ? 200 : 403);
      expect(json.imageRef).toBe(isLetIn ? id : undefined);
    }
    expect(agent.stderr.match(/"msg":"pull finished"/g)).toHaveLength(2);
    expect(await intents(agent)).toEqual([]);
  });
});
