/** Servers on a unix socket that a CRI client may meet: a runtime by script, and what is none. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttp2, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../../src/runtime/cri/cri.proto', import.meta.url));

/** A directory with a short path, for sockets; removed with what is in it. */
export class SocketDirectory implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<SocketDirectory> {
    return new SocketDirectory(await mkdtemp(join(tmpdir(), 'cri-')));
  }

  get socket(): string {
    return join(this.path, 'runtime.sock');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** A server on a socket. Stopping it cuts its connections. */
export interface ScriptedServer extends AsyncDisposable {
  stop(): Promise<void>;
}

/** A gRPC server with the image service; calls without a handler are UNIMPLEMENTED. */
export async function grpcRuntime(
  socket: string,
  handlers: UntypedServiceImplementation,
  options: ServerOptions = {},
): Promise<ScriptedServer> {
  const definitions = loadSync(PROTO, { defaults: true, arrays: true, longs: Number });
  const server = new Server(options);
  for (const service of ['runtime.v1.ImageService', 'runtime.v1.RuntimeService']) {
    server.addService(definitions[service] as ServiceDefinition, handlers);
  }
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const stop = async () => server.forceShutdown();
  return { stop, [Symbol.asyncDispose]: stop };
}

/** An HTTP/2 server that does with each call what it is told. */
export async function http2Runtime(
  socket: string,
  onCall: (stream: ServerHttp2Stream, session: Http2Session) => void,
): Promise<ScriptedServer> {
  const server = createHttp2();
  const sessions = new Set<Http2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    // Only once the call has arrived as a whole.
    stream.on('end', () => onCall(stream, stream.session!));
    stream.resume();
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const stop = async () => {
    for (const session of sessions) session.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

/** A server that does with each connection what it is told. */
export async function rawServer(
  socket: string,
  onConnection: (connection: Socket) => void,
): Promise<ScriptedServer> {
  const connections = new Set<Socket>();
  const server = createServer((connection) => {
    connections.add(connection);
    connection.on('error', () => {});
    connection.on('close', () => connections.delete(connection));
    onConnection(connection);
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const stop = async () => {
    for (const connection of connections) connection.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

/** A message as gRPC sends it: a byte for compression, the length, the bytes. */
export function grpcFrame(message: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}
