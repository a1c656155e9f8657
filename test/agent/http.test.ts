/** What clients send that is wrong, too much or too slow, and that the agent goes on. */
import { describe, expect, it } from 'vitest';
import { PUBLIC, PUBLIC_ID, until } from '../image-manager/kit.ts';
import { type Client, ensureBody, RawConnection, secretBody, startAgent } from './kit.ts';

const KIB = 1 << 10;
const SECRET = secretBody('a');
const CONTENT = { uid: 'u', namespace: 'n', name: 's' };

/** The agent answers as ever. */
async function stillServes(client: Client): Promise<void> {
  const reply = await client.post('/v1/ensure', ensureBody(PUBLIC, { podUid: 'other' }));
  expect(reply.json.imageRef).toBe(PUBLIC_ID);
}

describe('a request', () => {
  it.each([
    { name: 'no object', body: [], argument: 'the body' },
    { name: 'null', body: null, argument: 'the body' },
    { name: 'no image', body: { pullPolicy: 'Never', podUid: '' }, argument: 'image' },
    { name: 'an image of the wrong type', body: ensureBody(7 as never), argument: 'image' },
    { name: 'no pull policy', body: { image: 'a', podUid: '' }, argument: 'pullPolicy' },
    {
      name: 'another pull policy',
      body: ensureBody('a', { pullPolicy: 'always' }),
      argument: 'pullPolicy',
    },
    {
      name: 'a pod uid of the wrong type',
      body: ensureBody('a', { podUid: {} }),
      argument: 'podUid',
    },
    { name: 'an unknown field', body: ensureBody('a', { imag: 'b' }), argument: 'imag' },
    {
      name: 'a field that objects have',
      body: JSON.parse('{"image":"a","__proto__":{"pullPolicy":"Never"}}') as object,
      argument: '__proto__',
    },
    { name: 'no list of secrets', body: ensureBody('a', { secrets: {} }), argument: 'secrets' },
    {
      name: 'a secret that is none',
      body: ensureBody('a', { secrets: [SECRET, 7] }),
      argument: 'secrets[1]',
    },
    {
      name: 'a secret without namespace',
      body: ensureBody('a', { secrets: [{ ...SECRET, namespace: undefined }] }),
      argument: 'secrets[0].namespace',
    },
    {
      name: 'a secret with an unknown field',
      body: ensureBody('a', { secrets: [{ ...SECRET, password: 'hunter2' }] }),
      argument: 'secrets[0].password',
    },
    {
      name: 'a secret of another type',
      body: ensureBody('a', { secrets: [{ ...SECRET, type: 'Opaque' }] }),
      argument: 'secrets[0].type',
    },
    {
      name: 'a secret without content',
      body: ensureBody('a', { secrets: [CONTENT] }),
      argument: 'secrets[0].data',
    },
    {
      name: 'content of the wrong type',
      body: ensureBody('a', { secrets: [{ ...CONTENT, data: { '.dockerconfigjson': {} } }] }),
      argument: 'secrets[0].data[".dockerconfigjson"]',
    },
    {
      name: 'content of endless depth',
      body: `{"image":"a","pullPolicy":"Never","podUid":"p","secrets":[{"uid":"u","namespace":"n","name":"s","data":{"hunter2":${'['.repeat(100 * KIB)}${']'.repeat(100 * KIB)}}}]}`,
      argument: 'secrets[0].data',
    },
    {
      name: 'a service account without uid',
      body: ensureBody('a', { serviceAccount: { namespace: 'n', name: 's', token: 'hunter2' } }),
      argument: 'serviceAccount.uid',
    },
    {
      // Two tenants without a uid would be one.
      name: 'a secret with an empty uid',
      body: ensureBody('a', { secrets: [{ ...SECRET, uid: '' }] }),
      argument: 'secrets[0].uid',
    },
    {
      name: 'a service account with an empty uid',
      body: ensureBody('a', { serviceAccount: { ...CONTENT, uid: '', token: 'hunter2' } }),
      argument: 'serviceAccount.uid',
    },
    { name: 'an empty pod uid', body: ensureBody('a', { podUid: '' }), argument: 'podUid' },
    {
      name: 'a pod uid of a megabyte',
      body: ensureBody('a', { podUid: 'hunter2'.repeat(KIB * 150) }),
      argument: 'podUid',
    },
    {
      name: 'tokens of the wrong type',
      body: ensureBody('a', { serviceAccount: { ...CONTENT, tokens: { aud: 7 } } }),
      argument: 'serviceAccount.tokens',
    },
  ])('with $name is refused by name, without its values', async ({ body, argument }) => {
    const { client, log } = await startAgent();
    const reply = await client.post('/v1/ensure', body);
    expect(reply.status).toBe(400);
    expect(reply.json.error).toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      argument,
      message: expect.stringContaining(`${argument} `) as string,
    });
    expect(reply.text + JSON.stringify(log.lines)).not.toMatch(/hunter2|password-of/);
    await stillServes(client);
  });

  it.each([
    { path: '/v1/check', body: { imag: 'a' }, argument: 'imag' },
    { path: '/v1/collect', body: { all: true }, argument: 'all' },
  ])('to $path with an unknown field is refused by name', async ({ path, body, argument }) => {
    const { client } = await startAgent();
    const reply = await client.post(path, body);
    expect(reply).toMatchObject({ status: 400, json: { error: { argument } } });
  });

  it.each([
    { name: 'is no JSON', body: '{"password":"hunter2",}' },
    { name: 'ends too early', body: '{"image":"a"' },
    { name: 'is not UTF-8', body: Buffer.from([0x22, 0xff, 0x22]) },
  ])('whose body $name is refused without repeating it', async ({ body }) => {
    const { client } = await startAgent();
    const reply = await client.post('/v1/ensure', body);
    expect(reply).toMatchObject({
      status: 400,
      json: { error: { code: 'ERR_AGENT_BODY_INVALID' } },
    });
    expect(reply.text).not.toContain('hunter2');
    await stillServes(client);
  });

  it('with a compressed body is refused', async () => {
    const { client } = await startAgent();
    const headers = { 'Content-Encoding': 'gzip' };
    const reply = await client.post('/v1/ensure', 'x', { headers });
    expect(reply).toMatchObject({
      status: 415,
      json: { error: { code: 'ERR_AGENT_ENCODING_UNSUPPORTED' } },
    });
  });

  it.each([
    { method: 'GET', path: '/', status: 404 },
    { method: 'POST', path: '/v1/ensure/', status: 404 },
    { method: 'GET', path: '/v1/images?all=1', status: 404 },
    { method: 'GET', path: '/constructor', status: 404 },
    { method: 'GET', path: '/v1/ensure', status: 405, allow: 'POST' },
    { method: 'HEAD', path: '/v1/ensure', status: 405, allow: 'POST' },
    { method: 'POST', path: '/metrics', status: 405, allow: 'GET' },
    { method: 'DELETE', path: '/v1/images', status: 405, allow: 'GET' },
  ])('$method $path is answered with $status', async ({ method, path, status, allow }) => {
    const { client } = await startAgent();
    const reply = await client.send({ method, path });
    expect(reply.status).toBe(status);
    expect(reply.headers.allow).toBe(allow);
  });

  it('of HEAD is answered like GET, without a body', async () => {
    const { client } = await startAgent();
    const reply = await client.send({ method: 'HEAD', path: '/healthz' });
    expect(reply).toMatchObject({ status: 200, text: '' });
  });

  it('may be sent one after the other on one connection', async () => {
    const { client } = await startAgent();
    const connection = client.connect();
    const request = 'GET /healthz HTTP/1.1\r\n\r\n';
    connection.write(request);
    await until(() => connection.received.includes('"ok"'));
    connection.write(`${request}${request}`);
    await until(() => connection.received.split('"ok"').length === 4);
    expect(connection.received.match(/HTTP\/1.1 200 OK/g)).toHaveLength(3);
  });
});

describe('a body', () => {
  const limits = { bodyBytes: 4 * KIB };

  function padded(bytes: number): string {
    const body = JSON.stringify(ensureBody(PUBLIC));
    return body + ' '.repeat(bytes - body.length);
  }

  it('of the largest size is taken', async () => {
    const { client } = await startAgent({ limits });
    expect((await client.post('/v1/ensure', padded(limits.bodyBytes))).status).toBe(200);
  });

  it.each([
    { name: 'with its length', headers: {} },
    { name: 'in chunks', headers: { 'Transfer-Encoding': 'chunked' } },
  ])('that is one byte larger is refused, sent $name', async ({ headers }) => {
    const { client, runtime } = await startAgent({ limits });
    const reply = await client.post('/v1/ensure', padded(limits.bodyBytes + 1), { headers });
    expect(reply).toMatchObject({
      status: 413,
      json: { error: { code: 'ERR_AGENT_BODY_TOO_LARGE' } },
    });
    expect(runtime.calls).toEqual([]);
    await stillServes(client);
  });

  it('that never ends is cut off', async () => {
    // Whether the client still sees the answer depends on when it notices that it cannot write.
    const { client } = await startAgent({ limits });
    const connection = client.connect();
    connection.write('POST /v1/ensure HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n');
    const chunk = `${KIB.toString(16)}\r\n${' '.repeat(KIB)}\r\n`;
    const pump = setInterval(() => connection.write(chunk), 1);
    try {
      expect(await connection.untilClosed()).toMatch(/^(HTTP\/1.1 413 |$)/);
    } finally {
      clearInterval(pump);
    }
    await stillServes(client);
  });

  it('is not asked for where its length is too large', async () => {
    const { client } = await startAgent({ limits });
    const connection = client.connect();
    connection.write(
      `POST /v1/ensure HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: ${1 << 30}\r\n\r\n`,
    );
    expect(await connection.untilClosed()).toMatch(/^HTTP\/1.1 413 /);
  });

  it('is asked for where the client waits for that', async () => {
    const { client } = await startAgent({ limits });
    const body = JSON.stringify(ensureBody(PUBLIC));
    const connection = client.connect();
    connection.write(
      `POST /v1/ensure HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    await until(() => connection.received.includes('100 Continue'));
    connection.write(body);
    await until(() => connection.received.includes(PUBLIC_ID));
  });
});

describe('a connection', () => {
  it.each([
    { name: 'no HTTP', sent: 'hello\r\n\r\n', status: 400 },
    { name: 'TLS', sent: Buffer.from('16030100c8010000c40303', 'hex'), status: 400 },
    { name: 'HTTP/2', sent: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: 400 },
    {
      name: 'two lengths',
      sent: 'POST /v1/ensure HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      status: 400,
    },
    {
      name: 'length and chunks',
      sent: 'POST /v1/ensure HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      status: 400,
    },
    {
      name: 'a broken chunk',
      sent: 'POST /v1/ensure HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
      status: 400,
    },
    {
      name: 'headers that are too large',
      sent: `GET /healthz HTTP/1.1\r\nX: ${'x'.repeat(64 * KIB)}\r\n\r\n`,
      status: 431,
    },
  ])('with $name is answered with $status and closed', async ({ sent, status }) => {
    const { client, log } = await startAgent();
    const connection = client.connect();
    connection.write(sent);
    const answer = await connection.untilClosed();
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({
      error: { code: expect.stringMatching(/^ERR_AGENT_/) as string },
    });
    await stillServes(client);
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('that sends garbage behind a request is closed, and nobody is told a wrong answer', async () => {
    const { client, runtime } = await startAgent();
    let pull: (id: string) => void = () => {};
    runtime.onPull = () =>
      new Promise((resolve) => {
        pull = resolve;
      });
    const body = JSON.stringify(ensureBody(PUBLIC));
    const connection = client.connect();
    connection.write(`POST /v1/ensure HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await until(() => runtime.pulls.length === 1);
    connection.write('garbage\r\n\r\n');
    expect(await connection.untilClosed()).toBe('');
    pull(PUBLIC_ID);
  });

  it.each([
    { name: 'headers', sent: 'GET /healthz HT' },
    { name: 'a body', sent: 'POST /v1/ensure HTTP/1.1\r\nContent-Length: 10\r\n\r\n{' },
  ])('that does not go on with $name is answered with 408 and closed', async ({ sent }) => {
    const { client } = await startAgent({ limits: { headersMs: 100, requestMs: 100 } });
    const connection = client.connect();
    connection.write(sent);
    expect(await connection.untilClosed()).toMatch(/^HTTP\/1.1 408 /);
    await stillServes(client);
  });

  it('that sends a byte now and then is closed all the same', async () => {
    const { client } = await startAgent({ limits: { headersMs: 200, requestMs: 200 } });
    const connection = client.connect();
    connection.write('GET /healthz HTTP/1.1\r\nX: ');
    const drip = setInterval(() => connection.write('x'), 10);
    try {
      expect(await connection.untilClosed()).toMatch(/^HTTP\/1.1 408 /);
    } finally {
      clearInterval(drip);
    }
  });

  it('that is idle is closed after a while', async () => {
    const { client } = await startAgent({ limits: { keepAliveMs: 50 } });
    const connection = client.connect();
    connection.write('GET /healthz HTTP/1.1\r\n\r\n');
    expect(await connection.untilClosed()).toContain('"ok"');
  });

  it('that does not take its answer is closed', async () => {
    const { client, runtime, log } = await startAgent({ limits: { answerMs: 100 } });
    const repoTags = ['an-image-with-a-long-name:1'];
    const images = Array.from({ length: 20_000 }, (_, i) => `sha256:${i}`);
    runtime.onList = async () => images.map((id) => ({ id, repoTags, repoDigests: [] }));
    const connection = client.connect();
    connection.socket.pause();
    connection.write('GET /v1/images HTTP/1.1\r\n\r\n');
    await until(() =>
      log.lines.some(({ fields }) => fields.route === '/v1/images' && fields.status === 0),
    );
    await stillServes(client);
  });

  it('above the limit is closed at once, and counted', async () => {
    const { client, socketPath } = await startAgent({ limits: { connections: 2 } });
    const first = [client.connect(), client.connect()];
    for (const connection of first) {
      connection.write('GET /healthz HTTP/1.1\r\n\r\n');
      await until(() => connection.received.includes('"ok"'));
    }
    expect(await new RawConnection(socketPath).untilClosed()).toBe('');
    first[0]!.socket.destroy();
    await until(async () => {
      const reply = await client.get('/metrics').catch(() => undefined);
      return /connections_refused_total [1-9]/.test(reply?.text ?? '');
    });
  });

  it('that is closed leaves none of its requests behind, also those that waited for their turn', async () => {
    const { client, runtime, pullManager } = await startAgent();
    runtime.onPull = (_image, _auth, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(new Error('aborted')));
      });
    const body = JSON.stringify(ensureBody(PUBLIC));
    const other = JSON.stringify(ensureBody('registry.example.com/other/app:1'));
    const connection = client.connect();
    for (const sent of [body, other]) {
      connection.write(`POST /v1/ensure HTTP/1.1\r\nContent-Length: ${sent.length}\r\n\r\n${sent}`);
    }
    connection.write('GET /healthz HTTP/1.1\r\n\r\nGET /v1/images HTTP/1.1\r\n\r\n');
    await until(() => runtime.pulls.length === 2);
    connection.socket.destroy();
    await until(async () => /requests_in_flight 1\n/.test((await client.get('/metrics')).text));
    await until(async () => (await pullManager.listImagePullIntents()).records.length === 0);
  });

  it('that is idle makes room where there is none left', async () => {
    const { client } = await startAgent({ limits: { connections: 2, keepAliveMs: 600_000 } });
    const idle = client.connect();
    idle.write('GET /healthz HTTP/1.1\r\n\r\n');
    await until(() => idle.received.includes('"ok"'));
    const last = client.connect();
    expect(await idle.untilClosed()).toContain('"ok"');
    last.write('GET /healthz HTTP/1.1\r\n\r\n');
    await until(() => last.received.includes('"ok"'));
  });

  it('that sends many requests at once, and takes no answer, does not keep others from theirs', async () => {
    const { client } = await startAgent({ limits: { answerMs: 600_000 } });
    const flood = client.connect();
    flood.socket.pause();
    flood.write('GET /healthz HTTP/1.1\r\n\r\n'.repeat(10 * KIB));
    await until(async () => {
      const { status, text } = await client.get('/metrics');
      return status === 200 && /requests_in_flight 1\n/.test(text);
    });
    flood.socket.resume();
    await flood.untilClosed();
  });

  it('may hold no more requests than are served at a time', async () => {
    const { client, runtime } = await startAgent({ limits: { calls: 2 } });
    let pull: (id: string) => void = () => {};
    const pulled = new Promise<string>((resolve) => {
      pull = resolve;
    });
    runtime.onPull = () => pulled;
    const two = ['a', 'b'].map((podUid) =>
      client.post('/v1/ensure', ensureBody(PUBLIC, { podUid })),
    );
    await until(async () => (await client.get('/healthz')).status === 503);
    const refused = await client.post('/v1/ensure', ensureBody(PUBLIC, { podUid: 'c' }));
    expect(refused).toMatchObject({ status: 503, json: { error: { code: 'ERR_AGENT_BUSY' } } });
    pull(PUBLIC_ID);
    for (const reply of await Promise.all(two)) expect(reply.status).toBe(200);
    expect((await client.get('/healthz')).status).toBe(200);
  });
});

describe('an error that should not happen', () => {
  it('is answered without its text, and logged without it', async () => {
    const { client, log } = await startAgent({
      replace: () => ({
        imageManager: {
          check: () => Promise.reject(new Error('unused')),
          ensureImage: () => Promise.reject(new TypeError('hunter2\n    at hunter2')),
          collect: () => Promise.reject(new Error('unused')),
          metrics: async () => '',
        },
      }),
    });
    const reply = await client.post('/v1/ensure', ensureBody(PUBLIC));
    expect(reply).toMatchObject({ status: 500, json: { error: { code: 'ERR_AGENT_INTERNAL' } } });
    const line = log.lines.find(({ level }) => level === 'error');
    expect(line?.fields.error).toMatchObject({ name: 'TypeError' });
    expect(reply.text + JSON.stringify(log.lines)).not.toContain('hunter2');
    expect((await client.get('/healthz')).status).toBe(200);
  });
});
