import { expect, it } from 'vitest';
import { numberOf, wholeNumber } from './arguments.ts';

it.each(['', ' ', '-1', 'x', 'Infinity'])('takes no "%s" for a number', (text) => {
  expect(() => numberOf('scale', text)).toThrow('--scale must be a number');
});

it.each(['', '-1', '1.5', '1e3', 'x'])('takes no "%s" for a whole number', (text) => {
  expect(() => wholeNumber('kills', text)).toThrow('--kills must be a whole number');
});

it('reads numbers', () => {
  expect(numberOf('scale', '0.2')).toBe(0.2);
  expect(wholeNumber('kills', '12')).toBe(12);
  expect(wholeNumber('kills', undefined)).toBeUndefined();
});
