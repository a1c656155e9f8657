/** What a request is answered with. */

/** A status, and a body that is there already or comes in pieces. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | AsyncIterable<string>;
  /** @default none */
  readonly headers?: Readonly<Record<string, string>>;
}

export const JSON_TYPE = 'application/json';
/** The Prometheus text format. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** A value as JSON, with a line break for those who read it in a terminal. */
export function jsonAnswer(
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(value)}\n`, headers };
}
