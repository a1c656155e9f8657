import { afterEach, describe, expect, it, vi } from 'vitest';
import { ExpiringCache } from '../../src/credentials/expiring-cache.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('an expiring cache', () => {
  it('keeps a value up to its time, and not at it', () => {
    let nowMs = 0;
    const cache = new ExpiringCache<string>(9, () => nowMs);
    cache.set('a', 'x', 10);
    nowMs = 9.9;
    expect(cache.get('a')).toBe('x');
    nowMs = 10;
    expect(cache.get('a')).toBeUndefined();
    expect(cache.size).toBe(0);
    cache.clear();
  });

  it('does not keep what has no time, and forgets what was there', () => {
    const cache = new ExpiringCache<string>(9, () => 0);
    cache.set('a', 'x', 10);
    cache.set('a', 'y', 0);
    cache.set('b', 'y', -1);
    cache.set('c', 'y', Number.NaN);
    expect(cache.size).toBe(0);
  });

  it('forgets values whose time is over without being asked', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const cache = new ExpiringCache<string>(9, () => performance.now());
    cache.set('long', 'x', 3 * 2 ** 31);
    cache.set('a', 'x', 1_000);
    cache.set('b', 'x', 2_000);
    vi.advanceTimersByTime(1_000);
    expect(cache.size).toBe(2);
    vi.advanceTimersByTime(1_000);
    expect(cache.size).toBe(1);
    vi.advanceTimersByTime(2 ** 32);
    expect(cache.get('long')).toBe('x');
    vi.advanceTimersByTime(2 ** 31);
    expect(cache.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('has a bound: first what is over goes, then the oldest', () => {
    let nowMs = 0;
    const cache = new ExpiringCache<string>(2, () => nowMs);
    cache.set('a', 'x', 100);
    cache.set('b', 'x', 10);
    nowMs = 50;
    cache.set('c', 'x', 100);
    expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual(['x', undefined, 'x']);
    cache.set('d', 'x', 100);
    expect([cache.get('a'), cache.get('c'), cache.get('d')]).toEqual([undefined, 'x', 'x']);
    cache.clear();
    expect(cache.size).toBe(0);
  });
});
