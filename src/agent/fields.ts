/** Checks of what a client sends: types by field, and no field that is not known. */
import { invalidArgument, type PullManagerError, quote } from '../errors.ts';

/** Of texts that end up in records, logs and memory; more than any name of Kubernetes has. */
const NAME_LENGTH_MAX = 1_024;

/** An object of a request, whose fields are taken one by one. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;

  /**
   * @param path - What it is called in messages; empty for the body itself.
   *
   * Errors: `INVALID_ARGUMENT` for what is no object, and for a field that is not in `known`.
   */
  constructor(value: unknown, path: string, known: readonly string[]) {
    this.#path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalidArgument(path === '' ? 'the body' : path, 'must be an object');
    }
    for (const name of Object.keys(value)) {
      if (known.includes(name)) continue;
      const shown = /^\w{1,64}$/.test(name) ? name : quote(name);
      throw invalidArgument(
        this.path(shown),
        known.length === 0
          ? 'is not known: this request takes no fields'
          : `is not known; known are ${known.join(', ')}`,
      );
    }
    this.#values = value as Record<string, unknown>;
  }

  /** What a field is called in messages. */
  path(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  /** A field that was not given, or given as `null`, is `undefined`. */
  get(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? (this.#values[name] ?? undefined) : undefined;
  }

  text(name: string): string {
    const value = this.get(name);
    if (typeof value !== 'string') throw this.wrong(name, 'must be a string');
    return value;
  }

  /** A text that tells things apart, of 1 to `NAME_LENGTH_MAX` characters: empty ones are all equal. */
  name(name: string): string {
    const value = this.text(name);
    if (value === '') throw this.wrong(name, 'must not be empty');
    if (value.length <= NAME_LENGTH_MAX) return value;
    throw this.wrong(name, `must have at most ${NAME_LENGTH_MAX} characters`);
  }

  optionalText(name: string): string | undefined {
    return this.get(name) === undefined ? undefined : this.text(name);
  }

  /** One of a few words. */
  choice<Word extends string>(name: string, words: readonly Word[]): Word {
    const value = this.get(name);
    const word = words.find((known) => known === value);
    if (word === undefined) throw this.wrong(name, `must be one of ${words.join(', ')}`);
    return word;
  }

  /** An array; empty where it was not given. */
  list(name: string): readonly unknown[] {
    const value = this.get(name) ?? [];
    if (!Array.isArray(value)) throw this.wrong(name, 'must be an array');
    return value;
  }

  /** Texts by name; `undefined` where they were not given. */
  optionalTexts(name: string): Readonly<Record<string, string>> | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    const isMap = typeof value === 'object' && !Array.isArray(value);
    if (!isMap || !Object.values(value as object).every((text) => typeof text === 'string')) {
      throw this.wrong(name, 'must be an object of strings');
    }
    return value as Record<string, string>;
  }

  /** The error for a field. It names the field, not its value, which may be a secret. */
  wrong(name: string, problem: string): PullManagerError {
    return invalidArgument(this.path(name), problem);
  }
}
