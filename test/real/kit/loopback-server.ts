/** An HTTP server on loopback that keeps its port when it is stopped and started again. */
import { once } from 'node:events';
import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type RequestListener,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificate.ts';

export class LoopbackServer {
  readonly #listener: RequestListener;
  readonly #certificate: Certificate | undefined;
  #server: HttpServer | undefined;
  #port = 0;

  /** @param certificate With it, the server speaks TLS. */
  constructor(listener: RequestListener, certificate?: Certificate) {
    this.#listener = listener;
    this.#certificate = certificate;
  }

  /** Address and port, as in the name of an image. */
  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get url(): string {
    return `${this.#certificate === undefined ? 'http' : 'https'}://${this.host}`;
  }

  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const server =
      this.#certificate === undefined
        ? createHttpServer(this.#listener)
        : createHttpsServer(
            { cert: this.#certificate.certificate, key: this.#certificate.privateKey },
            this.#listener,
          );
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Cuts all connections; new ones are refused. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
}
