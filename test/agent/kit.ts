/** An agent over a scripted runtime and real managers, served on a real socket, and its clients. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { Agent } from '../../src/agent/agent.ts';
import { logImageManager, pullManagerLog } from '../../src/agent/event-log.ts';
import type { ServerLimits } from '../../src/agent/limits.ts';
import type { AgentServices } from '../../src/agent/services.ts';
import {
  CredentialLookup,
  type CredentialLookupOptions,
} from '../../src/credentials/credential-lookup.ts';
import type { ImageManagerOptions } from '../../src/image-manager/options.ts';
import type { Logger } from '../../src/logger.ts';
import type { PullManagerOptions } from '../../src/options.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import { openBench, type ScriptedRuntime } from '../image-manager/kit.ts';

const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** Done after the test, the last first. */
export function afterTest(end: () => Promise<unknown>): void {
  ends.push(end);
}

/** A directory with a path short enough for sockets, removed after the test. */
export async function socketDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'pw-agent-'));
  afterTest(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A line of the log. */
export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export class MemoryLog implements Logger {
  readonly lines: LogLine[] = [];

  debug(message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push({ level: 'debug', message, fields });
  }
  info(message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push({ level: 'info', message, fields });
  }
  warn(message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push({ level: 'warn', message, fields });
  }
  error(message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push({ level: 'error', message, fields });
  }
}

export interface TestAgentOptions {
  readonly limits?: Partial<ServerLimits>;
  readonly imageManager?: Partial<ImageManagerOptions>;
  readonly pullManager?: PullManagerOptions;
  readonly credentials?: CredentialLookupOptions;
  readonly replace?: (services: AgentServices) => Partial<AgentServices>;
}

export interface TestAgent {
  readonly agent: Agent;
  readonly services: AgentServices;
  readonly pullManager: PullManager;
  readonly runtime: ScriptedRuntime;
  readonly log: MemoryLog;
  readonly socketPath: string;
  readonly client: Client;
}

/** An agent that listens; everything ends with the test. */
export async function startAgent(options: TestAgentOptions = {}): Promise<TestAgent> {
  const log = new MemoryLog();
  const lookup = await CredentialLookup.open({ ...options.credentials, logger: log });
  const bench = await openBench(
    { ...options.imageManager, logger: log },
    { listeners: pullManagerLog(log), logger: log, ...options.pullManager },
  );
  logImageManager(bench.images, log);
  afterTest(async () => {
    await bench[Symbol.asyncDispose]();
    await lookup.close();
  });
  const { runtime } = bench;
  const own: AgentServices = {
    imageManager: bench.images,
    pullManager: bench.pullManager,
    lookup,
    runtime,
  };
  const services = { ...own, ...options.replace?.(own) };
  const agent = new Agent({ services, logger: log, limits: options.limits ?? {} });
  const socketPath = join(await socketDirectory(), 'agent.sock');
  await agent.listen(socketPath);
  afterTest(() => agent.drain(0));
  return {
    agent,
    services,
    pullManager: bench.pullManager,
    runtime,
    log,
    socketPath,
    client: new Client(socketPath),
  };
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of a JSON body. */
  readonly json: Record<string, unknown> & { readonly error?: Record<string, unknown> };
}

/** Asks an agent. */
export class Client {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  get(path: string, options: RequestOptions = {}): Promise<Reply> {
    return this.send({ ...options, path, method: options.method ?? 'GET' });
  }

  /** @param body A text or bytes as they are; anything else as JSON. */
  post(path: string, body: unknown, options: RequestOptions = {}): Promise<Reply> {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array;
    return this.send({ ...options, path, method: 'POST' }, isRaw ? body : JSON.stringify(body));
  }

  send(options: RequestOptions, body?: string | Uint8Array): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath: this.socketPath, ...options }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece: string) => {
          text += piece;
        });
        response.on('error', reject);
        response.on('end', () => {
          const isJson = response.headers['content-type'] === 'application/json' && text !== '';
          const json = isJson ? (JSON.parse(text) as Reply['json']) : {};
          resolve({ status: response.statusCode!, headers: response.headers, text, json });
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  /** A bare connection. */
  connect(): RawConnection {
    return new RawConnection(this.socketPath);
  }
}

/** Sends what no HTTP client would. */
export class RawConnection {
  readonly socket: Socket;
  received = '';
  readonly #closed: Promise<void>;

  constructor(socketPath: string) {
    this.socket = connect(socketPath);
    this.socket.setEncoding('utf8').on('data', (piece) => {
      this.received += piece;
    });
    this.socket.on('error', () => {});
    this.#closed = new Promise((resolve) => {
      this.socket.on('close', () => resolve());
    });
    afterTest(async () => this.socket.destroy());
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** Everything that was received until the other side closed the connection. */
  async untilClosed(): Promise<string> {
    await this.#closed;
    return this.received;
  }
}

/** A pull secret, as clients send it. */
export function secretBody(user: string, password: string = `password-of-${user}`): object {
  const auths = { 'registry.example.com': { username: user, password } };
  return {
    uid: `uid-${user}`,
    namespace: `team-${user}`,
    name: 'pull',
    data: Buffer.from(JSON.stringify({ auths })).toString('base64'),
  };
}

/** The body of a request to ensure an image. */
export function ensureBody(image: string, fields: Record<string, unknown> = {}): object {
  return { image, pullPolicy: 'IfNotPresent', podUid: 'pod-1', ...fields };
}
