/** JSON that is nearly what a reader wants. */
import type { Random } from '../../../../src/util/random.ts';
import { happens, ODD_NAMES, oddText, pick, several } from '../choice.ts';

/** Gives the JSON of a value. */
export type Rule = (random: Random) => string;

const WRONG_PROBABILITY = 0.06;
const DEPTH_MAX = 3;

/** Any JSON value, small. */
export function anyJson(random: Random, depth = 0): string {
  const kind = random.below(depth >= DEPTH_MAX ? 5 : 7);
  switch (kind) {
    case 0:
      return jsonText(oddText(random));
    case 1:
      return pick(random, ['null', 'true', 'false']);
    case 2:
      return pick(random, ['0', '-0', '1', '-1', '1.5', '1e999', '9007199254740993', '1E-7', '01']);
    case 3:
      return '{}';
    case 4:
      return '[]';
    case 5:
      return `[${several(random, 4, () => anyJson(random, depth + 1)).join(',')}]`;
    default:
      return `{${several(random, 4, () => `${jsonText(oddText(random))}:${anyJson(random, depth + 1)}`).join(',')}}`;
  }
}

/** A JSON string; lone surrogates as escapes. */
export function jsonText(text: string): string {
  return JSON.stringify(text);
}

export const textRule: Rule = (random) => orWrong(random, jsonText(oddText(random)));

export function oneOf(...values: readonly string[]): Rule {
  return (random) => orWrong(random, jsonText(pick(random, values)));
}

/** An object with these fields, now and then without one, with one twice, or with another. */
export function objectOf(fields: Readonly<Record<string, Rule>>, optional = 0.1): Rule {
  return (random) => {
    const members: string[] = [];
    for (const [name, rule] of Object.entries(fields)) {
      if (happens(random, optional)) continue;
      members.push(`${jsonText(name)}:${rule(random)}`);
      if (happens(random, 0.01)) members.push(`${jsonText(name)}:${rule(random)}`);
    }
    if (happens(random, 0.05))
      members.push(`${jsonText(pick(random, ODD_NAMES))}:${anyJson(random)}`);
    return orWrong(random, `{${members.join(',')}}`);
  };
}

/** An object with any names. */
export function mapOf(value: Rule, nameOf: (random: Random) => string = oddText, max = 4): Rule {
  return (random) => {
    const members = several(random, max, () => `${jsonText(nameOf(random))}:${value(random)}`);
    return orWrong(random, `{${members.join(',')}}`);
  };
}

export function listOf(item: Rule, max = 4): Rule {
  return (random) => orWrong(random, `[${several(random, max, () => item(random)).join(',')}]`);
}

function orWrong(random: Random, right: string): string {
  return happens(random, WRONG_PROBABILITY) ? anyJson(random) : right;
}
