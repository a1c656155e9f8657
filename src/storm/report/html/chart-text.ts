/** Values of charts in tables: the same words as those that the script of a page reads out. */
import { formatBytes, formatCount, formatNs } from '../../../terminal/format.ts';
import { formatDecimal } from '../verdict.ts';
import type { ChartUnit } from './chart.ts';

/** Where there is no value. */
export const NO_VALUE = '–';

/** A value, or a dash where there is none. */
export function chartText(value: number | null | undefined, unit: ChartUnit): string {
  if (value === null || value === undefined) return NO_VALUE;
  switch (unit) {
    case 'ns':
      return formatNs(value);
    case 'bytes':
      return formatBytes(Math.round(value));
    case 'count':
      return formatDecimal(value);
    case 'perSecond':
      return formatCount(value);
    case 'processors':
      return value.toFixed(2);
    case 'percent':
      return `${value.toFixed(1)} %`;
  }
}
