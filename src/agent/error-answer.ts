/** How errors are told to clients: a status, a code, and a message without secrets. */
import { PULL_MANAGER_ERROR_CODES, PullManagerError } from '../errors.ts';
import {
  EnsureImageError,
  type EnsureImageErrorCode,
} from '../image-manager/ensure-image-error.ts';
import { ImageRuntimeError, type ImageRuntimeErrorKind } from '../runtime/image-runtime.ts';
import { type Answer, jsonAnswer } from './answer.ts';
import { HttpError } from './http-error.ts';

/** What a client is told of an error. */
export interface ToldError {
  readonly code: string;
  readonly message: string;
  /** The field of the request that is wrong, for example `secrets[0].uid`. */
  readonly argument?: string;
  /** How the runtime failed, where it did. */
  readonly kind?: ImageRuntimeErrorKind;
}

const BAD_REQUEST = 400;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const TOO_MANY_REQUESTS = 429;
const INTERNAL = 500;
const BAD_GATEWAY = 502;
const UNAVAILABLE = 503;
const GATEWAY_TIMEOUT = 504;

const STATUS_OF_KIND: Readonly<Record<ImageRuntimeErrorKind, number>> = {
  aborted: UNAVAILABLE,
  corrupt: BAD_GATEWAY,
  denied: FORBIDDEN,
  invalidName: BAD_REQUEST,
  notFound: NOT_FOUND,
  other: BAD_GATEWAY,
  protocol: BAD_GATEWAY,
  registryUnavailable: UNAVAILABLE,
  signature: FORBIDDEN,
  timeout: GATEWAY_TIMEOUT,
  unavailable: UNAVAILABLE,
};

/** Those that are not decided by what the runtime said, or where it said nothing. */
const STATUS_OF_ENSURE: Readonly<Record<EnsureImageErrorCode, number>> = {
  ErrInvalidImageName: BAD_REQUEST,
  ErrImageInspect: BAD_GATEWAY,
  // The same for an absent image and for one that may not be used.
  ErrImageNeverPull: FORBIDDEN,
  ErrImagePullBackOff: TOO_MANY_REQUESTS,
  ErrImagePull: BAD_GATEWAY,
  RegistryUnavailable: UNAVAILABLE,
  SignatureValidationFailed: FORBIDDEN,
  ErrImageCredentials: BAD_GATEWAY,
  ErrImagePullIntent: UNAVAILABLE,
};

/** Codes of the engine whose fault is the request's. */
const BAD_REQUEST_CODES: ReadonlySet<string> = new Set([
  'ERR_PULLMANAGER_INVALID_ARGUMENT',
  'ERR_PULLMANAGER_IMAGE_NAME_INVALID',
]);
const BAD_GATEWAY_CODES: ReadonlySet<string> = new Set([
  'ERR_PULLMANAGER_CREDENTIAL_PROVIDER_FAILED',
  'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED',
]);

const CAUSE_DEPTH_MAX = 8;
const MS_PER_SECOND = 1_000;

/**
 * The answer for whatever an operation threw. Errors of other origin than pullwarden's may have
 * anything in their text, so it is not told.
 */
export function errorAnswer(error: unknown): Answer {
  return jsonAnswer({ error: toldOf(error) }, statusOf(error), headersOf(error));
}

function headersOf(error: unknown): Readonly<Record<string, string>> {
  if (error instanceof HttpError) return error.headers;
  const retryAfterMs = error instanceof EnsureImageError ? error.retryAfterMs : undefined;
  if (retryAfterMs === undefined) return {};
  return { 'retry-after': String(Math.ceil(retryAfterMs / MS_PER_SECOND)) };
}

/** What may be told of an error: to clients and in the log. */
export function toldOf(error: unknown): ToldError {
  if (error instanceof HttpError) return { code: error.code, message: error.message };
  const isEnsure = error instanceof EnsureImageError;
  if (!isEnsure && !(error instanceof PullManagerError)) {
    return { code: 'ERR_AGENT_INTERNAL', message: 'internal error: see the log of the agent' };
  }
  const kind = kindOf(error);
  const told = bestMessage(error);
  return {
    code: error.code,
    message: told.message,
    ...(told.argument === undefined ? {} : { argument: told.argument }),
    ...(kind === undefined ? {} : { kind }),
  };
}

/** Whether an error is one that should not happen. */
export function isInternal(error: unknown): boolean {
  return statusOf(error) === INTERNAL;
}

function statusOf(error: unknown): number {
  if (error instanceof HttpError) return error.status;
  if (error instanceof EnsureImageError) {
    const { code } = error;
    if (code === 'ErrImageCredentials') return statusOfLookUp(error) ?? STATUS_OF_ENSURE[code];
    const kind = code === 'ErrImagePull' || code === 'ErrImageInspect' ? kindOf(error) : undefined;
    return kind === undefined ? STATUS_OF_ENSURE[code] : STATUS_OF_KIND[kind];
  }
  if (error instanceof ImageRuntimeError) return STATUS_OF_KIND[error.kind];
  if (error instanceof PullManagerError) return statusOfCode(error);
  return INTERNAL;
}

function statusOfCode({ code, path }: PullManagerError): number {
  // A file of the node is not the client's fault, a secret is.
  if (code === PULL_MANAGER_ERROR_CODES.CREDENTIALS_INVALID) {
    return path === undefined ? BAD_REQUEST : BAD_GATEWAY;
  }
  if (BAD_REQUEST_CODES.has(code)) return BAD_REQUEST;
  return BAD_GATEWAY_CODES.has(code) ? BAD_GATEWAY : UNAVAILABLE;
}

/** By the innermost cause: a secret that is none is the request's fault. */
function statusOfLookUp(error: EnsureImageError): number | undefined {
  let status: number | undefined;
  for (const cause of causesOf(error)) {
    if (cause instanceof PullManagerError) status = statusOfCode(cause);
  }
  return status;
}

/** How the runtime failed; of several attempts, the last. */
function kindOf(error: Error): ImageRuntimeErrorKind | undefined {
  for (const cause of causesOf(error)) {
    if (cause instanceof ImageRuntimeError) return cause.kind;
    if (cause instanceof AggregateError) {
      const last: unknown = cause.errors.at(-1);
      if (last instanceof ImageRuntimeError) return last.kind;
    }
  }
  return undefined;
}

/** The error's message, with what its look-up of credentials failed of, if it did. */
function bestMessage(error: Error): { message: string; argument?: string } {
  const argument = error instanceof PullManagerError ? error.argument : undefined;
  const isLookUp = error instanceof EnsureImageError && error.code === 'ErrImageCredentials';
  if (!isLookUp) return { message: error.message, ...(argument === undefined ? {} : { argument }) };
  let innermost: PullManagerError | undefined;
  for (const cause of causesOf(error)) if (cause instanceof PullManagerError) innermost = cause;
  if (innermost === undefined) return { message: error.message };
  return {
    message: `${error.message}: ${innermost.message}`,
    ...(innermost.argument === undefined ? {} : { argument: innermost.argument }),
  };
}

/** The error and what it was caused by. */
function* causesOf(error: unknown): Generator {
  let cause = error;
  for (let depth = 0; cause instanceof Error && depth < CAUSE_DEPTH_MAX; depth++) {
    yield cause;
    cause = cause.cause;
  }
}
