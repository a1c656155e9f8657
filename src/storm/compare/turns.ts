/**
 * Results that were measured in turns, as pairs. What the machine does to one of a pair it does to the
 * other as well, so their difference shows what two minutes apart would not.
 */
import type { StormResult } from '../result-schema.ts';

/** One result of each side, measured one after the other. */
export interface Turn {
  readonly a: StormResult;
  readonly b: StormResult;
}

/** The turns in their order; undefined where the results do not alternate, one of each side. */
export function turnsOf(
  a: readonly StormResult[],
  b: readonly StormResult[],
): readonly Turn[] | undefined {
  if (a.length !== b.length || a.length === 1) return undefined;
  const [ofA, ofB] = [byTime(a), byTime(b)];
  const turns = ofA.map((result, i) => ({ a: result, b: ofB[i]! }));
  const isApart = turns.every((turn, i) => i === 0 || lastOf(turns[i - 1]!) < firstOf(turn));
  return isApart ? turns : undefined;
}

/** Whether each side was begun again before the other had ended. */
export function areMixed(a: readonly StormResult[], b: readonly StormResult[]): boolean {
  const [ofA, ofB] = [a.map(timeOf), b.map(timeOf)];
  return Math.min(...ofA) < Math.max(...ofB) && Math.min(...ofB) < Math.max(...ofA);
}

function byTime(results: readonly StormResult[]): StormResult[] {
  return results.toSorted((one, other) => timeOf(one) - timeOf(other));
}

function timeOf({ startedAt }: StormResult): number {
  return Date.parse(startedAt);
}

function firstOf({ a, b }: Turn): number {
  return Math.min(timeOf(a), timeOf(b));
}

function lastOf({ a, b }: Turn): number {
  return Math.max(timeOf(a), timeOf(b));
}
