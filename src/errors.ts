/**
 * Every error that pullwarden raises on purpose, and the form in which errors cross threads.
 *
 * One class per reaction a caller can have; everything else is told apart by `code`. Messages name
 * what was given, shortened, and never carry a secret, hash or token.
 */

/** The closed set of error codes, by their short names. */
export const PULL_MANAGER_ERROR_CODES = {
  /** The call was aborted by its signal. `name` is `AbortError`. */
  ABORTED: 'ERR_PULLMANAGER_ABORTED',
  /** An allow-list pattern breaks the grammar (`AllowlistPatternError`). */
  ALLOWLIST_PATTERN_INVALID: 'ERR_PULLMANAGER_ALLOWLIST_PATTERN_INVALID',
  /** The engine is closed or closing. */
  CLOSED: 'ERR_PULLMANAGER_CLOSED',
  /** A configuration of credentials is not one: `path` or `argument` names it, `reason` says why. */
  CREDENTIALS_INVALID: 'ERR_PULLMANAGER_CREDENTIALS_INVALID',
  /** A credential helper or provider program failed; `path` names it. */
  CREDENTIAL_PROVIDER_FAILED: 'ERR_PULLMANAGER_CREDENTIAL_PROVIDER_FAILED',
  /** The caller's own credentials source failed; `cause` is what it threw. */
  CREDENTIALS_SOURCE_FAILED: 'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED',
  /** The handle given to `attach` is not one of a running engine, or has no place left. */
  ENGINE_UNAVAILABLE: 'ERR_PULLMANAGER_ENGINE_UNAVAILABLE',
  /** A text is not an image name (`ImageNameError`). */
  IMAGE_NAME_INVALID: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID',
  /** The runtime did not answer at start-up; left-over intents stay. */
  IMAGE_SERVICE_FAILED: 'ERR_PULLMANAGER_IMAGE_SERVICE_FAILED',
  /** An argument or option has the wrong type, shape or range; `argument` is its path. */
  INVALID_ARGUMENT: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
  /** A lock is released by somebody who does not hold it, or taken again by its holder. */
  LOCK_MISUSED: 'ERR_PULLMANAGER_LOCK_MISUSED',
  /** A stripe was not free in time; names the stripe and its owner. */
  LOCK_TIMEOUT: 'ERR_PULLMANAGER_LOCK_TIMEOUT',
  /** The verification policy is not a known one. */
  POLICY_UNKNOWN: 'ERR_PULLMANAGER_POLICY_UNKNOWN',
  /** A bounded queue is full; nothing was done. */
  QUEUE_FULL: 'ERR_PULLMANAGER_QUEUE_FULL',
  /** A call to the container runtime failed (`ImageRuntimeError`). */
  RUNTIME_FAILED: 'ERR_PULLMANAGER_RUNTIME_FAILED',
  /** A record or intent is present but cannot be decoded. */
  RECORD_CORRUPT: 'ERR_PULLMANAGER_RECORD_CORRUPT',
  /** Another process listens on the agent's socket; `path` names it. */
  SOCKET_IN_USE: 'ERR_PULLMANAGER_SOCKET_IN_USE',
  /** The agent's socket cannot be made; `path` names it. */
  SOCKET_UNAVAILABLE: 'ERR_PULLMANAGER_SOCKET_UNAVAILABLE',
  /** A store's file is damaged beyond a torn tail; it is left untouched. */
  STORE_CORRUPT: 'ERR_PULLMANAGER_STORE_CORRUPT',
  /** Another engine owns the store's directory. */
  STORE_IN_USE: 'ERR_PULLMANAGER_STORE_IN_USE',
  /** The store could not read or write (no space, no permission, I/O error, peer missing). */
  STORE_UNAVAILABLE: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
  /** The store was written in a newer format than this version reads. */
  STORE_VERSION_UNSUPPORTED: 'ERR_PULLMANAGER_STORE_VERSION_UNSUPPORTED',
  /** The worker that had the call died; whether it took effect is unknown. */
  WORKER_LOST: 'ERR_PULLMANAGER_WORKER_LOST',
} as const;

/** Short name of an error code, for example `WORKER_LOST`. */
export type PullManagerErrorName = keyof typeof PULL_MANAGER_ERROR_CODES;
/** A stable error code, for example `ERR_PULLMANAGER_WORKER_LOST`. */
export type PullManagerErrorCode = (typeof PULL_MANAGER_ERROR_CODES)[PullManagerErrorName];

/** What an error is about. Each field is present only where it applies. */
export interface PullManagerErrorFields {
  readonly image?: string | undefined;
  readonly imageRef?: string | undefined;
  readonly path?: string | undefined;
  readonly argument?: string | undefined;
  readonly pattern?: string | undefined;
  readonly stripeIndex?: number | undefined;
  readonly workerIndex?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly offset?: number | undefined;
  readonly reason?: string | undefined;
}

const FIELD_NAMES = [
  'image',
  'imageRef',
  'path',
  'argument',
  'pattern',
  'stripeIndex',
  'workerIndex',
  'timeoutMs',
  'offset',
  'reason',
] as const satisfies readonly (keyof PullManagerErrorFields)[];

const BRAND = Symbol.for('pullwarden.PullManagerError');

/** An operating error of the engine; told apart by `code`. */
export class PullManagerError extends Error {
  readonly code: PullManagerErrorCode;
  declare readonly image?: string;
  declare readonly imageRef?: string;
  declare readonly path?: string;
  declare readonly argument?: string;
  declare readonly pattern?: string;
  declare readonly stripeIndex?: number;
  declare readonly workerIndex?: number;
  declare readonly timeoutMs?: number;
  declare readonly offset?: number;
  declare readonly reason?: string;

  constructor(
    name: PullManagerErrorName,
    message: string,
    fields: PullManagerErrorFields & { readonly cause?: unknown } = {},
  ) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = name === 'ABORTED' ? 'AbortError' : 'PullManagerError';
    this.code = PULL_MANAGER_ERROR_CODES[name];
    for (const field of FIELD_NAMES) {
      const value = fields[field];
      if (value !== undefined) Object.defineProperty(this, field, { value, enumerable: true });
    }
  }

  // Two copies of the package in one process must recognise each other's errors.
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== PullManagerError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === 'object' && value !== null && BRAND in value;
  }
}

Object.defineProperty(PullManagerError.prototype, BRAND, { value: true });

/** Why a text is not an image name. */
export type ImageNameErrorReason =
  | 'hex64'
  | 'uppercase'
  | 'format'
  | 'too-long'
  | 'digest-algorithm'
  | 'digest-length'
  | 'digest-format';

/** A text is not an image name; `image` is the text, `reason` says why. */
export class ImageNameError extends PullManagerError {
  declare readonly image: string;
  declare readonly reason: ImageNameErrorReason;

  constructor(image: string, reason: ImageNameErrorReason, cause: string) {
    super('IMAGE_NAME_INVALID', `couldn't parse image name ${quote(image)}: ${cause}`, {
      image,
      reason,
    });
    this.name = 'ImageNameError';
  }
}

/** An allow-list pattern breaks the grammar; `pattern` is the offending one. */
export class AllowlistPatternError extends PullManagerError {
  declare readonly pattern: string;

  constructor(pattern: string, reason: string, cause?: unknown) {
    super('ALLOWLIST_PATTERN_INVALID', `invalid allow-list pattern ${quote(pattern)}: ${reason}`, {
      pattern,
      reason,
      cause,
    });
    this.name = 'AllowlistPatternError';
  }
}

/** Wrong argument or option: `argument` is its path, for example `credentials.kubernetesSecrets[0].uid`. */
export function invalidArgument(argument: string, problem: string): PullManagerError {
  return new PullManagerError('INVALID_ARGUMENT', `${argument} ${problem}`, { argument });
}

/** `closed`, by default the engine, is closed; `what` names the call. */
export function closedError(what: string, closed = 'the pull manager'): PullManagerError {
  return new PullManagerError('CLOSED', `${what}: ${closed} is closed`);
}

/** The call was aborted; `cause` is the signal's reason. */
export function abortedError(what: string, cause?: unknown): PullManagerError {
  return new PullManagerError('ABORTED', `${what} was aborted`, { cause });
}

/** A bounded queue is full. Has no stack: there may be very many of them at once. */
export function queueFull(message: string): PullManagerError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new PullManagerError('QUEUE_FULL', message);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Wraps whatever a store threw, unless it is one of ours already. */
export function storeError(what: string, cause: unknown, path?: string): PullManagerError {
  if (cause instanceof PullManagerError) return cause;
  const code = errorCode(cause);
  const name = code?.endsWith('RECORD_CORRUPT') ? 'RECORD_CORRUPT' : 'STORE_UNAVAILABLE';
  const detail = code ?? (cause instanceof Error ? cause.name : typeof cause);
  return new PullManagerError(name, `${what}: ${detail}`, { cause, path });
}

/** The `code` of any error value, if it has one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

/** Of a text, and of what it takes with its escapes: one character may take ten. */
const QUOTE_LIMIT = 120;
const ESCAPED_LIMIT = 360;
/** What could change a terminal's state or a line's direction: controls, separators, bidi marks. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A text as it may appear in a message: shortened, unprintable characters escaped, in quotes. */
export function quote(text: string): string {
  let end = Math.min(text.length, QUOTE_LIMIT);
  let shown = escapedText(text.slice(0, end));
  while (shown.length > ESCAPED_LIMIT) {
    end = Math.floor((end * ESCAPED_LIMIT) / shown.length);
    shown = escapedText(text.slice(0, end));
  }
  return end < text.length ? `"${shown}…" (${text.length} characters)` : `"${shown}"`;
}

function escapedText(text: string): string {
  const spelled = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;
  return JSON.stringify(text).slice(1, -1).replace(UNPRINTABLE, spelled);
}

/** Any value as it may appear in a message; of objects, whose `toString` may be anything, no more than that. */
export function quoteValue(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'function') return 'a function';
  return typeof value === 'object' && value !== null ? 'an object' : quote(String(value));
}

/**
 * What an error looks like in a message between threads: structured clone keeps neither class nor
 * own fields, so they are spelled out.
 */
export type WireError = readonly [
  code: string,
  name: string,
  message: string,
  fields: Readonly<Record<string, unknown>>,
  cause: WireError | null,
];

const CAUSE_DEPTH = 3;

/** The wire form of any thrown value. Never throws, whatever getters the value has. */
export function toWire(error: unknown, depth = 0): WireError {
  try {
    return wireOf(error, depth);
  } catch {
    return ['', 'Error', 'an error that cannot be read', {}, null];
  }
}

function wireOf(error: unknown, depth: number): WireError {
  const fields: Record<string, unknown> = {};
  if (!(error instanceof Error)) {
    return ['', 'Error', `thrown value of type ${typeof error}`, {}, null];
  }
  if (error instanceof PullManagerError) {
    for (const field of FIELD_NAMES) if (error[field] !== undefined) fields[field] = error[field];
  }
  const hasCause = error.cause !== undefined && depth < CAUSE_DEPTH;
  const cause = hasCause ? toWire(error.cause, depth + 1) : null;
  // Whatever an error's own fields are, only texts can be sent.
  const { name, message }: { name: unknown; message: unknown } = error;
  return [errorCode(error) ?? '', String(name), String(message), fields, cause];
}

const NAME_OF_CODE: ReadonlyMap<string, PullManagerErrorName> = new Map(
  Object.entries(PULL_MANAGER_ERROR_CODES).map(([name, code]) => [
    code,
    name as PullManagerErrorName,
  ]),
);

/** The error that a wire form stands for, of the class that was sent. */
export function fromWire(wire: WireError): Error {
  const [code, name, message, fields, causeWire] = wire;
  const cause = causeWire === null ? undefined : fromWire(causeWire);
  const known = NAME_OF_CODE.get(code);
  if (known === undefined) {
    const error = new Error(message, cause === undefined ? undefined : { cause });
    error.name = name;
    if (code !== '') Object.assign(error, { code });
    return error;
  }
  const error = new PullManagerError(known, message, { ...fields, cause });
  if (known === 'IMAGE_NAME_INVALID') Object.setPrototypeOf(error, ImageNameError.prototype);
  if (known === 'ALLOWLIST_PATTERN_INVALID') {
    Object.setPrototypeOf(error, AllowlistPatternError.prototype);
  }
  error.name = name;
  return error;
}
