import { describe, expect, it } from 'vitest';
import { BackOff } from '../../src/image-manager/back-off.ts';
import { TokenBucket } from '../../src/image-manager/token-bucket.ts';
import { failed, intentsOf, openBench, PRIVATE, secretOf } from './kit.ts';

const FIRST_MS = 10_000;
const MAX_MS = 300_000;

function clocked(): { backOff: BackOff; pass: (ms: number) => void } {
  let nowMs = 0;
  const backOff = new BackOff(FIRST_MS, MAX_MS, () => nowMs);
  return {
    backOff,
    pass(ms) {
      nowMs += ms;
    },
  };
}

describe('the delay after a failed pull', () => {
  it('doubles from 10 s up to 300 s', () => {
    const { backOff, pass } = clocked();
    for (const delayMs of [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]) {
      backOff.failed('pod', 'denied');
      pass(delayMs - 1);
      expect(backOff.refusal('pod')?.text).toBe('denied');
      pass(1);
      expect(backOff.refusal('pod')).toBeUndefined();
    }
  });

  it('is the first again when there was no failure for twice the longest', () => {
    const { backOff, pass } = clocked();
    for (let i = 0; i < 5; i++) backOff.failed('pod', 'denied');
    pass(2 * MAX_MS + 1);
    backOff.failed('pod', 'denied');
    pass(FIRST_MS);
    expect(backOff.refusal('pod')).toBeUndefined();
  });

  it('does not grow with failures that come while it lasts', () => {
    const { backOff, pass } = clocked();
    for (let i = 0; i < 5; i++) backOff.failed('pod', 'denied');
    pass(FIRST_MS);
    expect(backOff.refusal('pod')).toBeUndefined();
  });

  it('tells how long it still lasts', () => {
    const { backOff, pass } = clocked();
    backOff.failed('pod', 'denied');
    pass(4_000);
    expect(backOff.refusal('pod')).toEqual({ text: 'denied', leftMs: 6_000 });
  });

  it('is of one pod and one image, and tells the latest failure', () => {
    const { backOff } = clocked();
    backOff.failed('pod_image', 'denied');
    backOff.failed('pod_image', 'not found');
    expect(backOff.refusal('pod_image')?.text).toBe('not found');
    expect(backOff.refusal('pod_other')).toBeUndefined();
  });

  it('is forgotten when long past, and never longer than the longest allowed', () => {
    const { backOff, pass } = clocked();
    backOff.failed('old', 'denied');
    pass(2 * MAX_MS + 1);
    backOff.tidy();
    backOff.failed('old', 'denied');
    pass(FIRST_MS);
    expect(backOff.refusal('old')).toBeUndefined();
    const short = new BackOff(10_000, 1_000, () => 0);
    short.failed('pod', 'denied');
    expect(short.refusal('pod')?.text).toBe('denied');
  });

  it('forgets the oldest failures when there are too many', () => {
    const { backOff } = clocked();
    for (let i = 0; i <= 10_000; i++) backOff.failed(`pod-${i}`, 'denied');
    expect(backOff.refusal('pod-0')).toBeUndefined();
    expect(backOff.refusal('pod-1')?.text).toBe('denied');
    expect(backOff.refusal('pod-10000')?.text).toBe('denied');
  });
});

describe('the rate of pulls', () => {
  it('allows a burst, and then as many as the rate', () => {
    let nowMs = 0;
    const limit = new TokenBucket(5, 3, () => nowMs);
    const taken = (tries: number): number =>
      Array.from({ length: tries }, () => limit.tryTake()).filter(Boolean).length;
    expect(taken(10)).toBe(3);
    nowMs += 400;
    expect(taken(10)).toBe(2);
    nowMs += 1e9;
    expect(taken(10)).toBe(3);
  });

  it('has no limit with a rate of 0', () => {
    const limit = new TokenBucket(0, 1, () => 0);
    expect(Array.from({ length: 1_000 }, () => limit.tryTake())).not.toContain(false);
  });
});

describe('of an image manager', () => {
  const ensure = { image: PRIVATE, pullPolicy: 'Always', credentials: [secretOf('c')] } as const;

  it('refuses a pod that has just failed, without an intent and with what it failed with', async () => {
    await using bench = await openBench();
    const { images, runtime, pullManager } = bench;
    await expect(images.ensureImage({ ...ensure, podUid: '1' })).rejects.toMatchObject({
      code: 'ErrImagePull',
    });
    let intents = 0;
    pullManager.on('intent', () => intents++);
    await expect(images.ensureImage({ ...ensure, podUid: '1' })).rejects.toMatchObject({
      code: 'ErrImagePullBackOff',
      message: expect.stringContaining('pull access denied'),
    });
    expect(runtime.pulls).toHaveLength(1);
    expect(intents).toBe(0);
    await expect(images.ensureImage({ ...ensure, podUid: '2' })).rejects.toMatchObject({
      code: 'ErrImagePull',
    });
    expect(runtime.pulls).toHaveLength(2);
    expect(intents).toBe(1);
  });

  it('is of the pair of pod and image, however they are spelled', async () => {
    await using bench = await openBench();
    const { images } = bench;
    const one = { ...ensure, image: 'b_c/app:1', podUid: 'a' };
    const other = { ...ensure, image: 'c/app:1', podUid: 'a_b' };
    await expect(images.ensureImage(one)).rejects.toMatchObject({ code: 'ErrImagePull' });
    await expect(images.ensureImage(other)).rejects.toMatchObject({ code: 'ErrImagePull' });
  });

  it('counts a pull over the rate as a failure, and does not ask the runtime', async () => {
    await using bench = await openBench({ qps: 1e-9, burst: 1 });
    const { images, runtime, pullManager } = bench;
    const allowed = { ...ensure, credentials: [secretOf('a')] };
    await images.ensureImage({ ...allowed, podUid: '1' });
    await expect(images.ensureImage({ ...allowed, podUid: '2' })).rejects.toMatchObject({
      code: 'ErrImagePull',
      message: expect.stringContaining('pull QPS exceeded'),
    });
    await expect(images.ensureImage({ ...allowed, podUid: '2' })).rejects.toMatchObject({
      code: 'ErrImagePullBackOff',
    });
    expect(runtime.pulls).toHaveLength(1);
    expect(await intentsOf(pullManager)).toEqual([]);
  });

  it('does not count an abort as a failure', async () => {
    await using bench = await openBench();
    bench.runtime.onPull = (_, __, signal) =>
      new Promise((_resolve, reject) => {
        signal!.addEventListener('abort', () => reject(failed('other', 'gone')));
      });
    const ensured = bench.images.ensureImage(
      { ...ensure, podUid: '1' },
      { signal: AbortSignal.timeout(1) },
    );
    await expect(ensured).rejects.toMatchObject({ name: 'AbortError' });
    bench.runtime.onPull = undefined;
    const again = { ...ensure, credentials: [secretOf('a')], podUid: '1' };
    expect((await bench.images.ensureImage(again)).pulled).toBe(true);
  });
});
