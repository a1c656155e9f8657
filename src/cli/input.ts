/** Files and the standard input, read as streams. */
import { open } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import { errorCode, quote } from '../errors.ts';

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
  if (path === '-') {
    addAbortSignal(signal, process.stdin);
    // Else an unread rest would keep the process.
    const close = async (): Promise<void> => void process.stdin.destroy();
    return { stream: chunksOf(process.stdin, argument, path), [Symbol.asyncDispose]: close };
  }
  try {
    const file = await open(path, 'r');
    const stream = addAbortSignal(signal, file.createReadStream({ autoClose: false }));
    return {
      stream: chunksOf(stream, argument, path),
      [Symbol.asyncDispose]: async () => {
        stream.destroy();
        await file.close();
      },
    };
  } catch (cause) {
    throw cannotRead(cause, argument, path);
  }
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
