/** Reads JSON that may hold secrets: what is wrong is named by its place, and no value is ever shown. */
import { PullManagerError, quote } from '../errors.ts';
import { wellFormed } from '../util/well-formed.ts';

/** A JSON document is not what it should be; `reason` says where and why, and shows no value. */
export class JsonInputError extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.name = 'JsonInputError';
    this.reason = reason;
  }
}

/** A place in a document; a function where it is worked out for errors only. */
export type JsonPlace = string | (() => string);

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of bytes; `undefined` where they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The document; throws `JsonInputError`. What parsers say of a mistake quotes what is around it. */
export function parseJson(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw new JsonInputError('it is not UTF-8');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new JsonInputError('it is not JSON');
  }
}

/** The members of an object; none where there is `null` or nothing. */
export function membersOf(
  value: unknown,
  place: JsonPlace,
): readonly (readonly [string, unknown])[] {
  if (value === null || value === undefined) return [];
  if (typeof value !== 'object' || Array.isArray(value)) throw mustBe(place, 'an object');
  return Object.entries(value);
}

/** A text; empty where there is `null` or nothing. Lone surrogates become U+FFFD, as in Go. */
export function textOf(value: unknown, place: JsonPlace): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'string') throw mustBe(place, 'a string');
  return wellFormed(value);
}

function mustBe(place: JsonPlace, what: string): JsonInputError {
  return new JsonInputError(`${typeof place === 'string' ? place : place()} must be ${what}`);
}

/** A boolean. */
export function booleanOf(value: unknown, place: JsonPlace): boolean {
  if (typeof value !== 'boolean') throw mustBe(place, 'true or false');
  return value;
}

/** An array; empty where there is `null` or nothing. */
export function itemsOf(value: unknown, place: JsonPlace): readonly unknown[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw mustBe(place, 'an array');
  return value as readonly unknown[];
}

/** Members by name, whatever their letter case, as Go reads them; of several the last counts. */
export function fieldsOf(value: unknown, place: JsonPlace): ReadonlyMap<string, unknown> {
  return new Map(membersOf(value, place).map(([name, member]) => [name.toLowerCase(), member]));
}

/** Members by name, of which all must be known. */
export function strictFieldsOf(
  value: unknown,
  path: string,
  known: readonly string[],
): ReadonlyMap<string, unknown> {
  const fields = new Map(membersOf(value, path));
  for (const name of fields.keys()) {
    if (!known.includes(name))
      throw new JsonInputError(`${path} has an unknown field ${quote(name)}`);
  }
  return fields;
}

/** `path["name"]`, for names that may be anything; what stands before an `@` may be a password. */
export function memberPath(path: string, name: string): string {
  return `${path}[${quote(name.replace(/^.*@/s, '…@'))}]`;
}

/** Runs `read`; what it finds wrong becomes `CREDENTIALS_INVALID`, `what` naming the document. */
export function readingCredentials<T>(
  what: string,
  fields: { readonly path?: string; readonly argument?: string },
  read: () => T,
): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof JsonInputError)) throw error;
    throw credentialsInvalid(what, error.reason, fields);
  }
}

/** `CREDENTIALS_INVALID`; `what` names the file or secret, `reason` the place in it and the mistake. */
export function credentialsInvalid(
  what: string,
  reason: string,
  fields: { readonly path?: string; readonly argument?: string },
): PullManagerError {
  return new PullManagerError('CREDENTIALS_INVALID', `${what} is not valid: ${reason}`, {
    ...fields,
    reason,
  });
}
