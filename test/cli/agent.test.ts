/** The agent as a process: its flags, its life and its log. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, lstat, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { readTrace } from '../../src/trace/read-trace.ts';
import { afterTest, type Client, ensureBody, secretBody } from '../agent/kit.ts';
import { newHome } from '../agent/process-kit.ts';
import { PUBLIC, PUBLIC_ID, until } from '../image-manager/kit.ts';
import { rawServer } from '../runtime/cri/scripted-runtime.ts';
import { runCli } from '../support/cli.ts';

const APP = 'registry.example.com/team-a/app:1';
const APP_ID = `sha256:${'a'.repeat(64)}`;
const UNREACHABLE =
  'the container runtime cannot be reached: what needs it is refused until it answers';
const WARN = 40;
/** File descriptors that an agent can do with. */
const FILES = 1_024;
const SECRETS = [secretBody('a', 'hunter2')];
const OTHERS = [secretBody('mallory', 'hunter3')];

async function homeWithApp() {
  const home = await newHome();
  home.runtime.registry.set(APP, { id: APP_ID, users: ['a'] });
  return home;
}

describe('the flags of the agent', () => {
  const REQUIRED = ['--runtime', '/x.sock', '--socket', '/y.sock'];

  it.each([
    { name: 'nothing but a store', args: [], said: '--runtime and --socket are missing' },
    { name: 'no runtime', args: ['--socket', '/x'], said: '--runtime is missing' },
    { name: 'no socket', args: ['--runtime', '/x'], said: '--socket is missing' },
    {
      name: 'credentials that are not there',
      args: [...REQUIRED, '--docker-config', '/nowhere/config.json'],
      said: '--docker-config cannot be read: "/nowhere/config.json"',
    },
    {
      name: 'half a provider configuration',
      args: [...REQUIRED, '--credential-provider-config', '/nowhere'],
      said: '--credential-provider-bin-dir',
    },
    { name: 'an argument', args: [...REQUIRED, 'x'], said: 'unexpected argument "x"' },
    { name: 'a mistyped flag', args: [...REQUIRED, '--qqs', '1'], said: 'did you mean "--qps"' },
    { name: 'no number', args: [...REQUIRED, '--qps', 'five'], said: '--qps must be a number' },
    {
      name: 'no time',
      args: [...REQUIRED, '--back-off', '10'],
      said: '--back-off "10" is no time',
    },
    { name: 'no level', args: [...REQUIRED, '--log-level', 'loud'], said: '--log-level must be' },
    {
      name: 'no policy',
      args: [...REQUIRED, '--policy', 'Never'],
      said: '--policy must be one of',
    },
    { name: 'a store that forgets', args: [...REQUIRED, '--store', 'memory'], said: '--store' },
    {
      name: 'a runtime of another kind',
      args: ['--socket', '/y', '--runtime', 'tcp://localhost'],
      said: '--runtime must be unix:///PATH or an absolute path',
    },
    {
      name: 'a time that no timer takes',
      args: [...REQUIRED, '--drain', '40000m'],
      said: '--drain must be at most 2147483647 ms, not "40000m"',
    },
    { name: 'a count out of range', args: [...REQUIRED, '--burst', '0'], said: '--burst must be' },
  ])('refuse $name', async ({ args, said }) => {
    const { store } = await newHome();
    const stores = args.includes('--store') ? [] : ['--store', store];
    const { code, stdout, stderr } = await runCli(['agent', ...stores, ...args]);
    expect(stderr).toContain(said);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('refuse to guess where the records are', async () => {
    const { code, stderr } = await runCli(['agent', ...REQUIRED]);
    expect(stderr).toContain('--store is missing');
    expect(code).toBe(2);
    const bare = await runCli(['agent']);
    expect(bare.stderr).toBe(
      'pullwarden: --runtime, --socket and --store are missing\nTry --help.\n',
    );
  });

  it('are told with their defaults', async () => {
    const { code, stdout } = await runCli(['agent', '--help']);
    expect(code).toBe(0);
    for (const text of ['--runtime ADDRESS', '(default: 5m)', 'Exit codes: 0 ended by a signal']) {
      expect(stdout).toContain(text);
    }
  });

  it('reach the managers', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const config = join(home.directory, 'config.json');
    const auths = { 'registry.example.com': { auth: btoa('a:hunter2') } };
    await writeFile(config, JSON.stringify({ auths }), { mode: 0o600 });
    const flags = ['--docker-config', config, '--policy', 'AlwaysVerify', '--serialize-pulls'];
    const { client, ...agent } = home.start([...flags, '--collect-every', 'never']);
    void agent;
    await until(() => lives(client));
    // By the node's own credentials: every pod may use it.
    const { json } = await client.post('/v1/ensure', ensureBody(APP));
    expect(json).toEqual({ imageRef: APP_ID, pulled: true });
    const check = await client.post('/v1/check', { image: APP });
    expect(check.json).toMatchObject({ mustPull: false, reason: 'credentialRecordFound' });
    const imported = `sha256:${'b'.repeat(64)}`;
    home.runtime.have('imported:1', imported);
    const preloaded = await client.post('/v1/check', { image: 'imported:1' });
    expect(preloaded.json).toMatchObject({ imageRef: imported, mustPull: true });
  });
});

describe('an agent', () => {
  it('warns where nothing is recorded of the images that are there', async () => {
    const home = await newHome();
    await home.startRuntime();
    home.runtime.have('imported:1', `sha256:${'b'.repeat(64)}`);
    const agent = home.start();
    await agent.logged(
      'nothing is recorded of the images on this node: they count as preloaded, and every pod may use them',
    );
  });

  it('reaches the runtime after its file descriptors had run out', async () => {
    const home = await newHome();
    const agent = home.start();
    // It must not be connected before the limit comes.
    await agent.logged('serving, but not ready');
    const limitFiles = (count: number) =>
      promisify(execFile)('prlimit', [`--pid=${agent.child.pid}`, `--nofile=${count}:`]);
    const connection = agent.client.connect();
    connection.write('GET /healthz HTTP/1.1\r\n\r\n');
    await until(() => connection.received.includes('"ok"'));
    await limitFiles(1);
    await home.startRuntime();
    connection.write('GET /readyz HTTP/1.1\r\n\r\n');
    await until(() => connection.received.includes('ERR_AGENT_NOT_READY'));
    await limitFiles(FILES);
    await until(async () => (await agent.client.get('/readyz')).status === 200);
    const reply = await agent.client.post('/v1/ensure', ensureBody(PUBLIC));
    expect(reply.json.imageRef).toBe(PUBLIC_ID);
  });

  it('serves until it is told to end, and leaves nothing behind but records', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const agent = home.start();
    await agent.logged('ready');
    expect((await lstat(home.socketPath)).mode & 0o777).toBe(0o600);
    expect((await lstat(join(home.directory, 'records'))).mode & 0o777).toBe(0o700);
    const request = ensureBody(APP, { secrets: SECRETS });
    const { json } = await agent.client.post('/v1/ensure', request);
    expect(json).toEqual({ imageRef: APP_ID, pulled: true });
    agent.signal('SIGTERM');
    expect(await agent.exit()).toBe(0);
    expect(agent.lines.map(({ msg }) => msg)).toEqual([
      'ready',
      'pull started',
      'pull finished',
      'ensure',
      'stopping',
      'stopped',
    ]);
    await expect(lstat(home.socketPath)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(agent.stdout).toBe('');
    // Who has proven access needs no registry after a restart.
    home.runtime.registry.clear();
    const next = home.start();
    await next.logged('ready');
    const again = await next.client.post('/v1/ensure', request);
    expect(again.json).toEqual({ imageRef: APP_ID, pulled: false });
  });

  it('logs no secret, whatever happens with it', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const agent = home.start(['--log-level', 'debug']);
    const { client } = agent;
    await agent.logged('ready');
    await client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    await client.post('/v1/ensure', ensureBody(APP, { secrets: OTHERS }));
    home.runtime.onPull = () => Promise.reject(new Error('failed with password hunter2, hunter3'));
    const secrets = [...SECRETS, ...OTHERS];
    const told = [
      await client.post('/v1/ensure', ensureBody(APP, { pullPolicy: 'Always', secrets })),
      await client.post('/v1/ensure', '{"secrets":[{"data":"hunter2"'),
      await client.post('/v1/ensure', ensureBody(APP, { secrets: [{ hunter: 'hunter2' }] })),
      await client.post('/v1/check', { image: APP, secrets: [{ ...SECRETS[0], data: 'hunter2' }] }),
      await client.post('/v1/check', {
        image: APP,
        serviceAccount: { uid: 'u', namespace: 'n', name: 'a', token: 'hunter2' },
      }),
    ].map(({ text }) => text);
    agent.signal('SIGTERM');
    expect(await agent.exit()).toBe(0);
    const encoded = [btoa('a:hunter2'), btoa('mallory:hunter3')];
    for (const secret of ['hunter2', 'hunter3', ...encoded, 'credentialHash']) {
      expect(agent.stderr + told.join('\n')).not.toContain(secret);
    }
    expect(agent.lines.filter(({ msg }) => msg === 'request').length).toBeGreaterThan(6);
  });

  it('starts again at once after it was killed, and forgets no intent', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const first = home.start();
    await first.logged('ready');
    await first.client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    home.runtime.onPull = () => new Promise(() => {});
    const lost = first.client
      .post('/v1/ensure', ensureBody('registry.example.com/b'))
      .catch(String);
    await until(() => home.runtime.pulls.some((call) => call.includes('example.com/b')));
    first.signal('SIGKILL');
    expect(await first.exit()).toBe('SIGKILL');
    expect(await lost).toContain('Error');
    expect((await lstat(home.socketPath)).isSocket()).toBe(true);
    const second = home.start();
    await second.logged('ready');
    const { json } = await second.client.get('/v1/images');
    expect(json.intents).toEqual(['registry.example.com/b']);
    const known = await second.client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    expect(known.json).toEqual({ imageRef: APP_ID, pulled: false });
    const other = await second.client.post('/v1/check', { image: APP, secrets: OTHERS });
    expect(other.json.mustPull).toBe(true);
  });

  it('does not take the place of another', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const first = home.start();
    await first.logged('ready');
    const sameStore = home.start();
    expect(await sameStore.exit()).toBe(1);
    expect(sameStore.stderr).toContain('ERR_PULLMANAGER_STORE_IN_USE');
    const sameSocket = home.start(['--store', `journal:${join(home.directory, 'other')}`]);
    expect(await sameSocket.exit()).toBe(1);
    expect(sameSocket.stderr).toContain('ERR_PULLMANAGER_SOCKET_IN_USE');
    expect(sameSocket.stderr).toContain(home.socketPath);
    expect((await first.client.get('/healthz')).status).toBe(200);
  });

  it('aborts what takes too long when it is told to end, and keeps its intent', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    home.runtime.onPull = () => new Promise(() => {});
    const agent = home.start(['--drain', '1ms']);
    await agent.logged('ready');
    const reply = agent.client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    await agent.logged('pull started');
    // From here on it is not known what becomes of the pull.
    home.runtime.onStatus = () => new Promise(() => {});
    agent.signal('SIGTERM');
    expect(await reply).toMatchObject({ status: 503 });
    expect(await agent.exit()).toBe(0);
    const next = home.start();
    await next.logged('ready');
    expect((await next.client.get('/v1/images')).json.intents).toEqual([APP]);
  });

  it('ends in order when its terminal closes', async () => {
    const home = await newHome();
    await home.startRuntime();
    const agent = home.start();
    await agent.logged('ready');
    agent.signal('SIGHUP');
    expect(await agent.exit()).toBe(0);
    expect(existsSync(home.socketPath)).toBe(false);
  });

  it('ends at once at the second signal', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    home.runtime.onPull = () => new Promise(() => {});
    const agent = home.start(['--drain', '10m']);
    await agent.logged('ready');
    const lost = agent.client.post('/v1/ensure', ensureBody(APP)).catch(String);
    await agent.logged('pull started');
    agent.signal('SIGTERM');
    await agent.logged('stopping');
    agent.signal('SIGINT');
    expect(await agent.exit()).toBe(130);
    expect(await lost).toContain('Error');
  });

  it('lives without its runtime, and says that it is not ready', async () => {
    const home = await homeWithApp();
    home.runtime.have('imported:1', `sha256:${'b'.repeat(64)}`);
    const agent = home.start();
    const { client } = agent;
    await agent.logged('serving, but not ready');
    expect(agent.lines.map(({ msg }) => msg)).toEqual([UNREACHABLE, 'serving, but not ready']);
    expect(agent.lines[0]).toMatchObject({
      level: WARN,
      socket: home.runtimeSocket,
      reason: 'there is no such socket; does the runtime run, and is this its socket? (ENOENT)',
    });
    expect((await client.get('/healthz')).json).toEqual({ status: 'ok', runtime: 'unreachable' });
    const notReady = await client.get('/readyz');
    expect(notReady.status).toBe(503);
    expect(notReady.json.error?.message).toContain(
      `the container runtime at "${home.runtimeSocket}" cannot be reached: there is no such socket`,
    );
    const refused = await client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    expect(refused).toMatchObject({ status: 503, json: { error: { kind: 'unavailable' } } });
    await home.startRuntime();
    // Nobody asks: it finds out by itself.
    await agent.logged('the container runtime can be reached again');
    expect((await client.get('/healthz')).json).toEqual({ status: 'ok', runtime: 'reachable' });
    expect((await client.get('/readyz')).status).toBe(200);
    await agent.logged(
      'nothing is recorded of the images on this node: they count as preloaded, and every pod may use them',
    );
    const { json } = await client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    expect(json).toEqual({ imageRef: APP_ID, pulled: true });
  });

  it('tells systemd when it is ready and when it stops', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const told = join(home.directory, 'told');
    const program = join(home.directory, 'systemd-notify');
    await writeFile(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${told}'\n`);
    await chmod(program, 0o755);
    const env = { NOTIFY_SOCKET: '/run/n', PATH: `${home.directory}:${process.env.PATH}` };
    const agent = home.start([], { env });
    await until(() =>
      readFile(told, 'utf8').then(
        (text) => text.includes('READY'),
        () => false,
      ),
    );
    agent.signal('SIGTERM');
    expect(await agent.exit()).toBe(0);
    const status = `the container runtime at "${home.runtimeSocket}" answers`;
    expect(await readFile(told, 'utf8')).toBe(
      `/run/n READY=1 STATUS=${status}\n/run/n STOPPING=1\n`,
    );
  });

  it('does not care whether systemd can be told', async () => {
    const home = await homeWithApp();
    const agent = home.start([], { env: { NOTIFY_SOCKET: '/nowhere' } });
    await agent.logged('systemd could not be told');
    expect((await agent.client.get('/healthz')).status).toBe(200);
  });

  it('does not wait for somebody to read its log', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const agent = home.start(['--log-level', 'debug'], { isRead: false });
    const { client } = agent;
    await until(() => lives(client));
    // More than a pipe and all buffers hold.
    const path = `/${'x'.repeat(4_000)}`;
    for (let i = 0; i < 2_000; i++) expect((await client.get(path)).status).toBe(404);
    const { json } = await client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    expect(json).toEqual({ imageRef: APP_ID, pulled: true });
    agent.signal('SIGTERM');
    expect(await agent.exit()).toBe(0);
  });

  it('ends before it is ready where it is told to', async () => {
    const home = await homeWithApp();
    const runtime = await home.startRuntime();
    home.runtime.onPull = () => new Promise(() => {});
    const first = home.start();
    await first.logged('ready');
    const lost = first.client.post('/v1/ensure', ensureBody(APP)).catch(String);
    await first.logged('pull started');
    first.signal('SIGKILL');
    await lost;
    await runtime.stop();
    // About the intent that is left, a runtime is asked that does not answer.
    await rm(home.runtimeSocket, { force: true });
    const asked = new Promise<void>((resolve) => {
      void rawServer(home.runtimeSocket, () => resolve()).then((server) => {
        afterTest(() => server.stop());
      });
    });
    const second = home.start();
    await asked;
    second.signal('SIGTERM');
    expect(await second.exit()).toBe(0);
    expect(second.lines.at(-1)?.msg).toBe('stopped before it was ready');
  });
});

async function lives(client: Client): Promise<boolean> {
  return client.get('/healthz').then(
    ({ status }) => status === 200,
    () => false,
  );
}

describe('an agent that records', () => {
  it('leaves a trace that has no credential in it', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const path = join(home.directory, 'trace.jsonl');
    const agent = home.start(['--record', path]);
    await agent.logged('ready');
    const request = ensureBody(APP, { secrets: SECRETS });
    await agent.client.post('/v1/ensure', request);
    await agent.client.post('/v1/ensure', request);
    agent.signal('SIGTERM');
    expect(await agent.exit()).toBe(0);
    const { operations, isWhole } = await readTrace(path);
    expect(operations.map(({ op }) => op)).toEqual(['intent', 'pulled', 'decide']);
    expect(operations.at(-1)).toMatchObject({ image: APP, imageRef: APP_ID, credentials: 1 });
    expect(isWhole).toBe(true);
    const text = await readFile(path, 'utf8');
    for (const name of ['uid-a', 'team-a"', 'hunter2']) expect(text).not.toContain(name);
  });

  it('serves where the file cannot be made, and says so', async () => {
    const home = await homeWithApp();
    await home.startRuntime();
    const agent = home.start(['--record', join(home.directory, 'no', 'trace.jsonl')]);
    await agent.logged('no trace is recorded');
    await agent.logged('ready');
    const reply = await agent.client.post('/v1/ensure', ensureBody(APP, { secrets: SECRETS }));
    expect(reply.json).toEqual({ imageRef: APP_ID, pulled: true });
  });
});
