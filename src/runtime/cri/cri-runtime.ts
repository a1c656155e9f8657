/** A container runtime behind its CRI socket: containerd, CRI-O, cri-dockerd. */
import type { RegistryAuth } from '../../credentials/pull-credential.ts';
import { invalidArgument, quote } from '../../errors.ts';
import type { RuntimeImage } from '../../images/image-service.ts';
import { type ImageRuntime, ImageRuntimeError } from '../image-runtime.ts';
import { CriConnection, type CriMethod } from './connection.ts';
import { type CallSubject, oddAnswer } from './failures.ts';
import {
  authConfig,
  type CriFilesystemUsage,
  type CriImage,
  type ImageFilesystem,
  imageFilesystem,
  runtimeImage,
} from './messages.ts';

/** As the kubelet's `--runtime-request-timeout`. */
const DEFAULT_TIMEOUT_MS = 120_000;
/**
 * 100 GB at 30 MB/s. A runtime keeps the layers that it has, so a pull that takes longer gets on when
 * it is asked for again; one that makes no progress is ended earlier by containerd itself.
 */
const DEFAULT_PULL_TIMEOUT_MS = 3_600_000;
/** The longest delay of a timer. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** Of `sun_path` in the address of a unix socket, which ends with a NUL: 104 or, on Linux, 108. */
const SOCKET_PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103;
const UNIX_SCHEME = 'unix://';
/** NUL would start an abstract address; no other control character is in the name of a socket. */
const CONTROL_CHARACTER = /\p{Cc}/u;
/** What runtimes answer a pull with, if it is the id. */
const IMAGE_ID = /^(?:[a-z0-9]+:)?[0-9a-f]{64}$/;

/** Options of `criRuntime`. */
export interface CriRuntimeOptions {
  /** `unix:///run/containerd/containerd.sock`, or the absolute path alone. */
  readonly socket: string;
  /** Limit of each call but a pull, connecting included. @default 120_000, as the kubelet's */
  readonly timeoutMs?: number;
  /** Limit of a pull. @default 3_600_000 */
  readonly pullTimeoutMs?: number;
}

/** What a runtime says of itself. */
export interface RuntimeVersion {
  /** For example `containerd`. */
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  /** The version of CRI: `v1`. */
  readonly runtimeApiVersion: string;
}

/**
 * A CRI client. Calls reject with `ImageRuntimeError`, after `close` with `CLOSED`, and with
 * `INVALID_ARGUMENT` where an argument has the wrong type.
 */
export interface CriRuntime extends ImageRuntime, AsyncDisposable {
  /** The path of the socket. */
  readonly socketPath: string;
  /** What the images take up, by filesystem. */
  imageFsInfo(signal?: AbortSignal): Promise<readonly ImageFilesystem[]>;
  /** Asks the runtime who it is: a check that it answers. */
  version(signal?: AbortSignal): Promise<RuntimeVersion>;
  /** Gives up calls under way, which reject with kind `aborted`, unanswered. Idempotent. */
  close(): Promise<void>;
}

/**
 * A client for the CRI v1 image service behind a unix socket.
 *
 * Opens nothing before the first call. The connection is made again by itself after the runtime was
 * restarted: a call that comes while there is no runtime fails at once with kind `unavailable`, and
 * at most a quarter of a second after it is back calls get through. An idle connection does not keep
 * the process alive.
 *
 * ```ts
 * await using runtime = criRuntime({ socket: 'unix:///run/containerd/containerd.sock' });
 * const images = await runtime.listImages();
 * ```
 *
 * @throws `INVALID_ARGUMENT` where an option is not one.
 */
export function criRuntime(options: CriRuntimeOptions): CriRuntime {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  const { socket, timeoutMs, pullTimeoutMs } = options;
  return new CriClient(
    pathOfSocket(socket),
    checkedTimeout('options.timeoutMs', timeoutMs ?? DEFAULT_TIMEOUT_MS),
    checkedTimeout('options.pullTimeoutMs', pullTimeoutMs ?? DEFAULT_PULL_TIMEOUT_MS),
  );
}

/** The path in a socket's address; else throws `INVALID_ARGUMENT`. */
function pathOfSocket(socket: unknown): string {
  const argument = 'options.socket';
  if (typeof socket !== 'string') throw invalidArgument(argument, 'must be a string');
  const path = socket.startsWith(UNIX_SCHEME) ? socket.slice(UNIX_SCHEME.length) : socket;
  if (!path.startsWith('/') || CONTROL_CHARACTER.test(path)) {
    throw invalidArgument(argument, `must be unix:///PATH or an absolute path: ${quote(socket)}`);
  }
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    const problem = `is longer than the ${SOCKET_PATH_BYTES_MAX} bytes of a unix socket's path`;
    throw invalidArgument(argument, `${problem}: ${quote(socket)}`);
  }
  return path;
}

function checkedTimeout(argument: string, value: unknown): number {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= TIMEOUT_MS_MAX) {
    return Number(value);
  }
  throw invalidArgument(argument, `must be a whole number from 1 to ${TIMEOUT_MS_MAX}`);
}

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

class CriClient implements CriRuntime {
  readonly reportsSizes = true;
  readonly endsOnAbort = true;
  readonly socketPath: string;
  readonly #connection: CriConnection;
  readonly #timeoutMs: number;
  readonly #pullTimeoutMs: number;

  constructor(socketPath: string, timeoutMs: number, pullTimeoutMs: number) {
    this.socketPath = socketPath;
    this.#connection = new CriConnection(socketPath);
    this.#timeoutMs = timeoutMs;
    this.#pullTimeoutMs = pullTimeoutMs;
  }

  async listImages(signal?: AbortSignal): Promise<readonly RuntimeImage[]> {
    const subject = this.#subject('listing images');
    const { images } = await this.#call<{ images: CriImage[] }>('ListImages', {}, subject, {
      signal,
    });
    // All or nothing: whoever is told of a part takes the rest for removed.
    return images.map((image) => identified(image, subject));
  }

  async imageStatus(image: string, signal?: AbortSignal): Promise<RuntimeImage | undefined> {
    return await this.#status(image, this.#subjectImage('looking for image', image), signal);
  }

  async pullImage(
    image: string,
    auth: RegistryAuth | undefined,
    signal?: AbortSignal,
  ): Promise<string> {
    const subject = { ...this.#subjectImage('pulling image', image), auth };
    const request = { image: { image }, ...(auth !== undefined && { auth: authConfig(auth) }) };
    const { imageRef } = await this.#call<{ imageRef: string }>('PullImage', request, subject, {
      signal,
      timeoutMs: this.#pullTimeoutMs,
    });
    if (imageRef === '') throw oddAnswer('the answer names no image', subject);
    return IMAGE_ID.test(imageRef) ? imageRef : await this.#idOfPulled(imageRef, subject, signal);
  }

  async removeImage(image: string, signal?: AbortSignal): Promise<void> {
    const subject = this.#subjectImage('removing image', image);
    await this.#call('RemoveImage', { image: { image } }, subject, { signal });
  }

  async imageFsInfo(signal?: AbortSignal): Promise<readonly ImageFilesystem[]> {
    const subject = this.#subject('asking for the filesystem of images');
    const { imageFilesystems } = await this.#call<{ imageFilesystems: CriFilesystemUsage[] }>(
      'ImageFsInfo',
      {},
      subject,
      { signal },
    );
    return imageFilesystems.map(imageFilesystem);
  }

  async version(signal?: AbortSignal): Promise<RuntimeVersion> {
    const subject = this.#subject('asking for the version');
    const { runtimeName, runtimeVersion, runtimeApiVersion } = await this.#call<RuntimeVersion>(
      'Version',
      {},
      subject,
      { signal },
    );
    return { runtimeName, runtimeVersion, runtimeApiVersion };
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #status(
    image: string,
    subject: CallSubject,
    signal: AbortSignal | undefined,
  ): Promise<RuntimeImage | undefined> {
    const request = { image: { image } };
    const response = await this.#call<{ image: CriImage | null }>('ImageStatus', request, subject, {
      signal,
    });
    return response.image === null ? undefined : identified(response.image, subject);
  }

  /**
   * Some runtimes answer a pull with a digest of the repository instead of the id. Whatever goes
   * wrong now, the image is there: no failure is an answer.
   */
  async #idOfPulled(
    imageRef: string,
    subject: CallSubject,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const pulled = await this.#status(imageRef, subject, signal).catch((cause: unknown) => {
      if (!(cause instanceof ImageRuntimeError) || !cause.answered) throw cause;
      const { kind, message, image, path, reason } = cause;
      throw new ImageRuntimeError(kind, message, { answered: false, image, path, reason });
    });
    if (pulled !== undefined) return pulled.id;
    throw oddAnswer('the answer names an image that the runtime then does not have', subject);
  }

  #subject(doing: string): CallSubject {
    return { doing, socketPath: this.socketPath };
  }

  #subjectImage(doing: string, image: unknown): CallSubject & { readonly image: string } {
    if (typeof image !== 'string') throw invalidArgument('image', 'must be a string');
    return { doing, socketPath: this.socketPath, image };
  }

  #call<Response>(
    method: CriMethod,
    request: object,
    subject: CallSubject,
    { signal, timeoutMs = this.#timeoutMs }: CallOptions,
  ): Promise<Response> {
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw invalidArgument('signal', 'must be an AbortSignal');
    }
    return this.#connection.call<Response>({ method, request, timeoutMs, subject, signal });
  }
}

/** The image, which must have an id: nothing else names it for good. */
function identified(image: CriImage, subject: CallSubject): RuntimeImage {
  if (image.id === '') throw oddAnswer('the answer has an image without an id', subject);
  return runtimeImage(image);
}
