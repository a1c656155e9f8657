/** The part of a container runtime that an image manager needs, and how its failures are told. */
import type { RegistryAuth } from '../credentials/pull-credential.ts';
import { PullManagerError } from '../errors.ts';
import type { ImageService, RuntimeImage } from '../images/image-service.ts';
import { grpcCodes } from './grpc-codes.ts';

/**
 * A container runtime: a CRI client (`criRuntime`), or anything with the same four calls.
 *
 * Images are known by their id alone: names move, and one id can have many. The id has to be the
 * same text in the answers of all calls.
 *
 * A call that rejects has been answered by the runtime, unless the error says otherwise: an
 * `ImageRuntimeError` with `answered: false`, or see `isUnanswered`. It matters for pulls only: after
 * an unanswered one the image may still appear.
 */
export interface ImageRuntime extends ImageService {
  /** Whether `imageStatus` tells `sizeBytes`: it is then asked after each pull. @default false */
  readonly reportsSizes?: boolean;
  /**
   * Whether `imageStatus` rejects as soon as its signal is aborted, whatever the runtime does. Where it
   * does not, an image manager sees to it, which takes some microseconds of each request. @default false
   */
  readonly endsOnAbort?: boolean;
  /** The image of that name, id or digest; `undefined` where the runtime has none. */
  imageStatus(image: string, signal?: AbortSignal): Promise<RuntimeImage | undefined>;
  /** Asks the registry, with `auth` or anonymously, and answers the id of the image. */
  pullImage(image: string, auth: RegistryAuth | undefined, signal?: AbortSignal): Promise<string>;
  /** Removes the image with all its names. Absent: no error. */
  removeImage(image: string, signal?: AbortSignal): Promise<void>;
}

/** What went wrong, as far as the runtime lets it be known. */
export type ImageRuntimeErrorKind =
  /** The call was aborted by its signal. */
  | 'aborted'
  /** What arrived is not what the registry's digest says. */
  | 'corrupt'
  /** The registry refused the credentials, or wants some. */
  | 'denied'
  /** The reference is not one. */
  | 'invalidName'
  /** The registry has no such image, or shows this user none. */
  | 'notFound'
  | 'other'
  /** The socket speaks another protocol, or the runtime lacks the call. */
  | 'protocol'
  /** The registry cannot be reached or does not work. */
  | 'registryUnavailable'
  /** A signature policy of the runtime was not met. */
  | 'signature'
  /** The runtime did not answer in time. */
  | 'timeout'
  /** The runtime cannot be reached, or the connection was lost. */
  | 'unavailable';

/** A call to a container runtime failed. Code `RUNTIME_FAILED`. */
export class ImageRuntimeError extends PullManagerError {
  readonly kind: ImageRuntimeErrorKind;
  /** Whether the runtime itself said so; else the call may still take effect. */
  readonly answered: boolean;

  /** @param message Without secrets: see `withoutSecrets`. */
  constructor(
    kind: ImageRuntimeErrorKind,
    message: string,
    options: {
      readonly answered: boolean;
      readonly image?: string | undefined;
      readonly path?: string | undefined;
      /** What the runtime said, without secrets. */
      readonly reason?: string | undefined;
      readonly cause?: unknown;
    },
  ) {
    const { answered, image, path, reason, cause } = options;
    super('RUNTIME_FAILED', message, { image, path, reason, cause });
    this.name = kind === 'aborted' ? 'AbortError' : 'ImageRuntimeError';
    this.kind = kind;
    this.answered = answered;
  }
}

/**
 * Codes that gRPC itself makes up when a call breaks off or its answer does not get through. (UNKNOWN,
 * too, but that is also how runtimes tell nearly every failure.)
 */
const UNANSWERED_GRPC_CODES: ReadonlySet<unknown> = grpcCodes(
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
);
const UNANSWERED_NAMES: ReadonlySet<unknown> = new Set(['AbortError', 'TimeoutError']);
/** Of sockets and HTTP clients: the answer did not arrive. */
const UNANSWERED_CODES =
  /^(E(CANCELED|CONN(RESET|REFUSED|ABORTED)|PIPE|TIMEDOUT|HOSTUNREACH|NETUNREACH|NOENT)|ABORT_ERR|UND_ERR_\w+|ERR_(CANCELED|NETWORK|(HTTP2|SOCKET|STREAM)_\w+))$/;
/** `fetch` tells what has happened in the cause of its error, and wrappers of it in theirs. */
const CAUSES_MAX = 8;

/**
 * Whether an error of a runtime leaves open what became of the call: it, or one of its causes, says
 * `answered: false`, is an abort or a timeout, or comes from a lost connection.
 */
export function isUnanswered(error: unknown): boolean {
  let link = error;
  for (let i = 0; i < CAUSES_MAX && typeof link === 'object' && link !== null; i++) {
    const { answered, name, code, cause } = link as Record<string, unknown>;
    if (typeof answered === 'boolean') return !answered;
    if (UNANSWERED_NAMES.has(name) || UNANSWERED_GRPC_CODES.has(code)) return true;
    if (typeof code === 'string' && UNANSWERED_CODES.test(code)) return true;
    link = cause;
  }
  return false;
}
