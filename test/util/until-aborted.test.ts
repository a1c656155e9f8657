import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { untilAborted } from '../../src/util/until-aborted.ts';

const reasonOf = (reason: unknown): Error => new Error(`ended: ${String(reason)}`);

function listenersOf(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

describe('a wait that a signal ends', () => {
  it('gives what the promise gives, and listens no longer', async () => {
    const { signal } = new AbortController();
    await expect(untilAborted(Promise.resolve(1), signal, reasonOf)).resolves.toBe(1);
    const failed = untilAborted(Promise.reject(new Error('no')), signal, reasonOf);
    expect(listenersOf(signal)).toBe(1);
    await expect(failed).rejects.toThrow('no');
    expect(listenersOf(signal)).toBe(0);
  });

  it('ends with the signal, whatever becomes of the promise', async () => {
    const controller = new AbortController();
    let fail: (error: Error) => void = () => {};
    const late = new Promise<number>((_, reject) => {
      fail = reject;
    });
    const waited = untilAborted(late, controller.signal, reasonOf);
    controller.abort('enough');
    await expect(waited).rejects.toThrow('ended: enough');
    expect(listenersOf(controller.signal)).toBe(0);
    fail(new Error('nobody hears this'));
    await expect(late).rejects.toThrow('nobody hears this');
  });

  it('does not begin where the signal is aborted', async () => {
    const signal = AbortSignal.abort('before');
    const waited = untilAborted(Promise.resolve(1), signal, reasonOf);
    await expect(waited).rejects.toThrow('ended: before');
    expect(listenersOf(signal)).toBe(0);
  });
});
