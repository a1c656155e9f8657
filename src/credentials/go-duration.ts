/** Times as Go writes them: `12h0m0s`, `1.5h`, `300ms`. */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;
const DURATION = new RegExp(`^[+-]?(${PART.source})+$`);
/** Go keeps times as nanoseconds in 64 bits. */
const DURATION_MS_MAX = 2 ** 63 / 1e6;

/**
 * Milliseconds of a text, or `undefined` where it is no time.
 *
 * Source: Go time.ParseDuration.
 */
export function parseGoDuration(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  if (!DURATION.test(text)) return undefined;
  let sum = 0;
  for (const [, number, unit] of text.matchAll(PART)) sum += Number(number) * UNIT_MS[unit!]!;
  if (sum >= DURATION_MS_MAX) return undefined;
  return text.startsWith('-') ? -sum : sum;
}
