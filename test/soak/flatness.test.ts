import { describe, expect, it } from 'vitest';
import { flatnessOf, SAMPLES_MIN } from './flatness.ts';

const MIB = 1024 * 1024;

/** A series of `count` samples. */
function seriesOf(count: number, valueAt: (share: number) => number) {
  const values = Array.from({ length: count }, (_, i) => valueAt(i / count));
  return { name: 'heap', unit: 'bytes' as const, noise: 4 * MIB, values };
}

describe('a figure is flat', () => {
  it.each<[string, (share: number) => number]>([
    ['that does not change', () => 50 * MIB],
    ['that grows only while it warms up', (share) => Math.min(share, 0.25) * 400 * MIB],
    ['that is sawed by collections', (share) => (20 + ((share * 40) % 1) * 60) * MIB],
    ['that falls', (share) => (90 - 40 * share) * MIB],
    ['that grows by less than what is noise', (share) => (10 + 4 * share) * MIB],
    ['with one peak at the end', (share) => (share > 0.97 ? 900 : 50) * MIB],
  ])('%s', (_, valueAt) => {
    expect(flatnessOf(seriesOf(200, valueAt)).isFlat).toBe(true);
  });
});

describe('a figure is not flat', () => {
  it.each<[string, (share: number) => number]>([
    ['that leaks steadily', (share) => (50 + 30 * share) * MIB],
    [
      'that leaks under the saw of collections',
      (share) => (20 + ((share * 40) % 1) * 10 + 25 * share) * MIB,
    ],
    ['that steps up in the second half', (share) => (share > 0.6 ? 80 : 50) * MIB],
    ['that is 1 GiB and leaks a fifth', (share) => (1024 + 205 * share) * MIB],
  ])('%s', (_, valueAt) => {
    const { isFlat, growth } = flatnessOf(seriesOf(200, valueAt));
    expect(isFlat).toBe(false);
    expect(growth).toBeGreaterThan(4 * MIB);
  });
});

it('allows for caches that are not full yet, where there are some', () => {
  const growing = seriesOf(200, (share) => (50 + 60 * share) * MIB);
  const holdsCaches = true;
  expect(flatnessOf({ ...growing, holdsCaches }, 96 * MIB).isFlat).toBe(true);
  expect(flatnessOf({ ...growing, holdsCaches }, 8 * MIB).isFlat).toBe(false);
  expect(flatnessOf(growing, 96 * MIB).isFlat).toBe(false);
});

it('says nothing of too few samples', () => {
  const few = seriesOf(SAMPLES_MIN - 1, () => 1);
  expect(() => flatnessOf(few)).toThrow(/heap: 23 samples/);
});
