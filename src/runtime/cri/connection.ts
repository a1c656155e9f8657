/**
 * The gRPC connection to a runtime: one HTTP/2 connection over its unix socket, for all calls.
 *
 * grpc-js and proto-loader are loaded with the first call: they cost some 90 ms and 16 MB, and whoever
 * only uses the records engine never needs them.
 */

import { fileURLToPath } from 'node:url';
import type { Client, ClientUnaryCall, connectivityState, MethodDefinition } from '@grpc/grpc-js';
import { PullManagerError, quote } from '../../errors.ts';
import { abortListeners } from '../../util/abort-listeners.ts';
import { untilAborted } from '../../util/until-aborted.ts';
import { abortedCall, type CallSubject, failedCall } from './failures.ts';

const IMAGE_SERVICE = 'runtime.v1.ImageService';
const RUNTIME_SERVICE = 'runtime.v1.RuntimeService';

/** A call of CRI that is used. */
export type CriMethod =
  | 'ImageFsInfo'
  | 'ImageStatus'
  | 'ListImages'
  | 'PullImage'
  | 'RemoveImage'
  | 'Version';

const SERVICE_OF_METHOD: Readonly<Record<CriMethod, string>> = {
  ImageFsInfo: IMAGE_SERVICE,
  ImageStatus: IMAGE_SERVICE,
  ListImages: IMAGE_SERVICE,
  PullImage: IMAGE_SERVICE,
  RemoveImage: IMAGE_SERVICE,
  Version: RUNTIME_SERVICE,
};

/**
 * The longest answer taken. containerd sends 16 MiB at most unless it is told otherwise; 10,000
 * images are 2 to 10 MB.
 */
const RECEIVED_BYTES_MAX = 64 * 2 ** 20;
/**
 * A connection to a unix socket is made or refused in microseconds, so that trying again costs
 * nothing, and a runtime that is back is found at once. The delays of grpc-js, 1 s to 2 min, are for
 * networks.
 */
const RECONNECT_FIRST_MS = 20;
const RECONNECT_MAX_MS = 200;
/**
 * The end of a runtime closes its socket; pings are for one that hangs. More than one in 5 minutes
 * makes grpc-go, which runtimes are built with, end the connection and the pulls on it.
 */
const KEEPALIVE_EVERY_MS = 330_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

const CHANNEL_OPTIONS = {
  'grpc.enable_channelz': 0,
  'grpc.initial_reconnect_backoff_ms': RECONNECT_FIRST_MS,
  'grpc.keepalive_time_ms': KEEPALIVE_EVERY_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.max_receive_message_length': RECEIVED_BYTES_MAX,
  'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
  'grpc.service_config_disable_resolution': 1,
  // Else a second client of this process would share, and its options might not be these.
  'grpc.use_local_subchannel_pool': 1,
} as const;

const PROTO_PATH = fileURLToPath(new URL('./cri.proto', import.meta.url));

type Method = MethodDefinition<object, object>;
/** What the first call loads. */
interface Grpc {
  readonly newClient: () => Client;
  readonly methods: Readonly<Record<CriMethod, Method>>;
  readonly connecting: connectivityState;
}

/** One call. */
export interface CriCall {
  readonly method: CriMethod;
  readonly request: object;
  readonly timeoutMs: number;
  readonly subject: CallSubject;
  readonly signal?: AbortSignal | undefined;
}

/** Calls to the runtime behind one socket. */
export class CriConnection {
  readonly #socketPath: string;
  /** Of each call under way, what gives it up. */
  readonly #pending = new Set<() => void>();
  #loading: Promise<void> | undefined;
  #grpc: Grpc | undefined;
  #client: Client | undefined;
  #isClosed = false;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /**
   * Answers with the response, or rejects with `ImageRuntimeError`. A call ends at its deadline, as
   * soon as its signal is aborted, or with `close`; once closed, `CLOSED`.
   */
  async call<Response>(call: CriCall): Promise<Response> {
    this.#checkCallable(call);
    if (this.#grpc === undefined) {
      await this.#loaded(call);
      this.#checkCallable(call);
    }
    return this.#start<Response>(this.#grpc!, call);
  }

  /** Gives up calls under way (`aborted`), then the connection. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const giveUp of this.#pending) giveUp();
    this.#client?.close();
    this.#client = undefined;
  }

  #checkCallable({ subject, signal }: CriCall): void {
    if (this.#isClosed) {
      const what = `${subject.doing} at the runtime ${quote(this.#socketPath)}`;
      throw new PullManagerError('CLOSED', `${what}: the client is closed`);
    }
    if (signal?.aborted) throw abortedCall(subject, signal.reason);
  }

  /** Resolves when gRPC is loaded, by this call or another; ends with the call's signal. */
  #loaded({ subject, signal }: CriCall): Promise<void> {
    this.#loading ??= this.#load();
    if (signal === undefined) return this.#loading;
    return untilAborted(this.#loading, signal, (reason) => abortedCall(subject, reason));
  }

  async #load(): Promise<void> {
    try {
      this.#grpc = await loadGrpc(this.#socketPath);
    } finally {
      this.#loading = undefined;
    }
  }

  #start<Response>(grpc: Grpc, call: CriCall): Promise<Response> {
    const { signal, subject, timeoutMs } = call;
    const { path, requestSerialize, responseDeserialize } = grpc.methods[call.method];
    this.#client ??= grpc.newClient();
    const client = this.#client;
    const deadline = Date.now() + timeoutMs;
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        if (!hasEnded()) return;
        reject(abortedCall(subject, signal?.reason));
        running.cancel();
      };
      /** Whether the call ends now, and has not ended before. */
      const hasEnded = (): boolean => {
        if (signal !== undefined) abortListeners.remove(signal, giveUp);
        return this.#pending.delete(giveUp);
      };
      const running: ClientUnaryCall = client.makeUnaryRequest<object, object>(
        path,
        requestSerialize,
        responseDeserialize,
        call.request,
        { deadline },
        (failure, response) => {
          if (!hasEnded()) return;
          if (failure === null) {
            resolve(response as Response);
            return;
          }
          const isLate = Date.now() >= deadline;
          if (isLate) this.#dropIfStuck(grpc, client);
          reject(failedCall(failure, subject, isLate));
        },
      );
      this.#pending.add(giveUp);
      if (signal !== undefined) abortListeners.add(signal, giveUp);
    });
  }

  /**
   * grpc-js waits without limit for a peer that takes the connection and then says nothing. When a
   * call has failed for it, the next one connects anew: the socket may be another's by then.
   */
  #dropIfStuck(grpc: Grpc, client: Client): void {
    if (this.#client !== client) return;
    if (client.getChannel().getConnectivityState(false) !== grpc.connecting) return;
    this.#client = undefined;
    client.close();
  }
}

async function loadGrpc(socketPath: string): Promise<Grpc> {
  const [{ Client, connectivityState, credentials }, { load }] = await Promise.all([
    import('@grpc/grpc-js'),
    import('@grpc/proto-loader'),
  ]);
  // 64-bit numbers are sizes and times here, for which a double is exact enough.
  const definitions = await load(PROTO_PATH, { arrays: true, defaults: true, longs: Number });
  const methods = Object.entries(SERVICE_OF_METHOD).map(([method, service]) => [
    method,
    (definitions[service] as Record<string, Method> | undefined)?.[method],
  ]);
  return {
    newClient: () =>
      new Client(`unix://${socketPath}`, credentials.createInsecure(), CHANNEL_OPTIONS),
    methods: Object.fromEntries(methods) as Record<CriMethod, Method>,
    connecting: connectivityState.CONNECTING,
  };
}
