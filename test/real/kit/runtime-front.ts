/**
 * A socket in front of a runtime's, which passes everything on, or holds back what is answered. A test
 * can thus lose the answer to a call that has taken effect, every time and without luck.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

interface Connection {
  readonly client: Socket;
  readonly runtime: Socket;
}

/** A running front. */
export class RuntimeFront implements AsyncDisposable {
  readonly socket: string;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #holding = false;

  private constructor(runtimeSocket: string, socket: string) {
    this.socket = socket;
    this.#server = createServer((client) =>
      this.#join({ client, runtime: connect(runtimeSocket) }),
    );
  }

  /**
   * @param runtimeSocket What is behind; it may come and go.
   * @param socket Where to listen.
   */
  static async start(runtimeSocket: string, socket: string): Promise<RuntimeFront> {
    const front = new RuntimeFront(runtimeSocket, socket);
    front.#server.listen(socket);
    await once(front.#server, 'listening');
    return front;
  }

  /** Nothing that the runtime says from now on arrives, until `release` or `cut`. */
  holdAnswers(): void {
    this.#holding = true;
    for (const { client, runtime } of this.#connections) runtime.unpipe(client).pause();
  }

  /** What was held back arrives. */
  release(): void {
    this.#holding = false;
    for (const { client, runtime } of this.#connections) runtime.pipe(client);
  }

  /** Ends all connections, with what was held back; new ones are as if nothing had been. */
  cut(): void {
    this.#holding = false;
    for (const { client, runtime } of this.#connections) {
      client.destroy();
      runtime.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #join(connection: Connection): void {
    const { client, runtime } = connection;
    this.#connections.add(connection);
    for (const [one, other] of [
      [client, runtime],
      [runtime, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#connections.delete(connection);
        other.destroy();
      });
    }
    client.pipe(runtime);
    if (this.#holding) runtime.pause();
    else runtime.pipe(client);
  }
}
