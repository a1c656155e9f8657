/** The body of a request: JSON of limited size. */
import type { IncomingMessage } from 'node:http';
import { HttpError } from './http-error.ts';

/** What of a body that is too large is still taken in, so that its sender hears of it: so many times the limit. */
const DISCARDED_LIMITS = 8;

/**
 * Reads a body as JSON; an empty one counts as an empty object.
 *
 * @param begin - Called before the first byte is wanted: a client that asked may now send.
 *
 * Errors: `HttpError` for a body that is too large, compressed, cut off, or no JSON in UTF-8. None of
 * them repeats what was sent.
 */
export async function readJson(
  request: IncomingMessage,
  limitBytes: number,
  begin: () => void,
): Promise<unknown> {
  const { 'content-encoding': encoding = 'identity', 'content-length': length } = request.headers;
  if (encoding !== 'identity') {
    throw new HttpError('ERR_AGENT_ENCODING_UNSUPPORTED', 'the body must not be compressed');
  }
  const isAwaited = request.headers.expect !== undefined;
  if (isAwaited && Number(length) > limitBytes) throw tooLarge(limitBytes);
  begin();
  const text = decode(await readBytes(request, limitBytes));
  if (text === '') return {};
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not what the parser says: it repeats the text, which has secrets in it.
    throw new HttpError('ERR_AGENT_BODY_INVALID', 'the body is not JSON');
  }
}

async function readBytes(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Left early, it must not take the connection along: the client is to be answered.
  const pieces: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of pieces) {
    size += chunk.length;
    if (size <= limitBytes) chunks.push(chunk);
    else chunks.length = 0;
    if (size > limitBytes * DISCARDED_LIMITS) break;
  }
  if (size > limitBytes) throw tooLarge(limitBytes);
  return Buffer.concat(chunks);
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new HttpError('ERR_AGENT_BODY_INVALID', 'the body is not UTF-8');
  }
}

function tooLarge(limitBytes: number): HttpError {
  const message = `the body is larger than ${limitBytes} bytes`;
  return new HttpError('ERR_AGENT_BODY_TOO_LARGE', message);
}
