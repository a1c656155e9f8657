/**
 * Values of a scenario, checked against a table that says what each of them is. The same tables make
 * the help text and the published schema, so that the three cannot differ.
 */
import { checkCompatibility } from '../compatibility.ts';
import { invalidArgument, quote, quoteValue } from '../errors.ts';
import { parseDuration } from '../util/duration.ts';
import { suggestion } from '../util/suggest.ts';
import type { Ramp } from './result-schema.ts';

type Kind =
  | 'boolean'
  | 'choice'
  | 'count'
  | 'duration'
  | 'level'
  | 'list'
  | 'moment'
  | 'number'
  | 'object'
  | 'rate'
  | 'share'
  | 'text'
  | 'texts';

/** One value: its type and limits, and what it is for. */
export interface Field {
  readonly kind: Kind;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly help: string;
  /** Words that a choice takes. */
  readonly choices?: readonly string[];
  /** What a choice is called in errors. */
  readonly noun?: string;
  /** Whether it may move evenly `{ from, to }`; it is a `Ramp` then, else one that stands still. */
  readonly isRamp?: boolean;
  /** Fields of an object, or of each object of a list. */
  readonly fields?: FieldTable;
  readonly isRequired?: boolean;
}

/** Fields by name. */
export type FieldTable = Readonly<Record<string, Field>>;

/** A moment of a storm: after some time, or after a share of it. */
export type Moment = { readonly ms: number } | { readonly share: number };

/** Entries of a list at most. */
export const LIST_LENGTH_MAX = 64;

/**
 * Checks one value. On the command line values are texts; in scenarios also what JSON has.
 *
 * @param where How the value is named in errors, for example `--ops` or `storm.json: operations`.
 * @throws `INVALID_ARGUMENT` naming the value, with the nearest right one.
 */
export function parseField(field: Field, value: unknown, where: string): unknown {
  if (field.isRamp === true) return parseRamp(field, value, where);
  switch (field.kind) {
    case 'boolean':
      if (typeof value === 'boolean') return value;
      throw invalidArgument(where, 'must be true or false');
    case 'text':
      if (typeof value === 'string' && value !== '') return value;
      throw invalidArgument(where, 'must be a text');
    case 'texts': {
      const list = typeof value === 'string' ? [value] : value;
      if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
      throw invalidArgument(where, 'must be a list of texts');
    }
    case 'choice':
      return parseChoice(field, value, where);
    case 'level':
      return checkCompatibility(value, where);
    case 'duration':
      return inRange(field, parseDuration(value, where), where);
    case 'moment':
      return parseMoment(value, where);
    case 'rate':
      return inRange(field, parseRate(value, where), where);
    case 'list':
      return parseList(field, value, where);
    case 'object':
      return parseFields(field.fields ?? {}, value, where);
    default:
      return inRange(field, parseNumber(field, value, where), where);
  }
}

/** The name of an unknown field as it may appear in a message. */
export function shownKey(key: string): string {
  return /^[\w$-]{1,64}$/.test(key) ? key : quote(key);
}

/**
 * Checks an object field by field.
 *
 * @throws `INVALID_ARGUMENT` for what is unknown, missing or wrong, with the nearest right one.
 */
export function parseFields(
  table: FieldTable,
  value: unknown,
  where: string,
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument(where, 'must be an object');
  }
  const parsed: Record<string, unknown> = {};
  for (const [key, given] of Object.entries(value)) {
    const field = Object.hasOwn(table, key) ? table[key] : undefined;
    if (field === undefined) {
      const hint = suggestion(key, Object.keys(table));
      throw invalidArgument(`${where}.${shownKey(key)}`, `is not known${hint}`);
    }
    parsed[key] = parseField(field, given, `${where}.${key}`);
  }
  for (const [key, { isRequired }] of Object.entries(table)) {
    if (isRequired && parsed[key] === undefined) throw invalidArgument(where, `lacks ${key}`);
  }
  return parsed;
}

function parseList(field: Field, value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw invalidArgument(where, 'must be a list');
  if (value.length > LIST_LENGTH_MAX) {
    throw invalidArgument(where, `has ${value.length} entries of ${LIST_LENGTH_MAX} at most`);
  }
  return value.map((item, index) => parseFields(field.fields ?? {}, item, `${where}[${index}]`));
}

function parseRamp(field: Field, value: unknown, where: string): Ramp {
  const single = { ...field, isRamp: false };
  if (typeof value !== 'object' || value === null) {
    const steady = parseField(single, value, where) as number;
    return { from: steady, to: steady };
  }
  const ends = { from: { ...single, isRequired: true }, to: { ...single, isRequired: true } };
  return parseFields(ends, value, where) as unknown as Ramp;
}

function parseChoice(field: Field, value: unknown, where: string): string {
  const { choices = [], noun = 'choice' } = field;
  for (const choice of choices) if (choice === value) return choice;
  const hint = typeof value === 'string' ? suggestion(value, choices) : '';
  throw invalidArgument(where, `${quoteValue(value)} is no ${noun}${hint}`);
}

const PERCENT = /^(\d+(?:\.\d+)?) ?%$/;

function parseMoment(value: unknown, where: string): Moment {
  const percent = typeof value === 'string' ? PERCENT.exec(value)?.[1] : undefined;
  if (percent === undefined) return { ms: parseDuration(value, where) };
  if (Number(percent) > 100) throw invalidArgument(where, 'must be at most 100%');
  return { share: Number(percent) / 100 };
}

const RATE = /^(\d+(?:_?\d)*(?:\.\d+)?) ?(k|M|)(?:\/([a-z]+))?$/;
const RATE_FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6 };
const SECONDS_OF_UNIT: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

/** Requests a second: a number, or a text such as `20k/s` or `300/m`. */
function parseRate(value: unknown, where: string): number {
  if (typeof value === 'number') return value;
  const match = typeof value === 'string' ? RATE.exec(value) : null;
  const unit = match?.[3] ?? 's';
  if (match !== null && Object.hasOwn(SECONDS_OF_UNIT, unit)) {
    const digits = Number(match[1]!.replaceAll('_', ''));
    return (digits * RATE_FACTORS[match[2]!]!) / SECONDS_OF_UNIT[unit]!;
  }
  const hint = match === null ? '' : suggestion(unit, Object.keys(SECONDS_OF_UNIT));
  throw invalidArgument(where, `${quoteValue(value)} is no rate: write 500, 20k/s or 300/m${hint}`);
}

const PLAIN_NUMBER = /^-?\d+(?:_?\d)*(?:\.\d+)?(?:e\d+)?$/i;

function parseNumber(field: Field, value: unknown, where: string): number {
  const isNumber =
    typeof value === 'number' || (typeof value === 'string' && PLAIN_NUMBER.test(value));
  const parsed = isNumber ? Number(String(value).replaceAll('_', '')) : Number.NaN;
  const isWhole = field.kind !== 'count' || Number.isSafeInteger(parsed);
  if (!Number.isFinite(parsed) || !isWhole) {
    const kind = field.kind === 'count' ? 'a whole number' : 'a number';
    throw invalidArgument(where, `${quoteValue(value)} is not ${kind}`);
  }
  return parsed;
}

/** Limits of a field; a share lies between 0 and 1. */
export function limitsOf(field: Field): { readonly minimum: number; readonly maximum: number } {
  const isShare = field.kind === 'share';
  return {
    minimum: isShare ? 0 : (field.minimum ?? Number.NEGATIVE_INFINITY),
    maximum: isShare ? 1 : (field.maximum ?? Number.POSITIVE_INFINITY),
  };
}

function inRange(field: Field, value: number, where: string): number {
  const { minimum, maximum } = limitsOf(field);
  if (value >= minimum && value <= maximum) return value;
  if (maximum === Number.POSITIVE_INFINITY)
    throw invalidArgument(where, `must be at least ${minimum}`);
  const unit = field.kind === 'duration' ? ' ms' : '';
  throw invalidArgument(where, `must be from ${minimum} to ${maximum}${unit}`);
}
