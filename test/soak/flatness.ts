/** Whether a figure that was sampled for long has stopped growing. */

/** A series of samples, all at the same moments. */
export interface Series {
  readonly name: string;
  readonly unit: 'bytes' | 'count' | 'ns' | 'perSecond';
  /** Growth that is taken for noise, in the unit; undefined: the series is only shown. */
  readonly noise?: number;
  /** Whether caches are a part of it. @default false */
  readonly holdsCaches?: boolean;
  readonly values: readonly number[];
}

/** What is said of a series. */
export interface Flatness {
  readonly name: string;
  readonly unit: Series['unit'];
  /** Medians of the first and of the last third after the warm-up. */
  readonly early: number;
  readonly late: number;
  readonly growth: number;
  readonly allowed: number;
  readonly isFlat: boolean;
}

/** Share of the samples that are warm-up: caches, dictionaries and segments fill. */
export const WARM_UP_SHARE = 0.25;
/** Growth that counts as flat, of the early median. */
const ALLOWED_SHARE = 0.05;
/** Fewer samples say nothing. */
export const SAMPLES_MIN = 24;

/**
 * Compares the medians of the first and the last third of what comes after the warm-up.
 *
 * @param cacheBytes - what bounded caches may still take of the memory.
 * @throws where there are too few samples to say anything.
 */
export function flatnessOf(
  { name, unit, noise = 0, holdsCaches = false, values }: Series,
  cacheBytes = 0,
): Flatness {
  if (values.length < SAMPLES_MIN) {
    throw new Error(`${name}: ${values.length} samples say nothing, ${SAMPLES_MIN} are needed`);
  }
  const steady = values.slice(Math.floor(values.length * WARM_UP_SHARE));
  const third = Math.floor(steady.length / 3);
  const early = median(steady.slice(0, third));
  const late = median(steady.slice(-third));
  const allowed = Math.max(early * ALLOWED_SHARE, noise) + (holdsCaches ? cacheBytes : 0);
  const growth = late - early;
  return { name, unit, early, late, growth, allowed, isFlat: growth <= allowed };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
