import { getEventListeners } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CriRuntimeOptions, criRuntime } from '../../../src/runtime/cri/cri-runtime.ts';
import { isUnanswered } from '../../../src/runtime/image-runtime.ts';
import {
  grpcFrame,
  grpcRuntime,
  http2Runtime,
  rawServer,
  type ScriptedServer,
  SocketDirectory,
} from './scripted-runtime.ts';

const IMAGE = 'registry.example.com/team/app:1';
const ID = `sha256:${'a'.repeat(64)}`;
/** Long enough for a loaded machine, where nothing is to end by it. */
const TIMEOUT_MS = 30_000;
const SHORT_TIMEOUT_MS = 100;

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
  const limits = { timeoutMs: TIMEOUT_MS, pullTimeoutMs: TIMEOUT_MS };
  const runtime = criRuntime({ socket: directory.socket, ...limits, ...options });
  open.push(runtime);
  return runtime;
}

async function keep<Server extends ScriptedServer>(server: Promise<Server>): Promise<Server> {
  const started = await server;
  open.push(started);
  return started;
}

const serve = (handlers: UntypedServiceImplementation) =>
  keep(grpcRuntime(directory.socket, handlers));

/** What a pull fails with. */
async function failureOf(pull: Promise<unknown>) {
  return await pull.then(
    () => expect.unreachable('the pull must fail'),
    (error: unknown) => error as Error & { kind: string; answered: boolean },
  );
}

const HEADERS = { ':status': 200, 'content-type': 'application/grpc' };
const PULLED = grpcFrame(Buffer.concat([Buffer.from([0x0a, ID.length]), Buffer.from(ID)]));

describe('a failure that the runtime has told', () => {
  it.each([
    ['denied', status.UNKNOWN, 'pull access denied'],
    ['notFound', status.NOT_FOUND, 'not found'],
    ['corrupt', status.FAILED_PRECONDITION, 'unexpected commit digest'],
    ['denied', status.PERMISSION_DENIED, 'no'],
    ['denied', status.UNAUTHENTICATED, 'no'],
    ['invalidName', status.INVALID_ARGUMENT, 'invalid reference format'],
    ['corrupt', status.DATA_LOSS, 'lost'],
  ] as const)('is an answer: %s', async (kind, code, details) => {
    await serve({ PullImage: (_call: unknown, answer: Answer) => answer({ code, details }) });
    const failure = await failureOf(client().pullImage(IMAGE, undefined));
    expect(failure).toMatchObject({
      code: 'ERR_PULLMANAGER_RUNTIME_FAILED',
      kind,
      answered: true,
      image: IMAGE,
      path: directory.socket,
      reason: details,
    });
    expect(isUnanswered(failure)).toBe(false);
    expect(failure.message).toContain(status[code]);
    expect(failure.message).toContain(details);
    expect(failure.message).toContain(IMAGE);
    expect(failure.message).toContain(directory.socket);
  });

  it.each([
    ['unavailable', status.UNAVAILABLE],
    ['unavailable', status.CANCELLED],
    ['timeout', status.DEADLINE_EXCEEDED],
    ['other', status.INTERNAL],
    ['other', status.RESOURCE_EXHAUSTED],
    ['protocol', status.UNIMPLEMENTED],
  ] as const)(
    'is none where the code leaves open what became of the pull: %s',
    async (kind, code) => {
      await serve({
        PullImage: (_call: unknown, answer: Answer) => answer({ code, details: 'x' }),
      });
      const failure = await failureOf(client().pullImage(IMAGE, undefined));
      expect(failure).toMatchObject({ kind, answered: false });
    },
  );
});

describe('a pull of which the runtime has lost sight', () => {
  it.each(['context canceled', 'failed to fetch: context deadline exceeded'])(
    'is not answered: %s',
    async (details) => {
      await serve({
        PullImage: (_call: unknown, answer: Answer) => answer({ code: status.UNKNOWN, details }),
      });
      const failure = await failureOf(client().pullImage(IMAGE, undefined));
      expect(failure).toMatchObject({ answered: false });
    },
  );
});

describe('a pull that is not answered', () => {
  it.each<[string, string, (stream: ServerHttp2Stream, session: Http2Session) => void]>([
    ['the runtime dies', 'unavailable', (_stream, session) => session.destroy()],
    [
      'the runtime dies after the headers',
      'unavailable',
      (stream, session) => {
        stream.respond(HEADERS);
        stream.write('', () => session.destroy());
      },
    ],
    [
      'the runtime dies between message and status',
      'unavailable',
      (stream, session) => {
        stream.respond(HEADERS);
        stream.write(PULLED, () => session.destroy());
      },
    ],
    ['the stream is reset', 'protocol', (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)],
    ['the stream is cancelled', 'unavailable', (stream) => stream.close(constants.NGHTTP2_CANCEL)],
    [
      'the stream is refused',
      'unavailable',
      (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM),
    ],
    [
      'the runtime wants calm',
      'protocol',
      (stream) => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM),
    ],
    [
      'the runtime calls the connection insecure',
      'protocol',
      (stream) => stream.close(constants.NGHTTP2_INADEQUATE_SECURITY),
    ],
    [
      'the stream ends without a status',
      'protocol',
      (stream) => {
        stream.respond(HEADERS);
        stream.end(PULLED);
      },
    ],
    [
      'the trailers have no status',
      'protocol',
      (stream) => {
        stream.respond(HEADERS, { waitForTrailers: true });
        stream.on('wantTrailers', () =>
          stream.sendTrailers({ 'content-type': 'application/grpc' }),
        );
        stream.end(PULLED);
      },
    ],
    [
      'the status is success without a message',
      'protocol',
      (stream) => stream.respond({ ...HEADERS, 'grpc-status': '0' }, { endStream: true }),
    ],
    [
      'the status is no number',
      'protocol',
      (stream) => stream.respond({ ...HEADERS, 'grpc-status': 'x' }, { endStream: true }),
    ],
    [
      'the status is unknown to gRPC',
      'protocol',
      (stream) => stream.respond({ ...HEADERS, 'grpc-status': '99' }, { endStream: true }),
    ],
    [
      'an error of gRPC comes after headers, as from who knows whom',
      'protocol',
      (stream) => {
        stream.respond(HEADERS, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '2' }));
        stream.end();
      },
    ],
    ...[400, 401, 403, 404, 418, 500, 503].map(
      (code): [string, string, (stream: ServerHttp2Stream) => void] => [
        `HTTP status ${code} is answered, even as gRPC`,
        code === 503 ? 'unavailable' : 'protocol',
        (stream) => stream.respond({ ...HEADERS, ':status': code }, { endStream: true }),
      ],
    ),
    [
      'a page is answered',
      'protocol',
      (stream) => {
        stream.respond({ ':status': 403, 'content-type': 'text/html' });
        stream.end('<html>no</html>');
      },
    ],
    [
      'the message is garbage',
      'protocol',
      (stream) => {
        stream.respond(HEADERS, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(grpcFrame(Buffer.from([0x0a, 0xff, 0xff])));
      },
    ],
    [
      'the message is larger than any answer may be',
      'protocol',
      (stream) => {
        const header = Buffer.alloc(5);
        header.writeUInt32BE(2 ** 31, 1);
        stream.respond(HEADERS);
        stream.write(header);
      },
    ],
  ])('says so: %s', async (_name, kind, onCall) => {
    await keep(http2Runtime(directory.socket, onCall));
    const failure = await failureOf(client().pullImage(IMAGE, undefined));
    expect(failure).toMatchObject({ kind, answered: false, image: IMAGE });
    expect(isUnanswered(failure)).toBe(true);
  });

  it.each<[string, (stream: ServerHttp2Stream) => void]>([
    ['nothing was said', () => {}],
    [
      'the runtime goes on talking',
      (stream) => {
        stream.respond(HEADERS);
        stream.write(Buffer.concat([PULLED, PULLED]));
      },
    ],
  ])('says so when the time is up and %s', async (_name, onCall) => {
    await keep(http2Runtime(directory.socket, onCall));
    const runtime = client({ pullTimeoutMs: SHORT_TIMEOUT_MS });
    const failure = await failureOf(runtime.pullImage(IMAGE, undefined));
    expect(failure).toMatchObject({ kind: 'timeout', answered: false });
  });
});

describe('a socket that is none of a runtime', () => {
  it.each<[string, string, () => Promise<unknown>]>([
    ['absent', 'unavailable', async () => {}],
    ['a file', 'unavailable', () => writeFile(directory.socket, 'x')],
    [
      'hanging up',
      'unavailable',
      () => keep(rawServer(directory.socket, (connection) => connection.end())),
    ],
    [
      'an HTTP/1 server',
      'protocol',
      () =>
        keep(
          rawServer(directory.socket, (connection) => {
            connection.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
          }),
        ),
    ],
    [
      'speaking another protocol',
      'protocol',
      () =>
        keep(rawServer(directory.socket, (connection) => connection.write('ready\n'.repeat(99)))),
    ],
  ])('gives a typed error: %s', async (_name, kind, prepare) => {
    await prepare();
    const runtime = client();
    for (const call of [runtime.listImages(), runtime.pullImage(IMAGE, undefined)]) {
      expect(await failureOf(call)).toMatchObject({
        code: 'ERR_PULLMANAGER_RUNTIME_FAILED',
        kind,
        answered: false,
        message: expect.stringContaining(directory.socket) as string,
      });
    }
  });

  it('that takes connections and says nothing ends in a timeout, and is left when another comes', async () => {
    const connections: unknown[] = [];
    await keep(rawServer(directory.socket, (connection) => connections.push(connection)));
    const runtime = client({ timeoutMs: SHORT_TIMEOUT_MS });
    expect(await failureOf(runtime.listImages())).toMatchObject({ kind: 'timeout' });
    expect(connections).toHaveLength(1);
    // The old one lives on, as a runtime that hangs while its successor has taken the name.
    await rm(directory.socket);
    await serve({ ListImages: (_call: unknown, answer: Answer) => answer(null, {}) });
    await expect
      .poll(() => runtime.listImages().catch((error: { kind: string }) => error.kind))
      .toEqual([]);
  });
});

describe('a call that is aborted', () => {
  it('is not begun when the signal is aborted already', async () => {
    let calls = 0;
    await serve({
      PullImage: (_call: unknown, answer: Answer) => {
        calls++;
        answer(null, { imageRef: ID });
      },
    });
    const runtime = client();
    const reason = new Error('enough');
    const failure = await failureOf(runtime.pullImage(IMAGE, undefined, AbortSignal.abort(reason)));
    expect(failure).toMatchObject({ name: 'AbortError', kind: 'aborted', cause: reason });
    expect(await runtime.pullImage(IMAGE, undefined)).toBe(ID);
    expect(calls).toBe(1);
  });

  it('is not begun when the signal is aborted while gRPC is loaded', async () => {
    let calls = 0;
    await serve({
      PullImage: () => {
        calls++;
      },
      ListImages: (_call: unknown, answer: Answer) => answer(null, {}),
    });
    const runtime = client();
    const controller = new AbortController();
    const pull = failureOf(runtime.pullImage(IMAGE, undefined, controller.signal));
    controller.abort();
    // At once: loading takes longer than a turn of the event loop, and as long as the disk likes.
    const first = await Promise.race([pull, nextTurn('still waiting')]);
    expect(first).toMatchObject({ kind: 'aborted', answered: false });
    await runtime.listImages();
    expect(calls).toBe(0);
  });

  it('ends at once, and tells the runtime', async () => {
    const controller = new AbortController();
    const cancelled = deferred();
    await serve({
      PullImage: (call: { on(event: string, listener: () => void): void }) => {
        call.on('cancelled', cancelled.resolve);
        controller.abort(new Error('enough'));
      },
    });
    const failure = await failureOf(client().pullImage(IMAGE, undefined, controller.signal));
    expect(failure).toMatchObject({ kind: 'aborted', answered: false, image: IMAGE });
    await cancelled.promise;
  });

  it('ends a look at an image that is never answered, as it says of itself', async () => {
    const controller = new AbortController();
    await serve({ ImageStatus: () => controller.abort(new Error('enough')) });
    const runtime = client();
    expect(runtime.endsOnAbort).toBe(true);
    const failure = await failureOf(runtime.imageStatus(IMAGE, controller.signal));
    expect(failure).toMatchObject({ kind: 'aborted', image: IMAGE });
  });

  it('leaves no listener on a signal that many calls share, and has one at a time', async () => {
    await serve({
      ImageStatus: (_call: unknown, answer: Answer) => answer(null, {}),
      RemoveImage: (_call: unknown, answer: Answer) =>
        answer({ code: status.UNKNOWN, details: '' }),
    });
    const runtime = client();
    const { signal } = new AbortController();
    const most = { listeners: 0 };
    const add = signal.addEventListener.bind(signal);
    signal.addEventListener = (...parameters: Parameters<typeof add>) => {
      add(...parameters);
      most.listeners = Math.max(most.listeners, getEventListeners(signal, 'abort').length);
    };
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        if (i % 2 === 0) await runtime.imageStatus(IMAGE, signal);
        else await failureOf(runtime.removeImage(IMAGE, signal));
      }),
    );
    expect(most.listeners).toBe(1);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('ends all calls that share the signal', async () => {
    const controller = new AbortController();
    let waiting = 0;
    await serve({
      PullImage: () => {
        waiting++;
        if (waiting === 3) controller.abort();
      },
    });
    const runtime = client();
    const failures = ['a', 'b', 'c'].map((image) =>
      failureOf(runtime.pullImage(image, undefined, controller.signal)),
    );
    expect(await Promise.all(failures)).toMatchObject(
      ['a', 'b', 'c'].map((image) => ({ kind: 'aborted', image })),
    );
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('ends by close as well, unanswered', async () => {
    const runtime = client();
    await serve({ PullImage: () => void runtime.close() });
    const failure = await failureOf(runtime.pullImage(IMAGE, undefined));
    expect(failure).toMatchObject({ kind: 'aborted', answered: false });
  });
});

describe('secrets', () => {
  const auth = { username: 'alice', password: 'hunter2-hunter2', identityToken: 'identity-token' };
  const secrets = [
    'hunter2-hunter2',
    'identity-token',
    Buffer.from('alice:hunter2-hunter2').toString('base64'),
  ];
  const echo = secrets.join(' and ');

  it.each([
    ['in the text of a failure', { code: status.UNKNOWN, details: `denied: ${echo}` }, undefined],
    ['in the name of the image', null, { imageRef: echo }],
  ] as const)(
    'that a runtime repeats %s are in no part of the error',
    async (_name, error, response) => {
      await serve({
        PullImage: (_call: unknown, answer: Answer) => answer(error, response),
        ImageStatus: (_call: unknown, answer: Answer) =>
          answer({ code: status.UNKNOWN, details: `no ${echo}` }),
      });
      const runtime = client();
      const failure = await failureOf(runtime.pullImage(IMAGE, auth));
      const shown = [
        inspect(failure, { depth: 9, showHidden: true }),
        inspect(runtime, { depth: 9, showHidden: true }),
        failure.stack,
        JSON.stringify(failure),
      ].join('\n');
      for (const secret of secrets) expect(shown).not.toContain(secret);
      expect(failure.message).toContain('[redacted]');
    },
  );
});

function deferred() {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve: () => resolve() };
}
