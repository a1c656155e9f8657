import { readdirSync, readlinkSync } from 'node:fs';
import { type ServerOptions, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CriRuntimeOptions, criRuntime } from '../../../src/runtime/cri/cri-runtime.ts';
import { runNode } from './run-node.ts';
import { grpcRuntime, type ScriptedServer, SocketDirectory } from './scripted-runtime.ts';

const IMAGE = 'registry.example.com/team/app:1';
const ID = `sha256:${'a'.repeat(64)}`;
const CRI_IMAGE = {
  id: ID,
  repoTags: [IMAGE],
  repoDigests: [`registry.example.com/team/app@sha256:${'b'.repeat(64)}`],
  size: 12_345_678_901,
  pinned: true,
};

type Handlers = UntypedServiceImplementation;
type Call = { readonly request: Record<string, unknown> };
type Answer = (error: object | null, response?: object) => void;

let directory: SocketDirectory;
const open: (ScriptedServer | ReturnType<typeof criRuntime>)[] = [];

beforeEach(async () => {
  directory = await SocketDirectory.create();
});

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

function client(options: Partial<CriRuntimeOptions> = {}) {
  const runtime = criRuntime({ socket: directory.socket, ...options });
  open.push(runtime);
  return runtime;
}

async function serve(handlers: Handlers, options?: ServerOptions) {
  const server = await grpcRuntime(directory.socket, handlers, options);
  open.push(server);
  return server;
}

describe('criRuntime', () => {
  it.each([
    ['no text', 7],
    ['nothing', ''],
    ['a relative path', 'run/containerd.sock'],
    ['a relative address', 'unix://run/containerd.sock'],
    ['another scheme', 'tcp://127.0.0.1:1234'],
    ['an abstract socket', 'unix-abstract:containerd'],
    ['a NUL', '/run/\0containerd.sock'],
    ['a line break', 'unix:///run/a\nb'],
    ['more than the path of a socket may have', `/${'x'.repeat(107)}`],
  ])('refuses as a socket: %s', (_name, socket) => {
    expect(() => criRuntime({ socket: socket as string })).toThrow(
      expect.objectContaining({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        argument: 'options.socket',
      }),
    );
  });

  it('takes a socket as an address and as a path', () => {
    expect(criRuntime({ socket: 'unix:///run/a b%20.sock' }).socketPath).toBe('/run/a b%20.sock');
    expect(criRuntime({ socket: '/run/c.sock' }).socketPath).toBe('/run/c.sock');
  });

  it.each(['timeoutMs', 'pullTimeoutMs'])('refuses %s that is no time', (name) => {
    for (const value of [0, -1, 1.5, 2 ** 31, Number.NaN, '5']) {
      expect(() => criRuntime({ socket: '/run/c.sock', [name]: value })).toThrow(
        expect.objectContaining({ argument: `options.${name}` }),
      );
    }
    criRuntime({ socket: '/run/c.sock', [name]: 1 });
    criRuntime({ socket: '/run/c.sock', [name]: 2 ** 31 - 1 });
  });

  it.each([
    ['imageStatus', 'image', [7]],
    ['pullImage', 'image', [undefined]],
    ['removeImage', 'image', [null]],
    ['pullImage', 'auth', [IMAGE, null]],
    ['pullImage', 'auth.username', [IMAGE, { username: 7 }]],
    ['listImages', 'signal', [{}]],
  ] as const)('%s refuses a wrong %s', async (method, argument, values) => {
    const runtime = client() as unknown as Record<
      string,
      (...values: readonly unknown[]) => Promise<unknown>
    >;
    await expect(runtime[method]!(...values)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      argument,
    });
  });
});

describe('a CRI client', () => {
  it('finds the socket whatever characters are in its name', async () => {
    const socket = `${directory.path}/a b%20?#é.sock`;
    open.push(
      await grpcRuntime(socket, { ListImages: (_call: Call, answer: Answer) => answer(null, {}) }),
    );
    expect(await client({ socket: `unix://${socket}` }).listImages()).toEqual([]);
  });

  it('lists images with all that is known of them', async () => {
    await serve({
      ListImages: (_call: Call, answer: Answer) =>
        answer(null, { images: [CRI_IMAGE, { id: 'b' }] }),
    });
    const { size, ...rest } = CRI_IMAGE;
    expect(await client().listImages()).toEqual([
      { ...rest, sizeBytes: size },
      { id: 'b', repoTags: [], repoDigests: [], sizeBytes: 0, pinned: false },
    ]);
  });

  it('takes a list of 10,000 images with several names each', async () => {
    const images = Array.from({ length: 10_000 }, (_, i) => ({
      ...CRI_IMAGE,
      id: `sha256:${i}`,
      repoTags: Array.from({ length: 8 }, (__, n) => `registry.example.com/team-${n}/app-${i}:v1`),
    }));
    await serve(
      { ListImages: (_call: Call, answer: Answer) => answer(null, { images }) },
      { 'grpc.max_send_message_length': -1 },
    );
    const listed = await client().listImages();
    expect(listed).toHaveLength(images.length);
    expect(listed.at(-1)).toMatchObject({ id: 'sha256:9999', repoTags: images.at(-1)!.repoTags });
  });

  it('finds an image, and answers undefined where there is none', async () => {
    const asked: unknown[] = [];
    await serve({
      ImageStatus: ({ request }: Call, answer: Answer) => {
        asked.push(request);
        answer(null, asked.length === 1 ? { image: CRI_IMAGE } : {});
      },
    });
    const runtime = client();
    expect((await runtime.imageStatus(IMAGE))?.id).toBe(ID);
    expect(await runtime.imageStatus('')).toBeUndefined();
    expect(asked).toEqual([{ image: { image: IMAGE } }, { image: { image: '' } }]);
  });

  it('pulls with a credential, or with none', async () => {
    const asked: unknown[] = [];
    await serve({
      PullImage: ({ request }: Call, answer: Answer) => {
        asked.push(request);
        answer(null, { imageRef: ID });
      },
    });
    const runtime = client();
    const auth = { username: 'u', password: 'p', email: 'e@example.com', serverAddress: 'r.io' };
    expect(await runtime.pullImage(IMAGE, auth)).toBe(ID);
    expect(await runtime.pullImage(IMAGE, undefined)).toBe(ID);
    const none = { auth: '', identityToken: '', registryToken: '' };
    expect(asked).toEqual([
      {
        image: { image: IMAGE },
        auth: { ...none, username: 'u', password: 'p', serverAddress: 'https://r.io' },
      },
      { image: { image: IMAGE }, auth: null },
    ]);
  });

  it('answers the id also where the runtime answers a pull with a digest of the repository', async () => {
    const digest = CRI_IMAGE.repoDigests[0]!;
    await serve({
      PullImage: (_call: Call, answer: Answer) => answer(null, { imageRef: digest }),
      ImageStatus: ({ request }: Call, answer: Answer) => {
        const isAsked = (request.image as { image: string }).image === digest;
        answer(null, isAsked ? { image: CRI_IMAGE } : {});
      },
    });
    expect(await client().pullImage(IMAGE, undefined)).toBe(ID);
  });

  it.each([
    ['answers no id', { imageRef: '' }, 'the answer names no image'],
    ['answers what it then does not have', { imageRef: 'r.io/a@sha256:1' }, 'does not have'],
  ])('does not take a pull for answered that %s', async (_name, response, text) => {
    await serve({
      PullImage: (_call: Call, answer: Answer) => answer(null, response),
      ImageStatus: (_call: Call, answer: Answer) => answer(null, {}),
    });
    await expect(client().pullImage(IMAGE, undefined)).rejects.toMatchObject({
      kind: 'protocol',
      answered: false,
      image: IMAGE,
      message: expect.stringContaining(text) as string,
    });
  });

  it('does not take a pull for answered whose image cannot be looked at', async () => {
    await serve({
      PullImage: (_call: Call, answer: Answer) => answer(null, { imageRef: 'r.io/a@sha256:1' }),
      ImageStatus: (_call: Call, answer: Answer) =>
        answer({ code: status.UNKNOWN, details: 'broken' }),
    });
    await expect(client().pullImage(IMAGE, undefined)).rejects.toMatchObject({ answered: false });
  });

  it('takes no image without an id, and no list with one', async () => {
    await serve({
      ImageStatus: (_call: Call, answer: Answer) => answer(null, { image: { repoTags: ['a'] } }),
      ListImages: (_call: Call, answer: Answer) => answer(null, { images: [CRI_IMAGE, {}] }),
    });
    const runtime = client();
    await expect(runtime.imageStatus('a')).rejects.toMatchObject({ kind: 'protocol' });
    await expect(runtime.listImages()).rejects.toMatchObject({ kind: 'protocol' });
  });

  it('removes an image, tells what images take up, and who the runtime is', async () => {
    const removed: unknown[] = [];
    await serve({
      RemoveImage: ({ request }: Call, answer: Answer) => {
        removed.push(request);
        answer(null, {});
      },
      ImageFsInfo: (_call: Call, answer: Answer) =>
        answer(null, {
          imageFilesystems: [
            {
              timestamp: 1_795_416_345_901_000_000,
              fsId: { mountpoint: '/images' },
              usedBytes: { value: 4096 },
              inodesUsed: { value: 3 },
            },
          ],
        }),
      Version: (_call: Call, answer: Answer) =>
        answer(null, {
          version: '0.1.0',
          runtimeName: 'r',
          runtimeVersion: '1',
          runtimeApiVersion: 'v1',
        }),
    });
    const runtime = client();
    await runtime.removeImage(ID);
    expect(removed).toEqual([{ image: { image: ID } }]);
    expect(await runtime.imageFsInfo()).toEqual([
      {
        mountpoint: '/images',
        usedBytes: 4096,
        inodesUsed: 3,
        measuredAt: new Date(1_795_416_345_901),
      },
    ]);
    expect(await runtime.version()).toEqual({
      runtimeName: 'r',
      runtimeVersion: '1',
      runtimeApiVersion: 'v1',
    });
  });

  it('makes more calls at a time than the runtime takes streams', async () => {
    await serve(
      {
        ImageStatus: ({ request }: Call, answer: Answer) =>
          answer(null, { image: { id: (request.image as { image: string }).image } }),
      },
      { 'grpc.max_concurrent_streams': 4 },
    );
    const runtime = client();
    const names = Array.from({ length: 500 }, (_, i) => `image-${i}`);
    const found = await Promise.all(names.map((name) => runtime.imageStatus(name)));
    expect(found.map((image) => image?.id)).toEqual(names);
  });

  it('finds a runtime that was started again, and one that was not there at first', async () => {
    const handlers = { ListImages: (_call: Call, answer: Answer) => answer(null, {}) };
    const runtime = client();
    await expect(runtime.listImages()).rejects.toMatchObject({ kind: 'unavailable' });
    for (let round = 0; round < 3; round++) {
      const server = await serve(handlers);
      await untilAnswered(runtime);
      await server.stop();
      await expect(runtime.listImages()).rejects.toMatchObject({ kind: 'unavailable' });
    }
  });

  it('refuses calls once it is closed, and may be closed again', async () => {
    await serve({ ListImages: (_call: Call, answer: Answer) => answer(null, {}) });
    const runtime = client();
    await runtime.listImages();
    await runtime.close();
    await runtime.close();
    await expect(runtime.listImages()).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
  });

  it('refuses a call that is still loading gRPC when it is closed', async () => {
    const runtime = client();
    const listing = runtime.listImages();
    await runtime.close();
    await expect(listing).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
  });

  it('does not keep a process alive when nothing is under way', async () => {
    await serve({ ListImages: (_call: Call, answer: Answer) => answer(null, {}) });
    const url = new URL('../../../src/runtime/cri/cri-runtime.ts', import.meta.url).href;
    const code = `
      const { criRuntime } = await import(${JSON.stringify(url)});
      const runtime = criRuntime({ socket: ${JSON.stringify(directory.socket)} });
      console.log(JSON.stringify(await runtime.listImages()));
      const absent = criRuntime({ socket: '/nonexistent/runtime.sock' });
      await absent.listImages().catch((error) => console.log(error.kind));
    `;
    expect(await runNode(code)).toBe('[]\nunavailable\n');
  });

  it('loads gRPC with the first call only', async () => {
    const url = new URL('../../../src/runtime/cri/cri-runtime.ts', import.meta.url).href;
    const code = `
      import { createRequire } from 'node:module';
      const { criRuntime } = await import(${JSON.stringify(url)});
      const loaded = () =>
        Object.keys(createRequire(${JSON.stringify(url)}).cache).some((path) => path.includes('grpc'));
      const runtime = criRuntime({ socket: '/nonexistent/runtime.sock' });
      const before = loaded();
      await runtime.listImages().catch(() => {});
      console.log(before, loaded());
    `;
    expect(await runNode(code)).toBe('false true\n');
  });

  it('leaves no socket open once it is closed', async () => {
    await serve({ ListImages: (_call: Call, answer: Answer) => answer(null, {}) });
    const before = openSockets();
    const runtime = client();
    await runtime.listImages();
    await runtime.close();
    await expect.poll(openSockets).toBeLessThanOrEqual(before);
  });
});

/** A runtime that has just been started is reached after one delay between attempts at most. */
async function untilAnswered(runtime: ReturnType<typeof criRuntime>): Promise<void> {
  await expect
    .poll(() => runtime.listImages().catch((error: { kind: string }) => error.kind), {
      interval: 5,
    })
    .toEqual([]);
}

function openSockets(): number {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}
