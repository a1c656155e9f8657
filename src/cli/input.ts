/** Files and the standard input, read as streams. */
import { addAbortSignal, type Readable } from 'node:stream';
import { errorCode, quote } from '../errors.ts';
import { openReadable } from '../util/open-readable.ts';

/** A stream of bytes that is given back at the end of the block. */
export interface Input extends AsyncDisposable {
  readonly stream: AsyncIterable<Uint8Array>;
}

/**
 * Opens a file, or the standard input for `-`.
 *
 * @param argument - what names it, for messages.
 * @throws an error that names argument, path and cause, at once or from the stream.
 */
export async function openInput(
  path: string,
  argument: string,
  signal: AbortSignal,
): Promise<Input> {
  let stream: Readable;
  try {
    stream =
      path === '-' ? addAbortSignal(signal, process.stdin) : await openReadable(path, signal);
  } catch (cause) {
    throw cannotRead(cause, argument, path);
  }
  return {
    stream: chunksOf(stream, argument, path),
    // Else an unread rest would keep the process.
    [Symbol.asyncDispose]: async () => void stream.destroy(),
  };
}

async function* chunksOf(
  stream: Readable,
  argument: string,
  path: string,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (cause) {
    throw cannotRead(cause, argument, path);
  }
}

function cannotRead(cause: unknown, argument: string, path: string): Error {
  const code = errorCode(cause) ?? 'unknown error';
  return new Error(`${argument}: cannot read ${quote(path)}: ${code}`, { cause });
}
