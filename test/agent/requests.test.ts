import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  failed,
  intentsOf,
  PRIVATE,
  PRIVATE_ID,
  PUBLIC,
  PUBLIC_ID,
  until,
} from '../image-manager/kit.ts';
import { temporaryDirectory } from '../support/engines.ts';
import { ensureBody, secretBody, startAgent } from './kit.ts';

const A = secretBody('a');
const B = secretBody('b');
const MALLORY = secretBody('mallory');

describe('POST /v1/ensure', () => {
  it('pulls what is missing, and then lets in who has proven access', async () => {
    const { client, runtime } = await startAgent();
    const first = await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    expect(first).toMatchObject({ status: 200, json: { imageRef: PRIVATE_ID, pulled: true } });
    const again = await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    expect(again.json).toEqual({ imageRef: PRIVATE_ID, pulled: false });
    expect(runtime.pulls).toEqual([`pull ${PRIVATE} a`]);
  });

  it('does not let in who has none, and says which kind of failure it was', async () => {
    const { client } = await startAgent({ imageManager: { backOffMs: 0 } });
    await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    for (const secrets of [[], [MALLORY]]) {
      const refused = await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets }));
      expect(refused).toMatchObject({
        status: 403,
        json: { error: { code: 'ErrImagePull', kind: 'denied' } },
      });
    }
    const own = await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [MALLORY, B] }));
    expect(own.json).toEqual({ imageRef: PRIVATE_ID, pulled: true });
  });

  it('says the same of an absent image as of one that may not be used, if it must not pull', async () => {
    const { client } = await startAgent();
    await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    const absent = PRIVATE.replace('app', 'abc');
    const never = { pullPolicy: 'Never', secrets: [MALLORY] };
    const forbidden = await client.post('/v1/ensure', ensureBody(PRIVATE, never));
    const missing = await client.post('/v1/ensure', ensureBody(absent, never));
    expect(forbidden.status).toBe(403);
    expect(forbidden.json.error?.code).toBe('ErrImageNeverPull');
    expect(missing.status).toBe(forbidden.status);
    expect(missing.text.replace(absent, PRIVATE)).toBe(forbidden.text);
  });

  it.each([
    { name: 'as base64', secret: (data: object) => base64(data) },
    { name: 'as JSON', secret: (data: object) => data },
    {
      name: 'as the Kubernetes API has it',
      secret: (data: object) => ({ '.dockerconfigjson': base64(data) }),
    },
  ])('takes a secret $name', async ({ secret }) => {
    const { client } = await startAgent();
    const auths = { 'registry.example.com': { auth: btoa('a:password-of-a') } };
    const reply = await client.post(
      '/v1/ensure',
      ensureBody(PRIVATE, { secrets: [{ ...A, data: secret({ auths }) }] }),
    );
    expect(reply.json).toEqual({ imageRef: PRIVATE_ID, pulled: true });
  });

  it('takes a secret in the older form', async () => {
    const { client } = await startAgent();
    const old = { 'registry.example.com': { username: 'a', password: 'password-of-a' } };
    const secrets = [{ ...A, type: 'kubernetes.io/dockercfg', data: old }];
    const reply = await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets }));
    expect(reply.status).toBe(200);
  });

  it.each([
    { name: 'no image name', image: 'UPPER', status: 400, code: 'ErrInvalidImageName' },
    { name: 'unknown to the registry', image: 'registry.example.com/x', status: 404 },
  ])(
    'answers $status where the image is $name',
    async ({ image, status, code = 'ErrImagePull' }) => {
      const { client } = await startAgent();
      const reply = await client.post('/v1/ensure', ensureBody(image));
      expect(reply).toMatchObject({ status, json: { error: { code } } });
    },
  );

  it('answers 429 while it backs off', async () => {
    const { client, runtime } = await startAgent();
    runtime.onPull = () => Promise.reject(failed('other', 'broken'));
    const first = await client.post('/v1/ensure', ensureBody(PUBLIC));
    expect(first).toMatchObject({ status: 502, json: { error: { code: 'ErrImagePull' } } });
    const second = await client.post('/v1/ensure', ensureBody(PUBLIC));
    expect(second).toMatchObject({ status: 429, json: { error: { code: 'ErrImagePullBackOff' } } });
    expect(Number(second.headers['retry-after'])).toBeGreaterThan(0);
  });

  it.each([
    { kind: 'unavailable', status: 503 },
    { kind: 'timeout', status: 504 },
    { kind: 'protocol', status: 502 },
  ] as const)('answers $status where the runtime fails as $kind', async ({ kind, status }) => {
    const { client, runtime } = await startAgent();
    runtime.onStatus = () => Promise.reject(failed(kind, 'no answer'));
    const reply = await client.post('/v1/ensure', ensureBody(PUBLIC));
    expect(reply).toMatchObject({ status, json: { error: { code: 'ErrImageInspect', kind } } });
  });

  it('names the secret that is none, and not what is in it', async () => {
    const { client } = await startAgent();
    const secrets = [A, { ...B, data: base64({ auths: { 'registry.example.com': { auth: 7 } } }) }];
    const reply = await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets }));
    expect(reply).toMatchObject({ status: 400, json: { error: { code: 'ErrImageCredentials' } } });
    expect(reply.text).toContain('team-b');
    expect(reply.text).not.toContain('password');
  });

  it('does not blame the client for a damaged file of the node', async () => {
    const file = join(await temporaryDirectory(), 'config.json');
    await writeFile(file, '{}');
    const { client } = await startAgent({ credentials: { nodeConfigFiles: [file] } });
    await writeFile(file, '{ "auths": 7 }');
    const reply = await client.post('/v1/ensure', ensureBody(PRIVATE));
    expect(reply).toMatchObject({ status: 502, json: { error: { code: 'ErrImageCredentials' } } });
    expect(reply.text).toContain(file);
  });

  it('aborts the pull of a client that hangs up, and keeps its intent as long as it is open', async () => {
    const { client, runtime, pullManager, log } = await startAgent();
    const { promise: began, resolve: begin } = deferred<AbortSignal>();
    runtime.onPull = (_image, _auth, signal) => {
      begin(signal!);
      return new Promise((_, reject) => {
        signal!.addEventListener('abort', () => reject(signal!.reason as Error));
      });
    };
    const connection = client.connect();
    const body = JSON.stringify(ensureBody(PUBLIC));
    connection.write(`POST /v1/ensure HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const signal = await began;
    expect(signal.aborted).toBe(false);
    connection.socket.destroy();
    await until(() => signal.aborted);
    await until(async () => (await intentsOf(pullManager)).length === 0);
    await until(() => log.lines.some(({ message, fields }) => isServed(message, fields, 0)));
    // Nobody has waited for it in vain.
    runtime.onPull = undefined;
    const reply = await client.post('/v1/ensure', ensureBody(PUBLIC, { podUid: 'pod-2' }));
    expect(reply.json).toEqual({ imageRef: PUBLIC_ID, pulled: true });
  });
});

describe('POST /v1/check', () => {
  it('says whether a pod may use the image on the node, and why', async () => {
    const { client } = await startAgent();
    await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    const proven = await client.post('/v1/check', { image: PRIVATE, secrets: [A] });
    expect(proven.json).toEqual({
      imageRef: PRIVATE_ID,
      mustPull: false,
      reason: 'credentialRecordFound',
      detail: 'A pull secret of the pod has opened this image before.',
    });
    const other = await client.post('/v1/check', { image: PRIVATE, secrets: [B] });
    expect(other.json).toMatchObject({ mustPull: true, reason: 'mustAuthenticate' });
    const absent = await client.post('/v1/check', { image: PUBLIC });
    expect(absent.json).toMatchObject({ imageRef: '', mustPull: true });
    const given = await client.post('/v1/check', { image: 'x', imageRef: 'sha256:other' });
    expect(given.json).toMatchObject({ imageRef: 'sha256:other', mustPull: false });
  });

  it('pulls nothing', async () => {
    const { client, runtime } = await startAgent();
    await client.post('/v1/check', { image: PRIVATE, secrets: [A] });
    expect(runtime.pulls).toEqual([]);
  });

  it('tells why credentials could not be looked up', async () => {
    const { client } = await startAgent();
    await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    const secrets = [{ ...A, data: { auths: [] } }];
    const reply = await client.post('/v1/check', { image: PRIVATE, secrets });
    expect(reply.status).toBe(400);
    expect(reply.json.error?.code).toBe('ERR_PULLMANAGER_CREDENTIALS_INVALID');
  });
});

describe('GET /v1/images', () => {
  it('lists what is on the node and who has proven access to it, without hashes', async () => {
    const { client, runtime, pullManager } = await startAgent();
    await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
    await client.post('/v1/ensure', ensureBody(PUBLIC));
    runtime.have('imported:1', 'sha256:imported');
    await pullManager.recordPullIntent('interrupted:1');
    await pullManager.recordImagePulled('gone', 'sha256:gone', null);
    const { status, json, text } = await client.get('/v1/images');
    expect(status).toBe(200);
    const lastUpdatedTime = expect.any(String);
    const coordinates = { uid: 'uid-a', namespace: 'team-a', name: 'pull' };
    const proof = { everyPod: false, secrets: [coordinates], serviceAccounts: [] };
    expect(json).toEqual({
      images: [
        {
          imageRef: PRIVATE_ID,
          repoTags: [PRIVATE],
          repoDigests: [],
          record: {
            imageRef: PRIVATE_ID,
            lastUpdatedTime,
            proofs: { 'registry.example.com/team-a/app': proof },
          },
        },
        {
          imageRef: PUBLIC_ID,
          repoTags: [PUBLIC],
          repoDigests: [],
          record: {
            imageRef: PUBLIC_ID,
            lastUpdatedTime,
            proofs: {
              'registry.example.com/public/tool': {
                everyPod: true,
                secrets: [],
                serviceAccounts: [],
              },
            },
          },
        },
        {
          imageRef: 'sha256:imported',
          repoTags: ['imported:1'],
          repoDigests: [],
          record: null,
        },
      ],
      recordsWithoutImage: [{ imageRef: 'sha256:gone', lastUpdatedTime, proofs: {} }],
      intents: ['interrupted:1'],
      errors: [],
    });
    expect(text).not.toMatch(/hash|password|[0-9a-f]{64}/i);
  });

  it('lists thousands of images in whole', async () => {
    const { client, runtime } = await startAgent();
    const count = 5_000;
    for (let i = 0; i < count; i++) runtime.have(`many:${i}`, `sha256:${i}`);
    const { json } = await client.get('/v1/images');
    expect((json.images as unknown[]).length).toBe(count);
  });

  it('answers 503 where the runtime cannot be reached', async () => {
    const { client, runtime } = await startAgent();
    runtime.onList = () => Promise.reject(failed('unavailable', 'no socket'));
    const reply = await client.get('/v1/images');
    expect(reply).toMatchObject({
      status: 503,
      json: { error: { code: 'ERR_PULLMANAGER_RUNTIME_FAILED', kind: 'unavailable' } },
    });
  });
});

describe('POST /v1/collect', () => {
  it.each([{ body: {} }, { body: '' }])(
    'deletes records of images that are gone',
    async ({ body }) => {
      const { client, runtime } = await startAgent();
      await client.post('/v1/ensure', ensureBody(PRIVATE, { secrets: [A] }));
      await client.post('/v1/ensure', ensureBody(PUBLIC));
      await runtime.removeImage(PRIVATE);
      // Records of this very second stay.
      await until(async () => {
        const reply = await client.post('/v1/collect', body);
        expect(reply.status).toBe(200);
        return reply.json.kept === 1;
      });
      const { json } = await client.get('/v1/images');
      expect((json.images as { imageRef: string }[]).map(({ imageRef }) => imageRef)).toEqual([
        PUBLIC_ID,
      ]);
      expect(json.recordsWithoutImage).toEqual([]);
    },
  );
});

describe('the small paths', () => {
  it('expose the metrics of all parts', async () => {
    const { client } = await startAgent();
    await client.post('/v1/ensure', ensureBody(PUBLIC));
    await client.get('/nowhere');
    const { status, headers, text } = await client.get('/metrics');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toContain('kubelet_imagemanager_ondisk_pulledrecords 1\n');
    expect(text).toContain('kubelet_image_manager_ensure_image_requests_total{');
    expect(text).toContain(
      'pullwarden_agent_requests_total{method="POST",route="/v1/ensure",status="200"} 1\n',
    );
    expect(text).toContain(
      'pullwarden_agent_requests_total{method="GET",route="other",status="404"} 1\n',
    );
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [\d.e+-]+)$/);
    }
  });

  it('say that the agent lives, and whether it can do its work', async () => {
    const { agent, client, runtime } = await startAgent();
    const health = async (): Promise<unknown> => (await client.get('/healthz')).json;
    const gauge = async (): Promise<string | undefined> =>
      /^pullwarden_agent_runtime_reachable (\d)$/m.exec((await client.get('/metrics')).text)?.[1];
    expect(await client.get('/readyz')).toMatchObject({ status: 200, json: { status: 'ready' } });
    // Nobody watches the runtime yet: that answer may be old.
    expect(await health()).toEqual({ status: 'ok' });
    expect(await gauge()).toBeUndefined();
    await agent.runtime.start();
    expect(await health()).toEqual({ status: 'ok', runtime: 'reachable' });
    expect(await gauge()).toBe('1');
    runtime.onList = () => Promise.reject(failed('unavailable', 'no socket'));
    expect(await client.get('/readyz')).toMatchObject({
      status: 503,
      json: {
        error: {
          code: 'ERR_AGENT_NOT_READY',
          message: 'the container runtime cannot be reached: no socket',
        },
      },
    });
    expect(await client.get('/healthz')).toMatchObject({
      status: 200,
      json: { status: 'ok', runtime: 'unreachable' },
    });
    expect(await gauge()).toBe('0');
  });
});

function base64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}

function isServed(message: string, fields: Record<string, unknown>, status: number): boolean {
  return message === 'request' && fields.status === status;
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((succeed) => {
    resolve = succeed;
  });
  return { promise, resolve };
}
