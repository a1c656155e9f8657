/** Sockets on which there is no container runtime, or a broken one. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

/** What is at the path of the socket. */
export type RuntimeFault =
  /** Nothing. */
  | 'absent'
  /** A regular file. */
  | 'file'
  /** A socket that a dead process has left behind. */
  | 'refuses'
  /** Accepts connections, and closes them. */
  | 'closes'
  /** Accepts connections, and says nothing. */
  | 'silent'
  /** Says random bytes. */
  | 'garbage'
  /** Speaks HTTP/1.1. */
  | 'http1'
  /** Speaks HTTP/2, and never answers a request. */
  | 'hangs'
  /** Speaks HTTP/2, and answers every request with a page for people. */
  | 'html'
  /** Speaks gRPC, and knows none of the methods. */
  | 'unimplemented'
  /** Speaks gRPC, and answers what is no message. */
  | 'nonsense';

const GARBAGE_BYTES = 4096;
const GRPC_HEADERS = { ':status': 200, 'content-type': 'application/grpc' };
const GRPC_UNIMPLEMENTED = 12;
/** Uncompressed, of eight bytes that are no protobuf. */
const NONSENSE = Buffer.from('0000000008ffffffffffffffff', 'hex');

const SERVERS: Readonly<
  Record<Exclude<RuntimeFault, 'absent' | 'file' | 'refuses'>, () => Server>
> = {
  closes: () => createServer((socket) => socket.end()),
  silent: () => createServer((socket) => socket.resume()),
  garbage: () => createServer((socket) => socket.end(randomBytes(GARBAGE_BYTES))),
  http1: () => createHttpServer((_request, response) => response.writeHead(404).end('not here')),
  hangs: () => http2Server((stream) => stream.resume()),
  html: () =>
    http2Server((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'text/html' });
      stream.end('<p>Please sign in.');
    }),
  unimplemented: () =>
    http2Server((stream) => {
      const failure = { 'grpc-status': GRPC_UNIMPLEMENTED, 'grpc-message': 'unknown service' };
      stream.respond({ ...GRPC_HEADERS, ...failure }, { endStream: true });
    }),
  nonsense: () =>
    http2Server((stream) => {
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }));
      stream.respond(GRPC_HEADERS, { waitForTrailers: true });
      stream.end(NONSENSE);
    }),
};

/** A path where a runtime should listen. */
export class BadRuntime implements AsyncDisposable {
  readonly socket: string;
  readonly #server: Server | undefined;
  readonly #connections = new Set<Socket>();

  private constructor(socket: string, server?: Server) {
    this.socket = socket;
    this.#server = server;
    server?.on('connection', (connection: Socket) => {
      connection.on('error', () => {}).on('close', () => this.#connections.delete(connection));
      this.#connections.add(connection);
    });
  }

  /** @param directory An existing one, in which the socket is named after the fault. */
  static async start(fault: RuntimeFault, directory: string): Promise<BadRuntime> {
    const socket = join(directory, `${fault}.sock`);
    if (fault === 'absent') return new BadRuntime(socket);
    if (fault === 'file') {
      await writeFile(socket, '');
      return new BadRuntime(socket);
    }
    const server = fault === 'refuses' ? createServer() : SERVERS[fault]();
    const runtime = new BadRuntime(socket, server);
    if (fault === 'refuses') {
      // Closing removes the path that was listened on, so the socket gets another one before.
      server.listen(`${socket}.live`);
      await once(server, 'listening');
      await rename(`${socket}.live`, socket);
      await runtime[Symbol.asyncDispose]();
    } else {
      server.listen(socket);
      await once(server, 'listening');
    }
    return runtime;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server;
    if (server === undefined || !server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }
}

function http2Server(answer: (stream: ServerHttp2Stream) => void): Server {
  // Clients that go away in the middle are to be expected here.
  return createHttp2Server().on('stream', (stream) => answer(stream.on('error', () => {})));
}
