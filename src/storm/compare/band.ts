/**
 * How far one sample lies from another, and how sure that is: the Hodges-Lehmann estimate, and the
 * interval that belongs to a rank test. Both ask nothing of how the noise is distributed, which on
 * a shared machine is anything but evenly.
 *
 * Source: Hodges and Lehmann, Estimates of location based on rank tests (1963); the intervals are
 * those of the tests of Mann and Whitney, and of Wilcoxon for pairs.
 */

/** An estimate of a shift. */
export interface Shift {
  readonly estimate: number;
  /** Undefined where there are too few values for the confidence asked for. */
  readonly band: { readonly low: number; readonly high: number } | undefined;
}

/**
 * How much greater the values of `b` are than those of `a`, where the two were measured apart.
 *
 * @param a At least one value, and at most `VALUES_MAX`; so has `b`.
 * @param errorShare Share of repetitions, from 0 to 1, in which the band may miss the true shift.
 */
export function shiftBetween(
  a: readonly number[],
  b: readonly number[],
  errorShare: number,
): Shift {
  const differences = b.flatMap((later) => a.map((earlier) => later - earlier));
  return shiftOf(differences, cutOfRanks(a.length, b.length, errorShare / 2));
}

/**
 * How much greater the second of each pair is than the first. Sees through whatever changes both
 * values of a pair alike.
 *
 * @param differences Second minus first; at least one, and at most `VALUES_MAX`.
 */
export function shiftOfPairs(differences: readonly number[], errorShare: number): Shift {
  const averages = differences.flatMap((one, i) =>
    differences.slice(i).map((other) => (one + other) / 2),
  );
  return shiftOf(averages, cutOfSignedRanks(differences.length, errorShare / 2));
}

/** Values of a side that are looked at; more would only take time. */
export const VALUES_MAX = 200;

/** @param cut Values at each end that are beyond the band; undefined: no band. */
function shiftOf(values: number[], cut: number | undefined): Shift {
  values.sort((x, y) => x - y);
  const estimate = median(values);
  if (cut === undefined) return { estimate, band: undefined };
  return { estimate, band: { low: values[cut]!, high: values.at(-1 - cut)! } };
}

/** The middle one; of sorted values, at least one. */
export function median(sorted: readonly number[]): number {
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

/**
 * How many of the differences to leave out at each end: the greatest number for which no more than
 * that are below 0 in at most `tail` of all rankings of equal samples.
 */
function cutOfRanks(aCount: number, bCount: number, tail: number): number | undefined {
  // By the number of differences below 0: the rankings that have it, a Gaussian binomial.
  const size = aCount * bCount + 1;
  const counts = new Float64Array(size);
  counts[0] = 1;
  let all = 1;
  for (let i = 1; i <= aCount; i++) {
    for (let u = size - 1; u >= bCount + i; u--) counts[u]! -= counts[u - bCount - i]!;
    for (let u = i; u < size; u++) counts[u]! += counts[u - i]!;
    all *= (bCount + i) / i;
  }
  return cutAt(counts, all * tail);
}

/** The same for averages of pairs and the test of signed ranks. */
function cutOfSignedRanks(count: number, tail: number): number | undefined {
  const size = (count * (count + 1)) / 2 + 1;
  const counts = new Float64Array(size);
  counts[0] = 1;
  for (let rank = 1; rank <= count; rank++) {
    for (let sum = size - 1; sum >= rank; sum--) counts[sum]! += counts[sum - rank]!;
  }
  return cutAt(counts, 2 ** count * tail);
}

function cutAt(counts: Float64Array, limit: number): number | undefined {
  let below = 0;
  let cut = -1;
  for (const count of counts) {
    below += count;
    if (below > limit) break;
    cut++;
  }
  return cut < 0 ? undefined : cut;
}
