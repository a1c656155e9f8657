/**
 * A strict JSON reader that its caller leads through the document: the caller says what must come
 * next, and anything else is an error with its byte offset.
 *
 * `JSON.parse` hides duplicate fields and offsets, and general parsers that report them build a tree
 * first. Here nothing is built that the caller did not ask for, so depth is bounded by the caller's
 * own shape: however deeply a document nests, the first bracket too many ends the reading.
 *
 * Texts are decoded as Go decodes them: bytes that are not UTF-8 and escapes of lone surrogates
 * become U+FFFD, one for each byte or escape.
 *
 * Source: Go encoding/json, of which sigs.k8s.io/json is a stricter copy.
 */
import { isUtf8 } from 'node:buffer';
import { wellFormed } from '../../util/well-formed.ts';
import { RecordFormatError } from './record-format-error.ts';

const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const REPLACEMENT = Buffer.from('\ufffd');
const OBJECT_OPEN = 0x7b;
const OBJECT_CLOSE = 0x7d;
const ARRAY_OPEN = 0x5b;
const ARRAY_CLOSE = 0x5d;

/**
 * Fields and items of one document. Values as a kubelet writes them take more than 8 bytes each, so
 * this many fill 64 MiB; a file of that size with nothing but `{}` in it would take gigabytes.
 */
export const VALUES_MAX: number = 2 ** 23;

/** Reads one JSON document; `what` in its methods names the value in errors. */
export class StrictJsonReader {
  readonly #bytes: Buffer;
  #position = 0;
  #valueCount = 0;

  /** The bytes must not change while they are read. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The byte that comes next, white space skipped; -1 at the end. */
  peek(): number {
    for (;;) {
      const byte = this.#bytes[this.#position];
      if (byte === undefined) return -1;
      if (byte !== SPACE && byte !== NEWLINE && byte !== TAB && byte !== RETURN) return byte;
      this.#position++;
    }
  }

  /** Where the next token begins. */
  get offset(): number {
    this.peek();
    return this.#position;
  }

  /** Enters an object; false if there is `null` in its place. */
  openObject(what: string): boolean {
    return this.#open(OBJECT_OPEN, what, 'an object');
  }

  /** Enters an array; false if there is `null` in its place. */
  openArray(what: string): boolean {
    return this.#open(ARRAY_OPEN, what, 'an array');
  }

  /** Whether the object that was entered has one more field; if not, leaves it. */
  hasField(isFirst: boolean): boolean {
    return this.#hasNext(OBJECT_CLOSE, isFirst);
  }

  /** Whether the array that was entered has one more item; if not, leaves it. */
  hasItem(isFirst: boolean): boolean {
    return this.#hasNext(ARRAY_CLOSE, isFirst);
  }

  /** The name of a field; what comes next is its value. */
  fieldName(): string {
    if (this.peek() !== QUOTE) throw this.#unexpected('the name of a field is expected');
    const name = this.#text();
    if (this.peek() !== COLON) throw this.#unexpected('a colon is expected');
    this.#position++;
    return name;
  }

  /** A string; empty if there is `null` in its place, as in Go. */
  string(what: string): string {
    if (this.peek() === QUOTE) return this.#text();
    if (this.null()) return '';
    throw this.#unexpected(`${what} must be a string`);
  }

  /** A boolean; false if there is `null` in its place, as in Go. */
  boolean(what: string): boolean {
    if (this.#literal('true')) return true;
    if (this.#literal('false') || this.null()) return false;
    throw this.#unexpected(`${what} must be a boolean`);
  }

  /** Takes a `null`, if there is one. */
  null(): boolean {
    return this.#literal('null');
  }

  /** Requires that nothing but white space follows. */
  end(): void {
    if (this.peek() !== -1) throw this.#unexpected('there is more behind the end');
  }

  #open(bracket: number, what: string, kind: string): boolean {
    if (this.peek() === bracket) {
      this.#position++;
      return true;
    }
    if (this.null()) return false;
    throw this.#unexpected(`${what} must be ${kind}`);
  }

  #hasNext(bracket: number, isFirst: boolean): boolean {
    const byte = this.peek();
    if (byte === bracket) {
      this.#position++;
      return false;
    }
    if (++this.#valueCount > VALUES_MAX) throw this.#unexpected('there are too many values');
    if (isFirst) return true;
    if (byte !== COMMA) throw this.#unexpected('a comma or a closing bracket is expected');
    this.#position++;
    return true;
  }

  #literal(word: string): boolean {
    if (this.peek() !== word.charCodeAt(0)) return false;
    for (let i = 1; i < word.length; i++) {
      if (this.#bytes[this.#position + i] !== word.charCodeAt(i)) return false;
    }
    this.#position += word.length;
    return true;
  }

  /** The text whose opening quote comes next. */
  #text(): string {
    const bytes = this.#bytes;
    const start = this.#position + 1;
    let end = start;
    let isPlain = true;
    let hasEscapes = false;
    for (let byte = bytes[end]; byte !== QUOTE; byte = bytes[end]) {
      if (byte === undefined) throw new RecordFormatError('the text ends too early', bytes.length);
      if (byte < SPACE) throw new RecordFormatError('a text has a bare control character', end);
      if (byte === BACKSLASH) {
        hasEscapes = true;
        end += 2;
      } else {
        if (byte >= 0x80) isPlain = false;
        end++;
      }
    }
    this.#position = end + 1;
    if (hasEscapes) return this.#unescaped(start, end);
    // A copy, not a slice: a slice would keep the whole document in memory.
    return isPlain ? bytes.toString('latin1', start, end) : decodeUtf8(bytes.subarray(start, end));
  }

  /** The grammar of escapes is that of JavaScript. */
  #unescaped(start: number, end: number): string {
    try {
      const text: unknown = JSON.parse(`"${decodeUtf8(this.#bytes.subarray(start, end))}"`);
      return wellFormed(text as string);
    } catch {
      throw new RecordFormatError('a text has an unknown escape', start - 1);
    }
  }

  #unexpected(problem: string): RecordFormatError {
    if (this.peek() !== -1) return new RecordFormatError(problem, this.#position);
    return new RecordFormatError('the file ends too early', this.#bytes.length);
  }
}

function decodeUtf8(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString('utf8') : decodeDamagedUtf8(bytes);
}

/** Each byte that begins no whole sequence becomes one U+FFFD; decoders of Node make fewer of them. */
function decodeDamagedUtf8(bytes: Buffer): string {
  const repaired = Buffer.allocUnsafe(bytes.length * REPLACEMENT.length);
  let size = 0;
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes, i);
    size +=
      length === 0 ? REPLACEMENT.copy(repaired, size) : bytes.copy(repaired, size, i, i + length);
    i += length || 1;
  }
  return repaired.toString('utf8', 0, size);
}

/** How long the sequence is that begins at `start`; 0 if none does. (Unicode, table 3-7.) */
function sequenceLength(bytes: Buffer, start: number): number {
  const first = bytes[start]!;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  let min = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  let max = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  for (let i = start + 1; i < start + length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte < min || byte > max) return 0;
    min = 0x80;
    max = 0xbf;
  }
  return length;
}
