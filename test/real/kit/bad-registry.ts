/** A registry without passwords that serves one image, and misbehaves as it is told to. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BuiltImage } from './image-builder.ts';
import { LoopbackServer } from './loopback-server.ts';

/** What a registry can do wrong. A number is the status of the answer. */
export type RegistryFault =
  | 401
  | 403
  | 404
  | 429
  | 500
  | 502
  | 503
  /** Another content of the same length. */
  | 'altered'
  /** The connection ends in the middle of the content. */
  | 'cut'
  /** Sends to a token server that nobody runs. */
  | 'deadTokenServer'
  /** A page for people, with status 200. */
  | 'html'
  /** Redirects to itself, without end. */
  | 'redirectLoop'
  /** The connection is reset in place of an answer. */
  | 'reset'
  /** There is never an answer. */
  | 'stall';

/** Parts of an image. */
type Part = 'manifest' | 'config' | 'layer';
/** Which requests a fault is for. */
export type FaultPlace = Part | 'everything';

const HTML = Buffer.from('<!doctype html><title>Sign in</title><p>Please sign in.');

/** A hostile registry on loopback. */
export class BadRegistry implements AsyncDisposable {
  /** Method and path of every request so far. */
  readonly requests: string[] = [];
  #image: BuiltImage;
  readonly #server: LoopbackServer;
  #fault: { readonly kind: RegistryFault; readonly at: FaultPlace; apply(): void } | undefined;

  private constructor(image: BuiltImage) {
    this.#image = image;
    this.#server = new LoopbackServer((request, response) => this.#answer(request, response));
  }

  /** @param image Served in every repository, under every tag. */
  static async start(image: BuiltImage): Promise<BadRegistry> {
    const registry = new BadRegistry(image);
    await registry.#server.start();
    return registry;
  }

  get host(): string {
    return this.#server.host;
  }

  get url(): string {
    return this.#server.url;
  }

  /** Serves another image from now on, in place of the one before. */
  serve(image: BuiltImage): void {
    this.#image = image;
  }

  /**
   * Sets what goes wrong from now on; resolves when it does for the first time.
   *
   * @param at @default 'manifest'
   */
  fail(kind: RegistryFault, at: FaultPlace = 'manifest'): Promise<void> {
    return new Promise((apply) => {
      this.#fault = { kind, at, apply };
    });
  }

  /** Everything goes well from now on. */
  recover(): void {
    this.#fault = undefined;
  }

  /** Stalled requests end, too. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#server.stop();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '';
    this.requests.push(`${request.method} ${path}`);
    const part = this.#partOf(path);
    const at = this.#fault?.at;
    const fault =
      at !== undefined && (at === part || at === 'everything') ? this.#fault : undefined;
    if (part === undefined && fault === undefined) {
      response.writeHead(path === '/v2/' ? 200 : 404).end();
      return;
    }
    fault?.apply();
    // Where everything fails, something is to be there to fail with.
    const { bytes, mediaType, digest } = this.#image[part ?? 'manifest'];
    const headers = {
      'content-type': mediaType,
      'content-length': bytes.length,
      'docker-content-digest': digest,
    };
    const send = (body: Buffer) => {
      response.writeHead(200, headers);
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    switch (fault?.kind) {
      case undefined:
        send(bytes);
        break;
      case 'altered':
        send(Buffer.alloc(bytes.length, ' '));
        break;
      case 'cut':
        response.writeHead(200, headers);
        response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
        break;
      case 'deadTokenServer':
        // Port 1 is nobody's.
        response.setHeader('www-authenticate', 'Bearer realm="http://127.0.0.1:1/token"');
        response.writeHead(401).end();
        break;
      case 'html':
        response.writeHead(200, { 'content-type': 'text/html', 'content-length': HTML.length });
        response.end(request.method === 'HEAD' ? undefined : HTML);
        break;
      case 'redirectLoop':
        response.writeHead(307, { location: path }).end();
        break;
      case 'reset':
        request.socket.resetAndDestroy();
        break;
      case 'stall':
        break;
      default:
        response.writeHead(fault!.kind).end();
    }
  }

  /** What is asked for; `undefined`: something that this registry does not have. */
  #partOf(path: string): Part | undefined {
    if (/^\/v2\/.+\/manifests\/[^/]+$/.test(path)) return 'manifest';
    const digest = /^\/v2\/.+\/blobs\/([^/]+)$/.exec(path)?.[1];
    return (['config', 'layer'] as const).find((part) => this.#image[part].digest === digest);
  }
}
