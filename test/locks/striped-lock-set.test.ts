import { isMainThread, threadId } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PullManagerError } from '../../src/errors.ts';
import { holderIdOfThread, StripedLockSet } from '../../src/locks/striped-lock-set.ts';
import { waitWhileEqual, waitWhileEqualAsync } from '../../src/locks/wait.ts';

const SELF = holderIdOfThread(threadId);
/** What a thread leaves that holds stripes and is gone: no thread of the tests has this id. */
const STRANGER = 1_000_000;
const LINE_WORDS = 16;

const INVALID_ARGUMENT = { code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' };
const LOCK_MISUSED = { code: 'ERR_PULLMANAGER_LOCK_MISUSED' };
const ABORTED = { code: 'ERR_PULLMANAGER_ABORTED', name: 'AbortError' };

function errorOf(run: () => unknown): PullManagerError {
  try {
    run();
  } catch (error) {
    if (error instanceof PullManagerError) return error;
    throw error;
  }
  throw new Error('expected an error');
}

function takeForStranger(set: StripedLockSet, stripeIndex: number): void {
  Atomics.store(new Int32Array(set.handle.buffer), stripeIndex * LINE_WORDS, STRANGER << 1);
}

function heldStripes(set: StripedLockSet): number[] {
  return Array.from({ length: set.stripeCount }, (_, i) => i).filter((i) => set.holderOf(i) !== 0);
}

/** Removes the fallback poll, so that a lost wake-up hangs the test instead of costing 50 ms. */
function withoutSlices(): void {
  const waitAsync = Atomics.waitAsync.bind(Atomics);
  replace('waitAsync', (words: Int32Array, index: number, value: number) =>
    waitAsync(words, index, value),
  );
}

/** For one test, another function in the place of one of `Atomics`. */
function replace(name: 'wait' | 'waitAsync', by: unknown): void {
  vi.spyOn(Atomics, name).mockImplementation(wrong(by));
}

/** A value that the types do not allow where it is used. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
function wrong<T>(value: unknown): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return value as T;
}

function word(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a new StripedLockSet', () => {
  it.each([
    [1, 1],
    [31, 31],
    [32, 31],
    [1000, 31],
    [1e9, 31],
    [Number.POSITIVE_INFINITY, 31],
    [0, 1],
    [-1, 1],
    [Number.NEGATIVE_INFINITY, 1],
    [2.9, 2],
  ])('of size %d has %d stripes', (size, count) => {
    const set = new StripedLockSet(size);
    expect(set.size).toBe(count);
    expect(set.stripeCount).toBe(count);
    expect(set.handle.stripeCount).toBe(count);
    expect(heldStripes(set)).toEqual([]);
  });

  it.each([[Number.NaN], ['31'], [undefined], [null], [31n], [{}]])(
    'refuses the size %s',
    (size) => {
      const error = errorOf(() => new StripedLockSet(wrong(size)));
      expect(error).toMatchObject({ ...INVALID_ARGUMENT, argument: 'size' });
    },
  );

  it.each([
    { options: { timeoutMs: -1 }, argument: 'options.timeoutMs' },
    { options: { timeoutMs: Number.NaN }, argument: 'options.timeoutMs' },
    { options: { timeoutMs: Number.POSITIVE_INFINITY }, argument: 'options.timeoutMs' },
    { options: { timeoutMs: '1' }, argument: 'options.timeoutMs' },
    { options: { assertOrder: 1 }, argument: 'options.assertOrder' },
    { options: null, argument: 'options' },
  ])('refuses the options $options', ({ options, argument }) => {
    expect(errorOf(() => new StripedLockSet(1, wrong(options)))).toMatchObject({
      ...INVALID_ARGUMENT,
      argument,
    });
  });

  it.each([1, 31, 32, 1000])('of size %d locks keys of every stripe (W1)', (size) => {
    const set = new StripedLockSet(size);
    const used = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      const key = `registry.example/image-${i}`;
      set.lock(key);
      expect(heldStripes(set)).toEqual([set.stripeOf(key)]);
      used.add(set.stripeOf(key));
      set.unlock(key);
    }
    expect(used.size).toBe(set.stripeCount);
    expect(heldStripes(set)).toEqual([]);
  });

  it.each(['', '\u0000', 'é😀', '\ud83d', 'x'.repeat(100_000)])(
    'takes any string as a key',
    (key) => {
      const set = new StripedLockSet(31);
      set.lock(key);
      expect(set.holderOf(set.stripeOf(key))).toBe(SELF);
      set.unlock(key);
      expect(heldStripes(set)).toEqual([]);
    },
  );

  it('refuses a key that is not a string', async () => {
    const set = new StripedLockSet(31);
    expect(errorOf(() => set.lock(wrong(1)))).toMatchObject(INVALID_ARGUMENT);
    expect(errorOf(() => set.unlock(wrong(undefined)))).toMatchObject(INVALID_ARGUMENT);
    await expect(set.lockAsync(wrong(null))).rejects.toMatchObject(INVALID_ARGUMENT);
  });

  it.each([-1, 31, 0.5, Number.NaN, '0'])('refuses the stripe index %s', async (index) => {
    const set = new StripedLockSet(31);
    const stripe = wrong<number>(index);
    expect(errorOf(() => set.lockStripe(stripe))).toMatchObject(INVALID_ARGUMENT);
    expect(errorOf(() => set.unlockStripe(stripe))).toMatchObject(INVALID_ARGUMENT);
    expect(errorOf(() => set.tryLockStripe(stripe))).toMatchObject(INVALID_ARGUMENT);
    expect(errorOf(() => set.holderOf(stripe))).toMatchObject(INVALID_ARGUMENT);
    await expect(set.lockStripeAsync(stripe)).rejects.toMatchObject(INVALID_ARGUMENT);
    expect(heldStripes(set)).toEqual([]);
  });
});

describe('StripedLockSet.attach', () => {
  it('joins the same locks through a cloned handle', () => {
    const set = new StripedLockSet(31);
    const other = StripedLockSet.attach(structuredClone(set.handle));
    set.lock('a');
    expect(other.holderOf(other.stripeOf('a'))).toBe(SELF);
    other.unlock('a');
    expect(heldStripes(set)).toEqual([]);
    expect(other.stripeCount).toBe(31);
  });

  const buffer = new SharedArrayBuffer(64);
  it.each([
    { name: 'undefined', handle: undefined },
    { name: 'null', handle: null },
    { name: 'a number', handle: 31 },
    { name: 'an empty object', handle: {} },
    { name: 'no buffer', handle: { stripeCount: 1 } },
    { name: 'no count', handle: { buffer } },
    { name: 'a count of 0', handle: { buffer, stripeCount: 0 } },
    { name: 'a count of 32', handle: { buffer: new SharedArrayBuffer(2048), stripeCount: 32 } },
    { name: 'a fraction', handle: { buffer, stripeCount: 0.5 } },
    { name: 'a buffer that is too short', handle: { buffer, stripeCount: 2 } },
    {
      name: 'a buffer that is too long',
      handle: { buffer: new SharedArrayBuffer(65), stripeCount: 1 },
    },
    { name: 'memory that is not shared', handle: { buffer: new ArrayBuffer(64), stripeCount: 1 } },
  ])('refuses a malformed handle: $name', ({ handle }) => {
    const attach = (): unknown => StripedLockSet.attach(wrong(handle));
    expect(errorOf(attach)).toMatchObject(INVALID_ARGUMENT);
  });
});

describe('the blocking forms', () => {
  it('refuse to take again what this thread holds, by whichever form it holds it', async () => {
    const set = new StripedLockSet(31);
    set.lock('a');
    expect(errorOf(() => set.lock('a'))).toMatchObject({
      ...LOCK_MISUSED,
      stripeIndex: set.stripeOf('a'),
    });
    expect(errorOf(() => set.globalLock())).toMatchObject(LOCK_MISUSED);
    expect(heldStripes(set)).toEqual([set.stripeOf('a')]);
    set.unlock('a');

    const unlock = await set.lockAsync('a');
    expect(errorOf(() => set.lock('a'))).toMatchObject(LOCK_MISUSED);
    unlock();
  });

  it('refuse to release what is free, held by another thread, or held by a task', async () => {
    const set = new StripedLockSet(2);
    expect(errorOf(() => set.unlockStripe(0))).toMatchObject({ ...LOCK_MISUSED, stripeIndex: 0 });
    takeForStranger(set, 0);
    expect(errorOf(() => set.unlockStripe(0)).message).toContain(`thread ${STRANGER - 1} `);
    const unlock = await set.lockStripeAsync(1);
    expect(errorOf(() => set.unlockStripe(1))).toMatchObject(LOCK_MISUSED);
    expect(set.holderOf(1)).toBe(SELF);
    unlock();
  });

  it('give up in time and name the stripe, the limit and the owner', () => {
    const set = new StripedLockSet(4, { timeoutMs: 5 });
    takeForStranger(set, 2);
    const error = errorOf(() => set.lockStripe(2));
    expect(error).toMatchObject({
      code: 'ERR_PULLMANAGER_LOCK_TIMEOUT',
      stripeIndex: 2,
      timeoutMs: 5,
    });
    expect(error.message).toContain(`thread ${STRANGER - 1} (holder id ${STRANGER})`);
    expect(errorOf(() => set.globalLock())).toMatchObject({ stripeIndex: 2 });
    expect(heldStripes(set)).toEqual([2]);
  });

  it('with a limit of 0 take what is free and never sleep', () => {
    const set = new StripedLockSet(2, { timeoutMs: 0 });
    const wait = vi.spyOn(Atomics, 'wait');
    set.lockStripe(0);
    takeForStranger(set, 1);
    expect(errorOf(() => set.lockStripe(1)).code).toBe('ERR_PULLMANAGER_LOCK_TIMEOUT');
    expect(wait).not.toHaveBeenCalled();
  });

  it('never notify or sleep while nobody else wants the lock', () => {
    const set = new StripedLockSet(31);
    const notify = vi.spyOn(Atomics, 'notify');
    const wait = vi.spyOn(Atomics, 'wait');
    for (let i = 0; i < 100; i++) {
      set.lock(`key ${i}`);
      set.unlock(`key ${i}`);
    }
    set.globalLock();
    set.globalUnlock();
    expect(notify).not.toHaveBeenCalled();
    expect(wait).not.toHaveBeenCalled();
  });

  it('try a stripe without waiting', () => {
    const set = new StripedLockSet(31);
    expect(set.tryLockStripe(3)).toBe(true);
    expect(set.tryLockStripe(3)).toBe(false);
    set.unlockStripe(3);
    takeForStranger(set, 3);
    expect(set.tryLockStripe(3)).toBe(false);
  });

  it('take and release all stripes at once', () => {
    const set = new StripedLockSet(31);
    set.globalLock();
    expect(heldStripes(set)).toHaveLength(31);
    set.globalUnlock();
    expect(heldStripes(set)).toEqual([]);
  });

  it('release nothing by a global unlock unless everything is held', () => {
    const set = new StripedLockSet(3);
    set.lockStripe(0);
    set.lockStripe(1);
    expect(errorOf(() => set.globalUnlock())).toMatchObject({ ...LOCK_MISUSED, stripeIndex: 2 });
    expect(heldStripes(set)).toEqual([0, 1]);
  });

  it('assert the lock order where that is asked for', async () => {
    const set = new StripedLockSet(31, { assertOrder: true });
    set.lockStripe(4);
    set.lockStripe(9);
    expect(errorOf(() => set.lockStripe(5))).toMatchObject({ ...LOCK_MISUSED, stripeIndex: 5 });
    expect(errorOf(() => set.tryLockStripe(5))).toMatchObject(LOCK_MISUSED);
    set.lockStripe(10);
    for (const stripe of [4, 9, 10]) set.unlockStripe(stripe);
    const unlock = await set.lockStripeAsync(30);
    set.lockStripe(5);
    set.unlockStripe(5);
    unlock();
    set.globalLock();
    set.globalUnlock();
  });
});

describe('the asynchronous forms', () => {
  it('let one task of a thread in at a time', async () => {
    const set = new StripedLockSet(1);
    let inside = 0;
    let total = 0;
    const task = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        const unlock = await set.lockAsync('a');
        inside++;
        expect(inside).toBe(1);
        await Promise.resolve();
        inside--;
        total++;
        unlock();
      }
    };
    await Promise.all(Array.from({ length: 10 }, task));
    expect(total).toBe(200);
    expect(heldStripes(set)).toEqual([]);
  });

  it('wait for a stripe that the same thread holds by a blocking form', async () => {
    const set = new StripedLockSet(1);
    set.lock('a');
    const waiting = set.lockAsync('a');
    set.unlock('a');
    (await waiting)();
    expect(heldStripes(set)).toEqual([]);
  });

  it('unlock once, however often that is called, and never for the next holder', async () => {
    const set = new StripedLockSet(1);
    const first = await set.lockAsync('a');
    first();
    const second = await set.lockAsync('a');
    first();
    expect(set.holderOf(0)).toBe(SELF);
    second();
    expect(set.holderOf(0)).toBe(0);

    const all = await set.globalLockAsync();
    all();
    const third = await set.lockAsync('a');
    all();
    expect(set.holderOf(0)).toBe(SELF);
    third[Symbol.dispose]();
    expect(set.holderOf(0)).toBe(0);
  });

  it('leave the stripe to a blocking form afterwards', async () => {
    const set = new StripedLockSet(1);
    (await set.lockAsync('a'))();
    set.lock('a');
    set.unlock('a');
    expect(set.holderOf(0)).toBe(0);
  });

  it('give up in time and name the owner', async () => {
    const set = new StripedLockSet(3, { timeoutMs: 5 });
    takeForStranger(set, 1);
    const expected = { code: 'ERR_PULLMANAGER_LOCK_TIMEOUT', stripeIndex: 1, timeoutMs: 5 };
    await expect(set.lockStripeAsync(1)).rejects.toMatchObject(expected);
    await expect(set.globalLockAsync()).rejects.toMatchObject(expected);
    expect(heldStripes(set)).toEqual([1]);
  });

  it('refuse a signal that is already aborted, even where the lock is free', async () => {
    const set = new StripedLockSet(31);
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(set.lockAsync('a', signal)).rejects.toMatchObject({ ...ABORTED, cause: reason });
    await expect(set.globalLockAsync(signal)).rejects.toMatchObject(ABORTED);
    expect(heldStripes(set)).toEqual([]);
  });

  it('refuse a signal that is none', async () => {
    const set = new StripedLockSet(31);
    await expect(set.lockAsync('a', wrong({}))).rejects.toMatchObject(INVALID_ARGUMENT);
    await expect(set.globalLockAsync(wrong(1))).rejects.toMatchObject(INVALID_ARGUMENT);
    expect(heldStripes(set)).toEqual([]);
  });

  it('stop waiting when the signal is aborted and leave nothing locked', async () => {
    const set = new StripedLockSet(1);
    set.lock('a');
    const aborter = new AbortController();
    const waiting = set.lockAsync('a', aborter.signal);
    aborter.abort();
    await expect(waiting).rejects.toMatchObject(ABORTED);
    set.unlock('a');
    (await set.lockAsync('a'))();
    expect(set.holderOf(0)).toBe(0);
  });

  it('release what an aborted global lock took', async () => {
    const set = new StripedLockSet(31);
    set.lockStripe(17);
    const aborter = new AbortController();
    const waiting = set.globalLockAsync(aborter.signal);
    for (let i = 0; i < 100 && set.holderOf(16) === 0; i++) await Promise.resolve();
    expect(heldStripes(set)).toEqual(Array.from({ length: 18 }, (_, i) => i));
    aborter.abort();
    await expect(waiting).rejects.toMatchObject(ABORTED);
    expect(heldStripes(set)).toEqual([17]);
  });

  it('pass on a wake-up that reaches a waiter after its abort', async () => {
    withoutSlices();
    const set = new StripedLockSet(1);
    set.lock('a');
    const aborters = Array.from({ length: 5 }, () => new AbortController());
    const aborted = aborters.map((aborter) => set.lockAsync('a', aborter.signal));
    const patient = set.lockAsync('a');
    for (const aborter of aborters) aborter.abort();
    set.unlock('a');
    for (const waiting of aborted) await expect(waiting).rejects.toMatchObject(ABORTED);
    (await patient)();
    expect(set.holderOf(0)).toBe(0);
  });

  it('pass on a wake-up when the abort follows it in the same turn', async () => {
    withoutSlices();
    const set = new StripedLockSet(1);
    set.lock('a');
    const aborter = new AbortController();
    const aborted = set.lockAsync('a', aborter.signal);
    const patient = set.lockAsync('a');
    set.unlock('a');
    aborter.abort();
    await expect(aborted).rejects.toMatchObject(ABORTED);
    (await patient)();
    expect(set.holderOf(0)).toBe(0);
  });

  it('pass on a wake-up that an aborted waiter still stands in front of', async () => {
    withoutSlices();
    const set = new StripedLockSet(1);
    set.lock('a');
    const patient = set.lockAsync('a');
    const aborter = new AbortController();
    const aborted = set.lockAsync('a', aborter.signal);
    aborter.abort();
    await expect(aborted).rejects.toMatchObject(ABORTED);
    // The abort wakes the patient waiter for nothing: it goes to sleep again, behind the other.
    const sleeps = vi.mocked(Atomics.waitAsync).mock.calls;
    while (sleeps.length < 3) await new Promise(setImmediate);
    set.unlock('a');
    (await patient)();
    expect(set.holderOf(0)).toBe(0);
  });

  it('pass on a wake-up when the abort falls between it and its use', async () => {
    withoutSlices();
    const set = new StripedLockSet(1);
    set.lock('a');
    const aborter = new AbortController();
    // The wait lets go of its signal when it has ended and before its caller runs again.
    vi.spyOn(aborter.signal, 'removeEventListener').mockImplementation(() => aborter.abort());
    const aborted = set.lockAsync('a', aborter.signal);
    const patient = set.lockAsync('a');
    set.unlock('a');
    await expect(aborted).rejects.toMatchObject(ABORTED);
    (await patient)();
    expect(set.holderOf(0)).toBe(0);
  });

  it('wake every waiter in turn by notify alone', async () => {
    withoutSlices();
    const set = new StripedLockSet(1);
    set.lock('a');
    const waiting = Array.from({ length: 100 }, async () => {
      const unlock = await set.lockAsync('a');
      unlock();
    });
    set.unlock('a');
    await Promise.all(waiting);
    expect(set.holderOf(0)).toBe(0);
  });
});

describe('releaseHeldBy', () => {
  it('frees the stripes of that holder only and wakes their waiters', async () => {
    withoutSlices();
    const set = new StripedLockSet(5);
    for (const stripe of [0, 3]) takeForStranger(set, stripe);
    set.lockStripe(1);
    const waiting = set.lockStripeAsync(3);
    expect(set.releaseHeldBy(STRANGER + 1)).toBe(0);
    expect(set.releaseHeldBy(STRANGER)).toBe(2);
    expect(set.releaseHeldBy(STRANGER)).toBe(0);
    const unlock = await waiting;
    expect(heldStripes(set)).toEqual([1, 3]);
    unlock();
  });

  it('clears the ticket that a task of the dead thread left', () => {
    const set = new StripedLockSet(1);
    takeForStranger(set, 0);
    new Int32Array(set.handle.buffer)[1] = 7;
    expect(set.releaseHeldBy(STRANGER)).toBe(1);
    set.lockStripe(0);
    set.unlockStripe(0);
    expect(set.holderOf(0)).toBe(0);
  });

  it('makes a late unlock of a thread that was not dead an error', async () => {
    const set = new StripedLockSet(2);
    const unlock = await set.globalLockAsync();
    takeForStranger(set, 1); // what the next holder writes after the stripe was taken away
    expect(errorOf(unlock)).toMatchObject({ ...LOCK_MISUSED, stripeIndex: 1 });
    expect(set.holderOf(1)).toBe(STRANGER);
    expect(set.holderOf(0)).toBe(0);
  });

  it('refuses the own id and what is not an id', () => {
    const set = new StripedLockSet(1);
    expect(errorOf(() => set.releaseHeldBy(SELF))).toMatchObject(LOCK_MISUSED);
    // The threadId of a worker that has exited is -1.
    expect(errorOf(() => set.releaseHeldBy(holderIdOfThread(-1)))).toMatchObject(INVALID_ARGUMENT);
    expect(errorOf(() => set.releaseHeldBy(Number.NaN))).toMatchObject(INVALID_ARGUMENT);
    expect(isMainThread ? SELF : 1).toBe(1);
  });
});

describe('the wait helpers', () => {
  it('return at once where the word differs or there is no time', async () => {
    const words = word();
    expect(waitWhileEqual(words, 0, 1, 0)).toBe('changed');
    expect(waitWhileEqual(words, 0, 0, 0)).toBe('timed-out');
    expect(waitWhileEqual(words, 0, 0, -1)).toBe('timed-out');
    expect(waitWhileEqual(words, 0, 0, 1)).toBe('timed-out');
    expect(await waitWhileEqualAsync(words, 0, 1, 0)).toBe('changed');
    expect(await waitWhileEqualAsync(words, 0, 0, 0)).toBe('timed-out');
    expect(await waitWhileEqualAsync(words, 0, 0, -1)).toBe('timed-out');
    expect(await waitWhileEqualAsync(words, 0, 0, 1)).toBe('timed-out');
  });

  it('see a change that nobody notified', async () => {
    const words = word();
    const waiting = waitWhileEqualAsync(words, 0, 0, Number.POSITIVE_INFINITY);
    words[0] = 1;
    expect(await waiting).toBe('changed');

    // The blocking form: the change comes out of the sleep itself.
    const wait = Atomics.wait.bind(Atomics);
    replace('wait', (shared: Int32Array, index: number, value: number, timeoutMs: number) => {
      const result = wait(shared, index, value, timeoutMs);
      shared[index] = 2;
      return result;
    });
    expect(waitWhileEqual(words, 0, 1, Number.POSITIVE_INFINITY)).toBe('changed');
  });

  it('go back to sleep after a wake-up without a change', async () => {
    const words = word();
    const settled: string[] = [];
    const waiting = waitWhileEqualAsync(words, 0, 0, Number.POSITIVE_INFINITY).then((outcome) =>
      settled.push(outcome),
    );
    for (let i = 0; i < 3; i++) {
      Atomics.notify(words, 0);
      await new Promise(setImmediate);
      expect(settled).toEqual([]);
    }
    Atomics.store(words, 0, 1);
    Atomics.notify(words, 0);
    await waiting;
    expect(settled).toEqual(['changed']);
  });

  it('never end before their time although the platform may', async () => {
    const words = word();
    let slices = 0;
    replace('waitAsync', () => {
      slices++;
      if (slices === 3) words[0] = 1;
      return { async: true, value: Promise.resolve('timed-out') };
    });
    expect(await waitWhileEqualAsync(words, 0, 0, 60_000)).toBe('changed');
    expect(slices).toBe(3);
  });

  it('end with aborted, before and during the wait, and forget the signal', async () => {
    const words = word();
    const aborter = new AbortController();
    const remove = vi.spyOn(aborter.signal, 'removeEventListener');
    const waiting = waitWhileEqualAsync(words, 0, 0, 60_000, aborter.signal);
    aborter.abort();
    expect(await waiting).toBe('aborted');
    expect(remove).toHaveBeenCalledOnce();
    expect(await waitWhileEqualAsync(words, 0, 0, 60_000, aborter.signal)).toBe('aborted');
  });
});
