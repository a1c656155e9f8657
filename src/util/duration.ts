/** Times as texts. */
import { invalidArgument, quote } from '../errors.ts';

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m)$/;
const MS_OF_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

/** Milliseconds of a text such as `500ms`, `10s` or `2m`; else throws `INVALID_ARGUMENT`. */
export function parseDuration(value: unknown, argument: string): number {
  const match = typeof value === 'string' ? DURATION.exec(value) : null;
  if (match === null) {
    throw invalidArgument(argument, `${quote(String(value))} is no time: write 500ms, 10s or 2m`);
  }
  const durationMs = Number(match[1]) * MS_OF_UNIT[match[2]!]!;
  if (!Number.isFinite(durationMs)) throw invalidArgument(argument, 'is too long a time');
  return durationMs;
}
