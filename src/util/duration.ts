/** Times as texts. */
import { invalidArgument, quoteValue } from '../errors.ts';
import { suggestion } from './suggest.ts';

const DURATION = /^(\d+(?:\.\d+)?)([a-z]+)$/i;
const MS_OF_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

/** Milliseconds of a text such as `500ms`, `10s` or `2m`; else throws `INVALID_ARGUMENT`. */
export function parseDuration(value: unknown, argument: string): number {
  const [, digits, unit = ''] = (typeof value === 'string' && DURATION.exec(value)) || [];
  if (digits !== undefined && Object.hasOwn(MS_OF_UNIT, unit)) {
    const durationMs = Number(digits) * MS_OF_UNIT[unit]!;
    if (!Number.isFinite(durationMs)) throw invalidArgument(argument, 'is too long a time');
    return durationMs;
  }
  const hint = suggestion(unit, Object.keys(MS_OF_UNIT));
  throw invalidArgument(argument, `${quoteValue(value)} is no time: write 500ms, 10s or 2m${hint}`);
}
