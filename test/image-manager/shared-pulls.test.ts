import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { ImageManagerEvents } from '../../src/events/messages.ts';
import type { EnsureImageRequest } from '../../src/image-manager/request.ts';
import {
  failed,
  gate,
  intentsOf,
  openBench,
  PRIVATE,
  PUBLIC,
  ScriptedRuntime,
  secretOf,
  until,
} from './kit.ts';

function request(user: string, podUid: string = user): EnsureImageRequest {
  return { image: PRIVATE, pullPolicy: 'Always', podUid, credentials: [secretOf(user)] };
}

/** A runtime whose pulls wait until the gate is open. */
function held(): { runtime: ScriptedRuntime; open: () => void } {
  const runtime = new ScriptedRuntime();
  const { promise, open } = gate();
  runtime.onPull = async (image, auth) => {
    await promise;
    return runtime.pullNow(image, auth);
  };
  return { runtime, open };
}

describe('equal pulls at the same time', () => {
  it('are one, with one intent and one outcome', async () => {
    const { runtime, open } = held();
    await using bench = await openBench({ runtime });
    const told: string[] = [];
    bench.pullManager.on('intent', ({ image }) => told.push(`intent ${image}`));
    bench.pullManager.on('outcome', ({ outcome }) => told.push(outcome));
    let finished: ImageManagerEvents['pullFinished'] | undefined;
    bench.images.on('pullFinished', (message) => {
      finished = message;
    });
    const ensured = Array.from({ length: 50 }, (_, i) =>
      bench.images.ensureImage(request('a', `pod-${i}`)),
    );
    await until(() => runtime.pulls.length > 0);
    open();
    for (const { pulled } of await Promise.all(ensured)) expect(pulled).toBe(true);
    expect(runtime.pulls).toHaveLength(1);
    expect(told).toEqual([`intent ${PRIVATE}`, 'pulled']);
    expect(finished).toMatchObject({ callerCount: 50, credentialKind: 'secret' });
  });

  it('are two where the credentials differ in anything, also in whose they are', async () => {
    const { runtime, open } = held();
    await using bench = await openBench({ runtime });
    const a = secretOf('a');
    const renamed = { ...a, source: { ...secretOf('b').source } };
    const ensured = [
      bench.images.ensureImage(request('a')),
      bench.images.ensureImage(request('b')),
      bench.images.ensureImage({ ...request('a'), credentials: [renamed] }),
      bench.images.ensureImage({ ...request('a'), credentials: [a, secretOf('b')] }),
      bench.images.ensureImage({ ...request('a'), image: `${PRIVATE.slice(0, -2)}:1` }),
    ];
    await until(() => runtime.pulls.length >= 4);
    open();
    await Promise.all(ensured);
    expect(runtime.pulls).toHaveLength(4);
  });

  it('fail together, and who has no rights does not fail who has', async () => {
    const { runtime, open } = held();
    await using bench = await openBench({ runtime });
    const [first, second, other] = [
      bench.images.ensureImage(request('c', '1')),
      bench.images.ensureImage(request('c', '2')),
      bench.images.ensureImage(request('a', '3')),
    ];
    await until(() => runtime.pulls.length >= 2);
    open();
    await expect(first).rejects.toMatchObject({ code: 'ErrImagePull' });
    await expect(second).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect((await other).pulled).toBe(true);
    // Each pod has its own back-off.
    for (const podUid of ['1', '2']) {
      await expect(bench.images.ensureImage(request('c', podUid))).rejects.toMatchObject({
        code: 'ErrImagePullBackOff',
      });
    }
    expect(await intentsOf(bench.pullManager)).toEqual([]);
  });

  it('go on when one of the callers gives up, and end when all have', async () => {
    const { runtime, open } = held();
    let aborted = 0;
    const honest = runtime.onPull!;
    runtime.onPull = (image, auth, signal) => {
      signal!.addEventListener('abort', () => aborted++);
      return honest(image, auth, signal);
    };
    await using bench = await openBench({ runtime });
    const one = new AbortController();
    const other = new AbortController();
    const first = bench.images.ensureImage(request('a', '1'), { signal: one.signal });
    const second = bench.images.ensureImage(request('a', '2'), { signal: other.signal });
    await until(() => runtime.pulls.length > 0);
    one.abort();
    await expect(first).rejects.toMatchObject({ name: 'AbortError' });
    expect(aborted).toBe(0);
    other.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
    expect(aborted).toBe(1);
    // Not joined any more: this one is pulled anew.
    const third = bench.images.ensureImage(request('a', '3'));
    await until(() => runtime.pulls.length > 1);
    open();
    expect((await third).pulled).toBe(true);
  });

  it('leave no listener behind', async () => {
    await using bench = await openBench();
    const { signal } = new AbortController();
    for (let i = 0; i < 100; i++) await bench.images.ensureImage(request('a'), { signal });
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('pulls at the same time', () => {
  it.each([
    ['one with serializePulls', { serializePulls: true, maxParallelPulls: 9 }, 1],
    ['as many as allowed', { maxParallelPulls: 3 }, 3],
    ['all where there is no limit', { maxParallelPulls: 0 }, 8],
  ])('are %s', async (_name, options, expected) => {
    const { runtime, open } = held();
    const honest = runtime.onPull!;
    let running = 0;
    let most = 0;
    runtime.onPull = async (image, auth, signal) => {
      most = Math.max(most, ++running);
      try {
        return await honest(image, auth, signal);
      } finally {
        running--;
      }
    };
    for (let i = 0; i < 8; i++) runtime.registry.set(`${PUBLIC}${i}`, { id: `sha256:${i}` });
    await using bench = await openBench({ runtime, ...options });
    const ensured = Array.from({ length: 8 }, (_, i) =>
      bench.images.ensureImage({ ...request('a'), image: `${PUBLIC}${i}` }),
    );
    await until(() => runtime.pulls.length >= expected);
    // A pull that waits for its turn has no intent yet.
    expect(await intentsOf(bench.pullManager)).toHaveLength(expected);
    open();
    await Promise.all(ensured);
    expect(most).toBe(expected);
    expect(runtime.pulls).toHaveLength(8);
  });

  it('keep their order, and one that gives up its place frees it', async () => {
    const { runtime, open } = held();
    for (let i = 0; i < 4; i++) runtime.registry.set(`${PUBLIC}${i}`, { id: `sha256:${i}` });
    await using bench = await openBench({ runtime, serializePulls: true });
    const controller = new AbortController();
    const ensured = Array.from({ length: 4 }, (_, i) =>
      bench.images.ensureImage(
        { ...request('a'), image: `${PUBLIC}${i}` },
        i === 1 ? { signal: controller.signal } : {},
      ),
    );
    await until(() => runtime.pulls.length > 0);
    controller.abort();
    await expect(ensured[1]).rejects.toMatchObject({ name: 'AbortError' });
    open();
    await Promise.all([ensured[0], ensured[2], ensured[3]]);
    expect(runtime.pulls.map((call) => call.slice(-3))).toEqual(['0 a', '2 a', '3 a']);
    expect(await intentsOf(bench.pullManager)).toEqual([]);
  });

  it('go on after one that failed', async () => {
    await using bench = await openBench({ serializePulls: true });
    bench.runtime.onPull = () => Promise.reject(failed('other', 'broken'));
    await expect(bench.images.ensureImage(request('a', '1'))).rejects.toThrow('broken');
    bench.runtime.onPull = undefined;
    expect((await bench.images.ensureImage(request('a', '2'))).pulled).toBe(true);
  });
});
