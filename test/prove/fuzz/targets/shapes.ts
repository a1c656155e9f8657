/** Worst cases that many targets share. */
import type { WorstCase } from '../target.ts';

/** So many units that the whole has about so many bytes, between a beginning and an end. */
export function repeated(name: string, unit: string, start = '', end = ''): WorstCase {
  const unitBytes = Buffer.byteLength(unit);
  return {
    name,
    make: (bytes) => Buffer.from(start + unit.repeat(Math.ceil(bytes / unitBytes)) + end),
  };
}

/** The same with units that differ, joined by a separator. */
export function numbered(
  name: string,
  unit: (index: number) => string,
  start: string,
  end: string,
  separator = ',',
): WorstCase {
  return {
    name,
    make(bytes) {
      const units: string[] = [];
      let size = 0;
      for (let i = 0; size < bytes; i++) {
        const one = unit(i);
        units.push(one);
        size += one.length + separator.length;
      }
      return Buffer.from(start + units.join(separator) + end);
    },
  };
}

/** Brackets within brackets. */
export function nested(name: string, open: string, close: string, start = '', end = ''): WorstCase {
  const unitBytes = open.length + close.length;
  return {
    name,
    make(bytes) {
      const depth = Math.ceil(bytes / unitBytes);
      return Buffer.from(start + open.repeat(depth) + close.repeat(depth) + end);
    },
  };
}

/** The same worst case, no longer than what the reader takes. */
export function upTo(bytesMax: number, worst: WorstCase): WorstCase {
  return { ...worst, bytesMax };
}
