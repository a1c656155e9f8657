/** Axes that hold their values and the limits drawn over them. */
import type { ChartAxis, ChartLimit, ChartLine, ChartScale, ChartUnit } from './chart.ts';

/** Room above the highest value of a linear axis. */
const HEADROOM = 1.1;

/** A vertical axis for these lines, from 0 or, if logarithmic, from a power of ten to one. */
export function scaleFor(
  label: string,
  unit: ChartUnit,
  isLogarithmic: boolean,
  lines: readonly ChartLine[],
  limits: readonly ChartLimit[] = [],
): ChartScale {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  const take = (value: number | null): void => {
    if (value === null || value <= 0) return;
    least = Math.min(least, value);
    most = Math.max(most, value);
  };
  for (const { values } of lines) for (const value of values) take(value);
  for (const { value } of limits) take(value);
  if (!isLogarithmic) return { label, unit, isLogarithmic, min: 0, max: most * HEADROOM || 1 };
  const low = Math.floor(Math.log10(Math.min(least, most)));
  const high = Math.ceil(Math.log10(most));
  const [from, to] = most === 0 ? [0, 1] : [low, Math.max(high, low + 1)];
  return { label, unit, isLogarithmic, min: 10 ** from, max: 10 ** to };
}

/** The axis of a time that begins with 0. */
export function secondsAxis(label: string, values: readonly number[], max: number): ChartAxis {
  return { kind: 'seconds', label, min: 0, max: Math.max(max, values.at(-1) ?? 0) || 1, values };
}

/** Whether anything is drawn. */
export function hasValues(lines: readonly ChartLine[]): boolean {
  return lines.some(({ values }) => values.some((value) => value !== null));
}
