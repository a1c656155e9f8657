/** Sends an answer to a client that may read slowly, or not at all. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Answer } from './answer.ts';

/**
 * Resolves with true when the answer has been taken, with false when the client has gone. A client
 * that takes none of it for `limitMs` is disconnected. Rejects only with what the body's pieces throw.
 *
 * @param hungUp - Resolves when the client has gone: a response that waits for its turn behind another
 *   one on the same connection does not hear of that.
 */
export async function sendAnswer(
  response: ServerResponse,
  { status, contentType, body, headers }: Answer,
  limitMs: number,
  hungUp: Promise<void>,
): Promise<boolean> {
  let leave: () => void = () => {};
  const taken = new Promise<boolean>((resolve) => {
    response.once('finish', () => resolve(true));
    leave = () => resolve(false);
  });
  response.once('close', leave);
  void hungUp.then(leave);
  const giveUp = (): void => {
    response.destroy();
    leave();
  };
  let timer = setTimeout(giveUp, limitMs);
  const progress = (): void => {
    clearTimeout(timer);
    timer = setTimeout(giveUp, limitMs);
  };
  try {
    response.writeHead(status, { 'Content-Type': contentType, ...lengthOf(body), ...headers });
    if (typeof body === 'string') {
      response.end(body);
    } else {
      for await (const piece of body) {
        if (!response.write(piece)) await Promise.race([once(response, 'drain'), taken]);
        if (response.destroyed) return false;
        progress();
      }
      response.end();
    }
    return await taken;
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
