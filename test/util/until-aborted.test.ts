import { describe, expect, it, vi } from 'vitest';
import { untilAborted } from '../../src/util/until-aborted.ts';

const reasonOf = (reason: unknown): Error => new Error(`ended: ${String(reason)}`);

describe('a wait that a signal ends', () => {
  it('gives what the promise gives, and says once that it has ended', async () => {
    const onEnd = vi.fn();
    const { signal } = new AbortController();
    await expect(untilAborted(Promise.resolve(1), signal, reasonOf, onEnd)).resolves.toBe(1);
    const failed = untilAborted(Promise.reject(new Error('no')), signal, reasonOf, onEnd);
    await expect(failed).rejects.toThrow('no');
    expect(onEnd).toHaveBeenCalledTimes(2);
  });

  it('ends with the signal, once, whatever becomes of the promise', async () => {
    const onEnd = vi.fn();
    const controller = new AbortController();
    let fail: (error: Error) => void = () => {};
    const late = new Promise<number>((_, reject) => {
      fail = reject;
    });
    const waited = untilAborted(late, controller.signal, reasonOf, onEnd);
    controller.abort('enough');
    await expect(waited).rejects.toThrow('ended: enough');
    fail(new Error('nobody hears this'));
    await late.catch(() => {});
    expect(onEnd).toHaveBeenCalledTimes(1);
  });

  it('does not begin where the signal is aborted', async () => {
    const onEnd = vi.fn();
    const waited = untilAborted(Promise.resolve(1), AbortSignal.abort('before'), reasonOf, onEnd);
    await expect(waited).rejects.toThrow('ended: before');
    await Promise.resolve();
    expect(onEnd).toHaveBeenCalledTimes(1);
  });
});
