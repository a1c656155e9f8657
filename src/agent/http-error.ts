/** Requests that are refused before they reach an operation. */

/** Codes of what is wrong with a request itself, with their status. */
const STATUS_OF_CODE = {
  /** Not HTTP/1.1, or broken in the middle. */
  ERR_AGENT_MALFORMED_REQUEST: 400,
  /** The body is not JSON in UTF-8. */
  ERR_AGENT_BODY_INVALID: 400,
  ERR_AGENT_NOT_FOUND: 404,
  ERR_AGENT_METHOD_NOT_ALLOWED: 405,
  /** The request did not arrive in time. */
  ERR_AGENT_REQUEST_TIMEOUT: 408,
  ERR_AGENT_BODY_TOO_LARGE: 413,
  /** The body is compressed. */
  ERR_AGENT_ENCODING_UNSUPPORTED: 415,
  ERR_AGENT_HEADERS_TOO_LARGE: 431,
  /** Something that should not happen; the log has more. */
  ERR_AGENT_INTERNAL: 500,
  /** As many requests as the agent takes are being served. */
  ERR_AGENT_BUSY: 503,
  /** The agent is shutting down. */
  ERR_AGENT_SHUTTING_DOWN: 503,
  /** The agent runs, but what it needs does not answer. */
  ERR_AGENT_NOT_READY: 503,
} as const;

/** Code of an `HttpError`. */
export type HttpErrorCode = keyof typeof STATUS_OF_CODE;

/** A request that is refused. The message may be shown to the client. */
export class HttpError extends Error {
  readonly code: HttpErrorCode;
  readonly status: number;
  /** Of the answer, beyond the usual ones. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: HttpErrorCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'HttpError';
    this.code = code;
    this.status = STATUS_OF_CODE[code];
    this.headers = headers;
  }
}
