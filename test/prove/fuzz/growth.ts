/**
 * How the time of a reader grows with the length of what it reads: the exponent of the power law
 * that fits best. 1 is linear, 2 quadratic. No time as such is judged: machines differ.
 */
import { timed } from './clock.ts';
import type { WorstCase } from './target.ts';

/** Above it, growth is clearly worse than linear; caches and collections of garbage add a few tenths. */
export const EXPONENT_MAX = 1.6;
const BYTES_FIRST = 1 << 10;
const BYTES_LAST = 1 << 20;
/** Doublings that count: the largest inputs. */
const POINTS_FITTED = 6;
const POINTS_LEAST = 5;
/** Shorter times are those of the clock and of the call. */
const MS_LEAST = 0.05;
/**
 * An input that takes this long is the largest one, if it took about twice as long as half of it;
 * else the larger ones show more clearly how time grows.
 */
const MS_ENOUGH = 500;
const DOUBLED_MAX = 2.4;
/** However time grows, an input that takes this long is the largest one. */
const MS_MOST = 2_000;
const RUNS_MAX = 5;
const MS_OF_RUNS = 40;

export interface GrowthPoint {
  readonly bytes: number;
  readonly ms: number;
}

export interface Growth {
  readonly worstCase: string;
  readonly points: readonly GrowthPoint[];
  /** Of the largest inputs; 0 where all were too quick to tell. */
  readonly exponent: number;
}

/** Gives the milliseconds that something takes. */
export type Stopwatch = (run: () => unknown) => Promise<number>;

/** Feeds a worst case in all lengths. */
export async function measureGrowth(
  worst: WorstCase,
  feed: (input: Buffer) => unknown,
  stopwatch: Stopwatch = timed,
): Promise<Growth> {
  const points: GrowthPoint[] = [];
  const last = Math.min(worst.bytesMax ?? BYTES_LAST, BYTES_LAST);
  for (let bytes = BYTES_FIRST; bytes <= last; bytes *= 2) {
    const input = Buffer.from(worst.make(bytes));
    const ms = await leastMs(() => feed(input), stopwatch);
    points.push({ bytes: input.length, ms });
    const isSteady = ms < DOUBLED_MAX * (points.at(-2)?.ms ?? 0);
    if (ms > MS_MOST || (ms > MS_ENOUGH && isSteady)) break;
  }
  return { worstCase: worst.name, points, exponent: exponentOf(points) };
}

/** The least of several runs: whatever else the machine does only adds. */
async function leastMs(run: () => unknown, stopwatch: Stopwatch): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  let total = 0;
  for (let i = 0; i < RUNS_MAX && (i === 0 || total < MS_OF_RUNS); i++) {
    const ms = await stopwatch(run);
    total += ms;
    least = Math.min(least, ms);
  }
  return least;
}

/** The slope of the straight line through the logarithms, least squares. */
export function exponentOf(points: readonly GrowthPoint[]): number {
  const slow = points.filter(({ ms }) => ms >= MS_LEAST).slice(-POINTS_FITTED);
  // One that had to be broken off is judged by what there is.
  const isBrokenOff = (points.at(-1)?.ms ?? 0) > MS_ENOUGH;
  if (slow.length < (isBrokenOff ? 2 : POINTS_LEAST)) return 0;
  const xs = slow.map(({ bytes }) => Math.log2(bytes));
  const ys = slow.map(({ ms }) => Math.log2(ms));
  const meanX = xs.reduce((sum, x) => sum + x, 0) / xs.length;
  const meanY = ys.reduce((sum, y) => sum + y, 0) / ys.length;
  let over = 0;
  let under = 0;
  for (const [i, x] of xs.entries()) {
    over += (x - meanX) * (ys[i]! - meanY);
    under += (x - meanX) ** 2;
  }
  return over / under;
}
