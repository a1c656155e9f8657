/**
 * A token server for a private registry: who may do what in which repository.
 *
 * Speaks the registry's token protocol over TLS, both by GET and, as OAuth 2, by POST, and signs its
 * tokens (ES256, `x5c`) with the key of its own certificate.
 */
import { createPrivateKey, type KeyObject, randomUUID, sign, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Certificate, createCertificate } from './certificate.ts';
import { LoopbackServer } from './loopback-server.ts';

const TOKEN_SECONDS = 300;
/** The clocks are the same; the registry allows none of its own. */
const CLOCK_SKEW_SECONDS = 10;
const BODY_BYTES_MAX = 64 * 1024;

/** A user of the registry. */
export interface TokenUser {
  readonly password?: string;
  /** What the user can present in place of a password. */
  readonly identityToken?: string;
  /** Names of the repositories that the user may pull from. */
  readonly repositories: readonly string[];
}

/** What a token allows, in the form of the token protocol. */
export interface TokenAccess {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** One request for a token. */
export interface TokenRequest {
  /** `undefined`: anonymous. */
  readonly user: string | undefined;
  readonly scopes: readonly string[];
  /** Whether a token was given out; it may allow nothing. */
  readonly accepted: boolean;
}

interface Claim {
  readonly user: string | undefined;
  readonly secret: string | undefined;
}

/** A running token server. */
export class TokenServer implements AsyncDisposable {
  readonly service = 'pullwarden-registry';
  readonly issuer = 'pullwarden-token-server';
  /** Of the TLS connection and of the signatures. */
  readonly certificate: Certificate;
  /** Every request so far, in order of arrival. */
  readonly requests: TokenRequest[] = [];
  readonly #server: LoopbackServer;
  readonly #key: KeyObject;
  readonly #users = new Map<string, TokenUser>();
  #publicRepositories: readonly string[] = [];

  private constructor(certificate: Certificate) {
    this.certificate = certificate;
    this.#key = createPrivateKey(certificate.privateKey);
    this.#server = new LoopbackServer((request, response) => {
      void this.#answer(request, response).catch(() => response.destroy());
    }, certificate);
  }

  /** @param directory An existing one, for the certificate. */
  static async start(directory: string): Promise<TokenServer> {
    const server = new TokenServer(await createCertificate(directory, 'token-server'));
    await server.start();
    return server;
  }

  /** The realm to be named by a registry. */
  get url(): string {
    return `${this.#server.url}/token`;
  }

  /** Starts it again, on the same port. */
  start(): Promise<void> {
    return this.#server.start();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Adds a user, or changes one: what was true of it before is forgotten. */
  setUser(name: string, user: TokenUser): void {
    this.#users.set(name, user);
  }

  removeUser(name: string): void {
    this.#users.delete(name);
  }

  /** Names the repositories that everybody may pull from. @default none */
  setPublicRepositories(repositories: readonly string[]): void {
    this.#publicRepositories = repositories;
  }

  /** A token that allows exactly this, whoever the subject is. */
  issue(subject: string, access: readonly TokenAccess[]): string {
    const now = Math.floor(Date.now() / 1000);
    const header = {
      typ: 'JWT',
      alg: 'ES256',
      x5c: [new X509Certificate(this.certificate.certificate).raw.toString('base64')],
    };
    const claims = {
      iss: this.issuer,
      sub: subject,
      aud: this.service,
      iat: now,
      nbf: now - CLOCK_SKEW_SECONDS,
      exp: now + TOKEN_SECONDS,
      jti: randomUUID(),
      access,
    };
    const signed = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const signature = sign('sha256', Buffer.from(signed), {
      key: this.#key,
      dsaEncoding: 'ieee-p1363',
    });
    return `${signed}.${signature.toString('base64url')}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.#server.url);
    const form = request.method === 'POST' ? new URLSearchParams(await textOf(request)) : undefined;
    const claim = form === undefined ? basicClaim(request) : formClaim(form);
    const scopes = (form ?? url.searchParams)
      .getAll('scope')
      .flatMap((scope) => scope.split(' '))
      .filter((scope) => scope !== '');
    const user = this.#authenticate(claim);
    const accepted = url.pathname === '/token' && user !== undefined;
    this.requests.push({ user: user?.name ?? claim?.user, scopes, accepted });
    if (!accepted) {
      reply(response, 401, { errors: [{ code: 'UNAUTHORIZED', message: 'unknown user' }] });
      return;
    }
    const token = this.issue(user.name ?? '', this.#grant(user.repositories, scopes));
    reply(response, 200, { token, access_token: token, expires_in: TOKEN_SECONDS });
  }

  #authenticate(
    claim: Claim | undefined,
  ): { readonly name: string | undefined; readonly repositories: readonly string[] } | undefined {
    if (claim === undefined) return { name: undefined, repositories: [] };
    for (const [name, user] of this.#users) {
      const presented = claim.user === undefined ? user.identityToken : user.password;
      const named = claim.user === undefined || claim.user === name;
      if (named && presented !== undefined && presented === claim.secret) {
        return { name, repositories: user.repositories };
      }
    }
    return undefined;
  }

  /** Of what is asked for, what is allowed: reading, in the user's and the public repositories. */
  #grant(repositories: readonly string[], scopes: readonly string[]): TokenAccess[] {
    return scopes.flatMap((scope) => {
      const [, name = '', wanted = ''] = /^repository:(.+):([^:]*)$/.exec(scope) ?? [];
      const allowed = repositories.includes(name) || this.#publicRepositories.includes(name);
      const actions = wanted.split(',').filter((action) => action === 'pull');
      return allowed && actions.length > 0 ? [{ type: 'repository', name, actions }] : [];
    });
  }
}

/** The user and password of a request; `undefined` where it is anonymous. */
export function basicClaim(request: IncomingMessage): Claim | undefined {
  const encoded = /^basic (.*)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [, user = '', secret = ''] =
    /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? [];
  return { user, secret };
}

function formClaim(form: URLSearchParams): Claim {
  return form.get('grant_type') === 'refresh_token'
    ? { user: undefined, secret: form.get('refresh_token') ?? undefined }
    : { user: form.get('username') ?? '', secret: form.get('password') ?? undefined };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk as string;
    if (text.length > BODY_BYTES_MAX) throw new Error('the form is too long');
  }
  return text;
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
