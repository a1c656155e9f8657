/** Sends an answer to a client that may read slowly, or not at all. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Answer } from './answer.ts';

/**
 * Resolves when the answer has been taken, or the client has gone. A client that takes none of it for
 * `limitMs` is disconnected. Rejects only with what the body's pieces throw.
 */
export async function sendAnswer(
  response: ServerResponse,
  { status, contentType, body, headers }: Answer,
  limitMs: number,
): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    response.once('close', resolve);
    // Of a connection that is kept, the response closes only after this.
    response.once('finish', resolve);
  });
  let timer = setTimeout(() => response.destroy(), limitMs);
  const progress = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => response.destroy(), limitMs);
  };
  try {
    response.writeHead(status, { 'Content-Type': contentType, ...lengthOf(body), ...headers });
    if (typeof body === 'string') {
      response.end(body);
    } else {
      for await (const piece of body) {
        if (response.destroyed) break;
        const isFull = !response.write(piece);
        if (isFull) await Promise.race([once(response, 'drain'), ended]);
        progress();
      }
      response.end();
    }
    await ended;
  } catch (error) {
    // A part of an answer must not be taken for the whole.
    response.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function lengthOf(body: Answer['body']): { 'Content-Length'?: number } {
  return typeof body === 'string' ? { 'Content-Length': Buffer.byteLength(body) } : {};
}
