/** Reads a trace. Whatever is wrong with it is named with its line; only the end may be torn. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { errorCode, invalidArgument, PullManagerError, quote } from '../errors.ts';
import { linesOf } from '../util/lines.ts';
import { openReadable } from '../util/open-readable.ts';
import type { OperationLine, StateLine, TracedCredentials, TraceHeader } from './format.ts';
import { checkCredentials, checkHeader, checkLine, textsOf } from './trace-lines.ts';

/** Operations that a replay holds in memory; about 100 bytes each. */
export const OPERATIONS_MAX = 5_000_000;

/** A trace in memory. */
export interface Trace {
  readonly header: TraceHeader;
  /** By number; 0 is unused. */
  readonly credentials: readonly (TracedCredentials | undefined)[];
  readonly state: readonly StateLine[];
  /** In the order of their times. */
  readonly operations: readonly OperationLine[];
  /** Operations that the recording left out. */
  readonly dropped: number;
  /** Whether the recording was ended in order. Without that, its last moments may be missing. */
  readonly isWhole: boolean;
  /** SHA-256 of the file, as hexadecimal digits. */
  readonly digest: string;
}

/**
 * Reads a trace.
 *
 * @throws `INVALID_ARGUMENT` naming file, line and problem: unreadable, no trace, another version, a
 * damaged line that is not the last, too many operations.
 */
export async function readTrace(path: string, signal?: AbortSignal): Promise<Trace> {
  let stream: Readable | undefined;
  try {
    stream = await openReadable(path, signal);
    return await parseTrace(stream, path);
  } catch (cause) {
    if (cause instanceof PullManagerError || signal?.aborted === true) throw cause;
    const problem = `${quote(path)} cannot be read: ${errorCode(cause) ?? 'unknown error'}`;
    throw new PullManagerError('INVALID_ARGUMENT', problem, { argument: path, path, cause });
  } finally {
    stream?.destroy();
  }
}

/** The trace in a stream of bytes; `path` names it in errors. As `readTrace`. */
export async function parseTrace(stream: AsyncIterable<Uint8Array>, path: string): Promise<Trace> {
  const reading = new Reading(path);
  const hash = createHash('sha256');
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of stream) {
      hash.update(chunk);
      yield chunk;
    }
  };
  for await (const { number, text } of linesOf(hashed())) reading.take(number, text);
  return { ...reading.end(), digest: hash.digest('hex') };
}

class Reading {
  readonly #path: string;
  readonly #texts = new Map<string, string>();
  readonly #credentials: (TracedCredentials | undefined)[] = [undefined];
  readonly #state: StateLine[] = [];
  readonly #operations: OperationLine[] = [];
  #header: TraceHeader | undefined;
  #dropped = 0;
  #isWhole = false;
  /** Of the last line that is none; another line after it makes it an error. */
  #torn: PullManagerError | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  take(number: number, text: string | undefined): void {
    const where = `${this.#path}: line ${number}`;
    if (this.#torn !== undefined) throw this.#torn;
    let value: unknown;
    try {
      value = JSON.parse(text ?? '');
    } catch {
      this.#torn = invalidArgument(where, 'is not JSON');
      if (this.#header === undefined) throw invalidArgument(this.#path, 'is no trace');
      return;
    }
    if (this.#header === undefined) this.#header = checkHeader(value, this.#path);
    else this.#takeLine(value, where);
  }

  end(): Omit<Trace, 'digest'> {
    if (this.#header === undefined) throw invalidArgument(this.#path, 'is empty: it is no trace');
    const isOrdered = this.#operations.every(
      ({ at }, i) => i === 0 || at >= this.#operations[i - 1]!.at,
    );
    // A decision is noted when its credentials are known.
    if (!isOrdered) this.#operations.sort((a, b) => a.at - b.at);
    return {
      header: this.#header,
      credentials: this.#credentials,
      state: this.#state,
      operations: this.#operations,
      dropped: this.#dropped,
      isWhole: this.#isWhole && this.#torn === undefined,
    };
  }

  #takeLine(value: unknown, where: string): void {
    const line = checkLine(value, this.#credentials.length, where);
    if (this.#isWhole) throw invalidArgument(where, 'comes after the end');
    switch (line.op) {
      case 'credentials':
        this.#credentials.push(checkCredentials(line, where));
        break;
      case 'record':
      case 'leftOver':
        this.#state.push(line);
        break;
      case 'dropped':
        this.#dropped += line.count;
        break;
      case 'end':
        this.#isWhole = true;
        break;
      default:
        if (this.#operations.length >= OPERATIONS_MAX) {
          throw invalidArgument(where, `is beyond the ${OPERATIONS_MAX} operations of a replay`);
        }
        this.#operations.push(textsOf(line, (text) => this.#intern(text)));
    }
  }

  /** One string for each text: there are few, and many operations. */
  #intern(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    this.#texts.set(text, text);
    return text;
  }
}
