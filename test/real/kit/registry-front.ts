/**
 * What a registry is reached through: passes requests on to the real one behind it, after noting them
 * down. A test can thus prove that nobody asked, or hold a request for as long as it needs.
 */
import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Certificate } from './certificate.ts';
import { LoopbackServer } from './loopback-server.ts';
import { basicClaim } from './token-server.ts';

/** One request that reached the registry. Secrets are not kept. */
export interface RegistryRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** Who asked, by what was presented, right or wrong; `undefined`: nobody in particular. */
  readonly user: string | undefined;
  /** `undefined` until it is answered. */
  readonly status: number | undefined;
}

/** Requests that are being held. */
export interface Hold {
  /** Resolves when the first request is held. */
  readonly arrived: Promise<RegistryRequest>;
  /** Lets them go on, and holds no more. */
  release(): void;
}

interface OpenHold {
  readonly matches: (request: RegistryRequest) => boolean;
  readonly arrive: (request: RegistryRequest) => void;
  readonly released: Promise<void>;
}

export class RegistryFront extends LoopbackServer {
  /** Every request so far, in order of arrival; each is here before it is answered. */
  readonly requests: RegistryRequest[];
  readonly #holds: Set<OpenHold>;

  /** @param socketPath Where the real registry listens. */
  constructor(socketPath: string, certificate?: Certificate) {
    const requests: RegistryRequest[] = [];
    const holds = new Set<OpenHold>();
    const agent = new Agent({ keepAlive: true });
    super((incoming, response) => {
      const noted: { -readonly [Name in keyof RegistryRequest]: RegistryRequest[Name] } = {
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        user: userOf(incoming),
        status: undefined,
      };
      requests.push(noted);
      void heldBy(holds, noted).then(() =>
        passOn({ socketPath, agent }, incoming, response, (status) => {
          noted.status = status;
        }),
      );
    }, certificate);
    this.requests = requests;
    this.#holds = holds;
  }

  /** Holds requests back before they reach the registry. */
  hold(matches: (request: RegistryRequest) => boolean): Hold {
    let release = () => {};
    let arrive = (_request: RegistryRequest) => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const arrived = new Promise<RegistryRequest>((resolve) => {
      arrive = resolve;
    });
    const hold = { matches, arrive, released };
    this.#holds.add(hold);
    return {
      arrived,
      release: () => {
        this.#holds.delete(hold);
        release();
      },
    };
  }
}

async function heldBy(holds: ReadonlySet<OpenHold>, noted: RegistryRequest): Promise<void> {
  for (const hold of holds) {
    if (!hold.matches(noted)) continue;
    hold.arrive(noted);
    await hold.released;
  }
}

function passOn(
  target: { readonly socketPath: string; readonly agent: Agent },
  incoming: IncomingMessage,
  response: ServerResponse,
  onStatus: (status: number) => void,
): void {
  const { method = 'GET', url = '/', headers } = incoming;
  const outgoing = request({ ...target, method, path: url, headers }, (answer) => {
    onStatus(answer.statusCode ?? 0);
    response.writeHead(answer.statusCode ?? 0, answer.headers);
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  outgoing.on('error', () => response.destroy());
  response.on('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
}

function userOf(incoming: IncomingMessage): string | undefined {
  const token = /^bearer [^.]*\.([^.]*)\./i.exec(incoming.headers.authorization ?? '')?.[1];
  if (token === undefined) return basicClaim(incoming)?.user;
  const { sub } = JSON.parse(Buffer.from(token, 'base64url').toString()) as { sub?: string };
  return sub === '' ? undefined : sub;
}
