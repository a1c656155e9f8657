/** Opens files for reading as streams that can be given up at any moment, also while nothing comes. */
import { close, constants, createReadStream, fstat, open } from 'node:fs';
import { Socket } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { isatty, ReadStream } from 'node:tty';
import { promisify } from 'node:util';

/** How much is read, and until when. */
export interface ReadOptions {
  /** @default no limit */
  readonly bytesMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const openFile = promisify(open);
const statFile = promisify(fstat);

/**
 * The bytes of a file, a pipe with a name or a terminal. A pipe is waited for until somebody writes
 * to it, and ends when nobody does any more.
 *
 * A thread that waits for a pipe in an open or a read keeps the whole process from ending, even by
 * `process.exit`. So pipes and terminals are read by the event loop, which no silent writer holds.
 *
 * @param signal - Destroys the stream.
 * @throws the error of the system where the file cannot be opened.
 */
export async function openReadable(path: string, signal?: AbortSignal): Promise<Readable> {
  const fd = await openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stream = await streamOf(fd);
    return signal === undefined ? stream : addAbortSignal(signal, stream);
  } catch (error) {
    close(fd);
    throw error;
  }
}

/**
 * All that such a file holds, as text; `undefined` where that is more than `bytesMax`.
 *
 * @throws the error of the system; an `AbortError`.
 */
export async function readReadable(
  path: string,
  { bytesMax = Number.POSITIVE_INFINITY, signal }: ReadOptions = {},
): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (await openReadable(path, signal)) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function streamOf(fd: number): Promise<Readable> {
  if (isatty(fd)) return new ReadStream(fd);
  if ((await statFile(fd)).isFIFO()) return new Socket({ fd, readable: true, writable: false });
  return createReadStream('', { fd });
}
