/**
 * HTTP/1.1 on a unix socket, with a limit on everything: sizes, times, connections, requests.
 *
 * A client that hangs up aborts what it asked for. Whatever a handler throws becomes an answer.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { quote } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { within } from '../util/within.ts';
import type { Answer } from './answer.ts';
import { errorAnswer, isInternal } from './error-answer.ts';
import { HttpError, type HttpErrorCode } from './http-error.ts';
import { readJson } from './json-body.ts';
import { SERVER_LIMITS, type ServerLimits } from './limits.ts';
import { describeUnknown } from './log-fields.ts';
import { sendAnswer } from './send-answer.ts';
import { type ListeningSocket, listenOn } from './unix-socket.ts';

/** One request, as its handler sees it. */
export interface Call {
  /** Aborted when the client hangs up, and when the server can wait no longer. */
  readonly signal: AbortSignal;
  /** The body, as JSON. Call it once. */
  json(): Promise<unknown>;
}

/** Serves one method of one path. What it throws is answered as an error. */
export type Handler = (call: Call) => Promise<Answer>;

/** Handlers by path, then method. `HEAD` is served where `GET` is. */
export type Routes = ReadonlyMap<string, Readonly<Partial<Record<'GET' | 'POST', Handler>>>>;

/** A request that has been answered, or whose client has gone. */
export interface Served {
  readonly method: string;
  /** The path of a known route, else `other`. */
  readonly route: string;
  /** 0: the client hung up before it was answered. */
  readonly status: number;
  readonly durationMs: number;
}

/** Options of `AgentServer`. */
export interface AgentServerOptions {
  readonly routes: Routes;
  readonly logger: Logger;
  /** @default `SERVER_LIMITS` */
  readonly limits?: Partial<ServerLimits>;
  readonly onServed?: (served: Served) => void;
}

/** How often Node looks for requests that are late. */
const LATE_CHECK_MS_MAX = 500;
/** How long aborted requests may take to end. */
const ABORT_GRACE_MS = 2_000;

/** A request that is being served. */
interface OpenCall {
  readonly abort: AbortController;
  /** Fails the reading of the body. */
  readonly refuse: (error: HttpError) => void;
  /** The client has gone. */
  readonly hangUp: () => void;
  /** Resolves when the client has gone. */
  readonly hungUp: Promise<void>;
  isReading: boolean;
}

/** Used by one thread. `listen` once, `drain` once. */
export class AgentServer {
  readonly #server: Server;
  readonly #routes: Routes;
  readonly #logger: Logger;
  readonly #limits: ServerLimits;
  readonly #onServed: ((served: Served) => void) | undefined;
  readonly #calls = new Map<OpenCall, Promise<void>>();
  readonly #callsOfSocket = new WeakMap<object, Set<OpenCall>>();
  #socket: ListeningSocket | undefined;
  #isDraining = false;
  #connectionCount = 0;
  #refusedCount = 0;

  constructor(options: AgentServerOptions) {
    this.#routes = options.routes;
    this.#logger = options.logger;
    this.#onServed = options.onServed;
    const limits = { ...SERVER_LIMITS, ...options.limits };
    this.#limits = limits;
    this.#server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: Math.min(LATE_CHECK_MS_MAX, limits.headersMs, limits.requestMs),
      // Of what use would the name of a host be on a unix socket?
      requireHostHeader: false,
    });
    this.#server.maxConnections = limits.connections;
    this.#server.on('request', (request, response) => this.#accept(request, response, false));
    this.#server.on('checkContinue', (request, response) => this.#accept(request, response, true));
    this.#server.on('clientError', (error, socket) => this.#refuseBroken(error, socket as Socket));
    this.#server.on('drop', () => {
      this.#refusedCount++;
    });
    this.#server.on('connection', (socket) => {
      this.#connectionCount++;
      // With the last place taken, those who keep one for later have to make room.
      if (this.#connectionCount >= this.#limits.connections) this.#server.closeIdleConnections();
      socket.on('close', () => {
        this.#connectionCount--;
        // Node tells only the response whose turn it is.
        for (const call of this.#callsOfSocket.get(socket) ?? []) call.hangUp();
      });
    });
  }

  /** Requests that are being served. */
  get callCount(): number {
    return this.#calls.size;
  }

  get connectionCount(): number {
    return this.#connectionCount;
  }

  /** Connections that were above the limit. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  /** Begins to serve. Errors: as `listenOn`. */
  async listen(path: string): Promise<void> {
    this.#socket = await listenOn(this.#server, path);
    this.#server.on('error', (error) => {
      this.#logger.error('the server failed', { error: describeUnknown(error) });
    });
  }

  /**
   * Takes no more requests, waits at most `limitMs` for those that are being served, aborts what is
   * left, and closes everything. Never rejects.
   */
  async drain(limitMs: number): Promise<void> {
    this.#isDraining = true;
    if (this.#socket === undefined) return;
    const closed = new Promise((resolve) => {
      this.#server.once('close', resolve);
    });
    await this.#socket.stop();
    await within(limitMs, this.#allServed());
    if (this.#calls.size > 0) {
      this.#logger.warn('requests are aborted: the agent shuts down', { calls: this.#calls.size });
      const reason = new HttpError('ERR_AGENT_SHUTTING_DOWN', 'the agent is shutting down');
      for (const call of this.#calls.keys()) {
        call.refuse(reason);
        call.abort.abort(reason);
      }
      await within(ABORT_GRACE_MS, this.#allServed());
    }
    this.#server.closeAllConnections();
    await within(ABORT_GRACE_MS, closed);
  }

  async #allServed(): Promise<void> {
    while (this.#calls.size > 0) await Promise.all(this.#calls.values());
  }

  #accept(request: IncomingMessage, response: ServerResponse, isAwaited: boolean): void {
    const { socket } = request;
    const ofSocket = this.#callsOfSocket.get(socket) ?? new Set();
    if (ofSocket.size >= this.#limits.callsOfConnection) socket.destroy();
    // Requests that had arrived before their connection was closed are still announced.
    if (socket.destroyed) return;
    const abort = new AbortController();
    let refuse: (error: HttpError) => void = () => {};
    const refused = new Promise<never>((_, reject) => {
      refuse = reject;
    });
    refused.catch(() => {});
    let hangUp: () => void = () => {};
    const hungUp = new Promise<void>((resolve) => {
      hangUp = () => {
        if (response.writableFinished) return;
        abort.abort(new Error('the client hung up'));
        resolve();
      };
    });
    const call: OpenCall = { abort, refuse, hangUp, hungUp, isReading: false };
    this.#callsOfSocket.set(socket, ofSocket.add(call));
    response.on('close', () => {
      ofSocket.delete(call);
      hangUp();
    });
    const json = async (): Promise<unknown> => {
      call.isReading = true;
      try {
        const begin = (): void => {
          if (isAwaited) response.writeContinue();
        };
        return await Promise.race([readJson(request, this.#limits.bodyBytes, begin), refused]);
      } finally {
        call.isReading = false;
      }
    };
    const served = this.#serve(request, response, { signal: abort.signal, json }, hungUp);
    this.#calls.set(
      call,
      served.finally(() => this.#calls.delete(call)),
    );
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    call: Call,
    hungUp: Promise<void>,
  ): Promise<void> {
    const startedAtMs = performance.now();
    const { method = '', url = '' } = request;
    const [path = ''] = url.split('?', 1);
    let answer: Answer;
    try {
      answer = await this.#handlerOf(method, url)(call);
    } catch (error) {
      answer = errorAnswer(error);
      if (isInternal(error) && !call.signal.aborted) {
        this.#logger.error('a request failed', { path, error: describeUnknown(error) });
      }
    }
    let isTaken = false;
    if (!response.destroyed) {
      // What is left of a body that nobody wanted cannot be told from the next request.
      const isLast = this.#isDraining || !request.complete;
      if (isLast) response.setHeader('Connection', 'close');
      isTaken = await this.#send(response, answer, hungUp);
    }
    this.#onServed?.({
      method,
      route: this.#routes.has(path) ? path : 'other',
      status: isTaken ? answer.status : 0,
      durationMs: performance.now() - startedAtMs,
    });
  }

  async #send(response: ServerResponse, answer: Answer, hungUp: Promise<void>): Promise<boolean> {
    try {
      return await sendAnswer(response, answer, this.#limits.answerMs, hungUp);
    } catch (error) {
      this.#logger.error('an answer could not be sent', { error: describeUnknown(error) });
      return false;
    }
  }

  /** Throws `HttpError` where there is none. */
  #handlerOf(method: string, url: string): Handler {
    if (this.#isDraining) {
      throw new HttpError('ERR_AGENT_SHUTTING_DOWN', 'the agent is shutting down');
    }
    if (this.#calls.size >= this.#limits.calls) {
      throw new HttpError('ERR_AGENT_BUSY', 'too many requests are being served');
    }
    const route = this.#routes.get(url);
    if (route === undefined) {
      const hint = url.includes('?') ? ', and no path takes a query' : '';
      throw new HttpError('ERR_AGENT_NOT_FOUND', `there is no ${quote(url)}${hint}`);
    }
    const handler = method === 'HEAD' ? route.GET : route[method as 'GET' | 'POST'];
    if (handler !== undefined && Object.hasOwn(route, method === 'HEAD' ? 'GET' : method)) {
      return handler;
    }
    const allowed = Object.keys(route).join(', ');
    throw new HttpError('ERR_AGENT_METHOD_NOT_ALLOWED', `${url} takes ${allowed} only`, {
      Allow: allowed,
    });
  }

  /** Answers what is no request, or came too late, if that can be done without confusing anybody. */
  #refuseBroken(error: Error & { code?: string }, socket: Socket): void {
    const { code = '' } = error;
    const calls = [...(this.#callsOfSocket.get(socket) ?? [])];
    if (code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const refusal = refusalOf(code);
    const [call] = calls;
    if (call === undefined) {
      socket.end(rawAnswer(errorAnswer(refusal), STATUS_TEXT[refusal.code]), () =>
        socket.destroy(),
      );
    } else if (calls.length === 1 && call.isReading) {
      call.refuse(refusal);
    } else {
      // Its answer would be taken for that of a request before it.
      socket.destroy();
    }
  }
}

const STATUS_TEXT: Partial<Record<HttpErrorCode, string>> = {
  ERR_AGENT_MALFORMED_REQUEST: 'Bad Request',
  ERR_AGENT_REQUEST_TIMEOUT: 'Request Timeout',
  ERR_AGENT_HEADERS_TOO_LARGE: 'Request Header Fields Too Large',
};

function refusalOf(code: string): HttpError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new HttpError('ERR_AGENT_REQUEST_TIMEOUT', 'the request did not arrive in time');
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new HttpError('ERR_AGENT_HEADERS_TOO_LARGE', 'the headers of the request are too large');
  }
  return new HttpError('ERR_AGENT_MALFORMED_REQUEST', 'that is no HTTP/1.1 request');
}

/** An answer without Node's help, on a connection whose parser has given up. */
function rawAnswer({ status, contentType, body }: Answer, statusText = ''): string {
  const text = body as string;
  const lines = [
    `HTTP/1.1 ${status} ${statusText}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${text}`;
}
