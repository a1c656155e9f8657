import { once } from 'node:events';
import { threadId, Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { holderIdOfThread, StripedLockSet } from '../../src/locks/striped-lock-set.ts';
import { waitWhileEqualAsync } from '../../src/locks/wait.ts';

/** Operations of one thread in the contention tests; a longer run sets the variable. */
const OPERATIONS = Number(process.env.PULLWARDEN_LOCK_OPS ?? 250_000);
/** Asynchronous operations cost a turn of the event loop when they wait. */
const ASYNC_OPERATIONS = Math.ceil(OPERATIONS / 100);
const LINE_WORDS = 16;
const WAIT_MS = 60_000;
const GO = 0;

const workers: Worker[] = [];

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
});

/** A thread of a test. A thread that fails, or ends without the word, fails the wait for it. */
class TestThread {
  readonly worker: Worker;
  readonly holderId: number;
  readonly exited: Promise<number>;
  #said: string[] = [];
  #heard: () => void = () => {};
  #ended: string | undefined;

  constructor(name: string, workerData: object) {
    const url = new URL(`../fixtures/locks/${name}.mjs`, import.meta.url);
    this.worker = new Worker(url, { workerData });
    workers.push(this.worker);
    this.holderId = holderIdOfThread(this.worker.threadId);
    this.worker.on('message', (word: string) => {
      this.#said.push(word);
      this.#heard();
    });
    this.exited = new Promise((resolve) => {
      this.worker.on('error', (error: Error) => {
        this.#ended = error.stack ?? error.message;
        this.#heard();
      });
      this.worker.on('exit', (code) => {
        this.#ended ??= `exit ${code}`;
        this.#heard();
        resolve(code);
      });
    });
  }

  async says(word: string): Promise<void> {
    while (!this.#said.includes(word)) {
      if (this.#ended !== undefined) throw new Error(`no '${word}' but ${this.#ended}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }
}

function makeBoard(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

function go(board: Int32Array): void {
  Atomics.store(board, GO, 1);
  Atomics.notify(board, GO);
}

/** Until somebody waits for the stripe: its word then has the contended bit. */
async function untilContended(set: StripedLockSet, stripe: number): Promise<void> {
  const words = new Int32Array(set.handle.buffer);
  const uncontended = set.holderOf(stripe) << 1;
  expect(uncontended).not.toBe(0);
  const outcome = await waitWhileEqualAsync(words, stripe * LINE_WORDS, uncontended, WAIT_MS);
  expect(outcome).toBe('changed');
}

function sum(counters: Int32Array): number {
  return counters.reduce((total, counter) => total + counter, 0);
}

function expectAllFree(set: StripedLockSet): void {
  for (let i = 0; i < set.stripeCount; i++) expect(set.holderOf(i)).toBe(0);
}

interface Contention {
  readonly set: StripedLockSet;
  readonly board: Int32Array;
  readonly counters: Int32Array;
  readonly threads: readonly TestThread[];
  readonly operations: number;
}

async function contention(
  size: number,
  forms: readonly { form: 'blocking' | 'async'; operations: number }[],
): Promise<Contention> {
  const set = new StripedLockSet(size, { timeoutMs: WAIT_MS });
  const board = makeBoard();
  const counters = new Int32Array(new SharedArrayBuffer(4 * 2 * set.stripeCount));
  const threads = forms.map(
    ({ form, operations }, i) =>
      new TestThread('contender', {
        handle: set.handle,
        board,
        counters,
        operations,
        form,
        seed: i + 1,
      }),
  );
  await Promise.all(threads.map((thread) => thread.says('ready')));
  const operations = forms.reduce((total, form) => total + form.operations, 0);
  return { set, board, counters, threads, operations };
}

const blocking = { form: 'blocking', operations: OPERATIONS } as const;
const asynchronous = { form: 'async', operations: ASYNC_OPERATIONS } as const;

describe('contention between threads', () => {
  it.each([1, 2, 31])('loses no change of 4 threads on %d stripes', async (size) => {
    const run = await contention(size, [blocking, blocking, blocking, blocking]);
    go(run.board);
    await Promise.all(run.threads.map((thread) => thread.says('done')));
    expect(sum(run.counters)).toBe(2 * run.operations);
    expectAllFree(run.set);
  });

  it('loses neither change nor wake-up when blocking and asynchronous waiters mix', async () => {
    const run = await contention(1, [blocking, blocking, asynchronous, asynchronous]);
    go(run.board);
    let own = 0;
    const task = async (): Promise<void> => {
      for (let i = 0; i < ASYNC_OPERATIONS / 10; i++) {
        const unlock = await run.set.lockAsync('any');
        expect(run.counters[0]).toBe(run.counters[1]);
        run.counters[0]!++;
        if (i % 4 === 0) await Promise.resolve();
        run.counters[1]!++;
        own++;
        unlock();
      }
    };
    await Promise.all([task(), task(), task()]);
    await Promise.all(run.threads.map((thread) => thread.says('done')));
    expect(sum(run.counters)).toBe(2 * (run.operations + own));
    expectAllFree(run.set);
  });

  it('keeps order and counts when waiters are aborted all the time', async () => {
    const run = await contention(1, [blocking, blocking, asynchronous]);
    go(run.board);
    let own = 0;
    let aborted = 0;
    const attempt = async (i: number): Promise<void> => {
      const aborter = new AbortController();
      const waiting = run.set.lockAsync('any', aborter.signal);
      if (i % 3 === 0) aborter.abort();
      else if (i % 3 === 1) setImmediate(() => aborter.abort());
      let unlock: () => void;
      try {
        unlock = await waiting;
      } catch (error) {
        expect(error).toMatchObject({ name: 'AbortError', code: 'ERR_PULLMANAGER_ABORTED' });
        aborted++;
        return;
      }
      expect(run.counters[0]).toBe(run.counters[1]);
      run.counters[0]!++;
      run.counters[1]!++;
      own++;
      unlock();
    };
    for (let round = 0; round < 50; round++) {
      await Promise.all([0, 1, 2, 3, 4, 5].map(attempt));
    }
    await Promise.all(run.threads.map((thread) => thread.says('done')));
    expect(own + aborted).toBe(300);
    expect(own).toBeGreaterThanOrEqual(100);
    expect(sum(run.counters)).toBe(2 * (run.operations + own));
    expectAllFree(run.set);
  });

  it('shows a settled state to whoever holds the global lock', async () => {
    const run = await contention(31, [blocking, blocking, asynchronous]);
    go(run.board);
    const done = Promise.all(run.threads.map((thread) => thread.says('done')));
    const looks = 20;
    for (let look = 0; look < looks; look++) {
      let unlock: (() => void) | undefined;
      if (look % 2 === 0) unlock = await run.set.globalLockAsync();
      else run.set.globalLock();
      for (let i = 0; i < run.set.stripeCount; i++) {
        expect(run.counters[2 * i]).toBe(run.counters[2 * i + 1]);
      }
      if (unlock === undefined) run.set.globalUnlock();
      else unlock();
    }
    await done;
    expect(sum(run.counters)).toBe(2 * run.operations);
    expectAllFree(run.set);
  });
});

describe('waiting for another thread', () => {
  it.each([
    { holder: 'blocking', waiter: 'blocking' },
    { holder: 'blocking', waiter: 'async' },
    { holder: 'async', waiter: 'blocking' },
    { holder: 'async', waiter: 'async' },
  ])('a $waiter waiter is woken by a $holder holder', async (forms) => {
    const set = new StripedLockSet(31);
    const board = makeBoard();
    const stripes = [5];
    const holder = new TestThread('holder', {
      handle: set.handle,
      board,
      stripes,
      form: forms.holder,
      ending: 'release',
    });
    await holder.says('holding');
    expect(set.holderOf(5)).toBe(holder.holderId);
    const waiter = new TestThread('waiter', {
      handle: set.handle,
      stripe: 5,
      form: forms.waiter,
    });
    await untilContended(set, 5);
    go(board);
    await waiter.says('done');
    // A thread that waits asynchronously is alive by its wait only: it ended by itself, with 0.
    expect(await waiter.exited).toBe(0);
    await holder.says('released');
    expectAllFree(set);
  });

  it('gives up in time and names the thread that holds the stripe', async () => {
    const set = new StripedLockSet(31, { timeoutMs: 10 });
    const board = makeBoard();
    const stripes = [30];
    const holder = new TestThread('holder', {
      handle: set.handle,
      board,
      stripes,
      ending: 'block',
    });
    await holder.says('holding');
    const expected = {
      code: 'ERR_PULLMANAGER_LOCK_TIMEOUT',
      stripeIndex: 30,
      timeoutMs: 10,
      message: expect.stringContaining(`holder id ${holder.holderId}`),
    };
    expect(() => set.lockStripe(30)).toThrow(expect.objectContaining(expected));
    expect(() => set.globalLock()).toThrow(expect.objectContaining(expected));
    await expect(set.lockStripeAsync(30)).rejects.toMatchObject(expected);
    await expect(set.globalLockAsync()).rejects.toMatchObject(expected);
    expect(() => set.unlockStripe(30)).toThrow(
      expect.objectContaining({ code: 'ERR_PULLMANAGER_LOCK_MISUSED' }),
    );
    for (let i = 0; i < 30; i++) expect(set.holderOf(i)).toBe(0);
  });
});

describe('a thread that dies holding stripes', () => {
  it.each([
    { name: 'exits', ending: 'exit', form: 'blocking' },
    { name: 'exits in an async task', ending: 'exit', form: 'async' },
    { name: 'throws', ending: 'throw', form: 'blocking' },
    { name: 'is terminated', ending: 'block', form: 'blocking' },
  ])('is cleaned up after: $name', async ({ ending, form }) => {
    const set = new StripedLockSet(31);
    const board = makeBoard();
    const stripes = [2, 11, 30];
    const data = { handle: set.handle, board, stripes, form, ending };
    const dying = new TestThread('holder', data);
    await dying.says('holding');
    set.lockStripe(7);

    const sleeper = new TestThread('waiter', { handle: set.handle, stripe: 11, form: 'blocking' });
    await untilContended(set, 11);
    const own = set.lockStripeAsync(30);

    go(board);
    if (ending === 'block') await dying.worker.terminate();
    await dying.exited;
    expect(stripes.map((stripe) => set.holderOf(stripe))).toEqual(
      stripes.map(() => dying.holderId),
    );

    expect(set.releaseHeldBy(dying.holderId)).toBe(3);
    await sleeper.says('done');
    (await own)();
    expect(set.holderOf(7)).toBe(holderIdOfThread(threadId));
    set.unlockStripe(7);
    expectAllFree(set);
  });

  it('does not stop others when it dies waiting', async () => {
    const set = new StripedLockSet(1);
    set.lockStripe(0);
    const forms = ['blocking', 'async'];
    const waiters = forms.map(
      (form) => new TestThread('waiter', { handle: set.handle, stripe: 0, form }),
    );
    await untilContended(set, 0);
    for (const waiter of waiters) {
      const exit = once(waiter.worker, 'exit');
      await waiter.worker.terminate();
      await exit;
      expect(set.releaseHeldBy(waiter.holderId)).toBe(0);
    }
    const next = new TestThread('waiter', { handle: set.handle, stripe: 0, form: 'blocking' });
    const own = set.lockStripeAsync(0);
    set.unlockStripe(0);
    (await own)();
    await next.says('done');
    expectAllFree(set);
  });
});
