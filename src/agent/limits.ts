/** What the agent's server grants a client. */

/** Limits of a server; times in milliseconds. */
export interface ServerLimits {
  /** Of a request's body. Two pull secrets of the largest size that Kubernetes allows fit. */
  readonly bodyBytes: number;
  readonly headerBytes: number;
  /** Until the headers of a request have arrived. */
  readonly headersMs: number;
  /** Until the whole request has arrived. */
  readonly requestMs: number;
  /** Until an answer, from when it is ready, is taken. */
  readonly answerMs: number;
  /** How long a connection may be idle between two requests. */
  readonly keepAliveMs: number;
  /** Connections at a time; one more is closed at once. */
  readonly connections: number;
  /** Requests that are being served at a time; one more is refused. */
  readonly calls: number;
  /** Of these, those of one connection; one more closes it. */
  readonly callsOfConnection: number;
}

/** @see ServerLimits */
export const SERVER_LIMITS: ServerLimits = {
  bodyBytes: 3 << 20,
  headerBytes: 16 << 10,
  headersMs: 10_000,
  requestMs: 30_000,
  answerMs: 30_000,
  keepAliveMs: 60_000,
  connections: 256,
  calls: 1_024,
  callsOfConnection: 64,
};
