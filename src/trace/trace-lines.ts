/** Checks the lines of a trace: what others wrote may be anything. */
import { invalidArgument, quote } from '../errors.ts';
import {
  type CredentialsLine,
  type OperationLine,
  TRACE_SCHEMA,
  type TracedCredentials,
  type TracedQuestion,
  type TraceHeader,
  type TraceLine,
} from './format.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The first line of a file. Throws `INVALID_ARGUMENT`. */
export function checkHeader(value: unknown, path: string): TraceHeader {
  if (!isObject(value) || typeof value.schema !== 'string') {
    throw invalidArgument(path, 'is no trace: its first line has no schema');
  }
  if (value.schema !== TRACE_SCHEMA) {
    throw invalidArgument(path, `has the schema ${quote(value.schema)}, and not ${TRACE_SCHEMA}`);
  }
  return value as unknown as TraceHeader;
}

/**
 * Any other line. Throws `INVALID_ARGUMENT` naming `where` and the field.
 *
 * @param credentialCount Numbers of credentials that were given so far, 0 included.
 */
export function checkLine(value: unknown, credentialCount: number, where: string): TraceLine {
  if (!isObject(value)) throw invalidArgument(where, 'is no object');
  const check = new LineCheck(value, where, credentialCount);
  switch (value.op) {
    case 'credentials':
      if (value.number !== credentialCount) {
        throw invalidArgument(where, `must have the number ${credentialCount}`);
      }
      break;
    case 'record':
      check.texts('imageRef', 'name');
      check.credentials(true);
      break;
    case 'leftOver':
      check.texts('image');
      break;
    case 'intent':
    case 'failed':
      check.time('at');
      check.texts('image');
      break;
    case 'pulled':
      check.time('at');
      check.texts('image', 'imageRef');
      check.credentials(true);
      break;
    case 'decide':
      check.time('at');
      check.question();
      break;
    case 'decideBatch':
      check.time('at');
      for (const request of check.list('requests')) {
        if (!isObject(request)) throw invalidArgument(where, 'has a request that is no object');
        new LineCheck(request, where, credentialCount).question();
      }
      break;
    case 'prune':
      check.time('at');
      check.number('until');
      if (!check.list('imageRefs').every((ref) => typeof ref === 'string')) {
        throw invalidArgument(where, 'has something else in imageRefs than texts');
      }
      break;
    case 'dropped':
      check.number('count');
      break;
    case 'end':
      break;
    default:
      throw invalidArgument(where, `has the unknown op ${quote(String(value.op))}`);
  }
  return value as unknown as TraceLine;
}

/** What a line `credentials` says. Throws `INVALID_ARGUMENT`. */
export function checkCredentials(line: CredentialsLine, where: string): TracedCredentials {
  const { nodePodsAccessible, secrets = [], serviceAccounts = [] } = line;
  const isPlace = (value: unknown): boolean =>
    isObject(value) &&
    ['uid', 'namespace', 'name'].every((field) => typeof value[field] === 'string');
  const isSecret = (value: unknown): boolean =>
    isPlace(value) && typeof (value as Fields).credentialHash === 'string';
  if (!Array.isArray(secrets) || !secrets.every(isSecret)) {
    throw invalidArgument(where, 'has something else in secrets than secrets');
  }
  if (!Array.isArray(serviceAccounts) || !serviceAccounts.every(isPlace)) {
    throw invalidArgument(where, 'has something else in serviceAccounts than service accounts');
  }
  return { nodePodsAccessible: nodePodsAccessible === true, secrets, serviceAccounts };
}

/** The same operation with texts that `intern` gives. */
export function textsOf(line: OperationLine, intern: (text: string) => string): OperationLine {
  const question = (asked: TracedQuestion): TracedQuestion => ({
    ...asked,
    image: intern(asked.image),
    imageRef: intern(asked.imageRef),
  });
  switch (line.op) {
    case 'intent':
    case 'failed':
      return { ...line, image: intern(line.image) };
    case 'pulled':
      return { ...line, image: intern(line.image), imageRef: intern(line.imageRef) };
    case 'decide':
      return { ...line, ...question(line) };
    case 'decideBatch':
      return { ...line, requests: line.requests.map(question) };
    case 'prune':
      return { ...line, imageRefs: line.imageRefs.map(intern) };
  }
}

class LineCheck {
  readonly #line: Fields;
  readonly #where: string;
  readonly #credentialCount: number;

  constructor(line: Fields, where: string, credentialCount: number) {
    this.#line = line;
    this.#where = where;
    this.#credentialCount = credentialCount;
  }

  texts(...names: readonly string[]): void {
    for (const name of names) {
      if (typeof this.#line[name] !== 'string') this.#refuse(name, 'a text');
    }
  }

  number(name: string): void {
    if (!Number.isFinite(this.#line[name])) this.#refuse(name, 'a number');
  }

  time(name: string): void {
    this.number(name);
    if ((this.#line[name] as number) < 0) this.#refuse(name, 'at least 0');
  }

  list(name: string): readonly unknown[] {
    const value = this.#line[name];
    return Array.isArray(value) ? value : this.#refuse(name, 'a list');
  }

  /** @param isRecorded Whether there are credentials, or null in their place. */
  credentials(isRecorded: boolean): void {
    const { credentials } = this.#line;
    if (isRecorded ? credentials === null : credentials === undefined) return;
    const isKnown =
      Number.isInteger(credentials) &&
      (credentials as number) >= 1 &&
      (credentials as number) < this.#credentialCount;
    if (!isKnown) this.#refuse('credentials', 'the number of an earlier line');
  }

  question(): void {
    this.texts('image', 'imageRef');
    this.credentials(false);
  }

  #refuse(name: string, wanted: string): never {
    throw invalidArgument(this.#where, `${name} must be ${wanted}`);
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
