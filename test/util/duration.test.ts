import { describe, expect, it } from 'vitest';
import { parseDuration } from '../../src/util/duration.ts';

describe('durations', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5m', 90_000],
  ])('%s', (text, ms) => {
    expect(parseDuration(text, 'x')).toBe(ms);
  });

  it.each(['', '10', 's', '1h', '-1s', '1e3s', 10, null])('refuses %s', (text) => {
    expect(() => parseDuration(text, '--duration')).toThrow(
      expect.objectContaining({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        message: expect.stringMatching(/--duration .* is no time/),
      }),
    );
  });
});
