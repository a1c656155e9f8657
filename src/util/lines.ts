/** Lines of a stream of bytes, with bounds: what others send may be anything. */
import { PullManagerError } from '../errors.ts';

/** A line without its end. */
export interface Line {
  /** 1-based. */
  readonly number: number;
  /** Undefined: the line is not UTF-8. */
  readonly text: string | undefined;
}

/** A record of 100,000 secrets has some 20 MB. */
export const LINE_BYTES_MAX: number = 128 * 1024 * 1024;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * The lines of a stream; the last one may lack its end. Ends are `\n` or `\r\n`.
 *
 * @throws `RECORD_CORRUPT` for a line of more than `bytesMax`; the stream's errors as they are.
 */
export async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  bytesMax: number = LINE_BYTES_MAX,
): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let number = 1;
  const take = (): Line => {
    const line = Buffer.concat(parts);
    parts = [];
    bytes = 0;
    const end = line.at(-1) === CARRIAGE_RETURN ? line.length - 1 : line.length;
    return { number: number++, text: decoded(decoder, line.subarray(0, end)) };
  };
  const add = (part: Uint8Array): void => {
    bytes += part.byteLength;
    if (bytes > bytesMax) {
      const problem = `line ${number} is longer than ${bytesMax} bytes`;
      throw new PullManagerError('RECORD_CORRUPT', problem, { reason: problem });
    }
    parts.push(part);
  };
  for await (const chunk of stream) {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, from);
      if (end === -1) break;
      add(chunk.subarray(from, end));
      yield take();
      from = end + 1;
    }
    if (from < chunk.byteLength) add(chunk.subarray(from));
  }
  if (bytes > 0) yield take();
}

function decoded(
  decoder: { decode(bytes: Uint8Array): string },
  bytes: Uint8Array,
): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
