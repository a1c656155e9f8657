/**
 * The proof finds what it is there to find: it runs, compiled, against locks that do not lock and
 * engines that are spoilt in one place.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClosingPlan } from './closings.ts';
import type { LockOutcome, LockProofOptions } from './locks.ts';
import type { FloodOptions } from './overload.ts';
import type { LifePlan, Strike } from './strikes.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Where everything is that the tests compile: below the root, so that packages are found. */
let builds: string;
let compiled: string;
let directory: string;
let spoiltCount = 0;

beforeAll(() => {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  builds = mkdtempSync(join(ROOT, 'build', 'threads-test-'));
  compiled = join(builds, 'compiled');
  const compile = join(ROOT, 'scripts', 'compile-project.mjs');
  execFileSync(process.execPath, [compile, 'test/prove/tsconfig.json', compiled]);
  directory = mkdtempSync(join(tmpdir(), 'pullwarden-threads-test-'));
}, 120_000);

afterAll(() => {
  rmSync(builds, { recursive: true, force: true });
  rmSync(directory, { recursive: true, force: true });
});

/** A module of this folder, compiled. */
async function load<T>(name: string, out: string = compiled): Promise<T> {
  const file = join(out, 'test', 'prove', 'threads', `${name}.js`);
  return (await import(pathToFileURL(file).href)) as T;
}

/** A copy of everything in which a file of `src/` says something else. */
function spoilt(file: string, from: string, to: string): string {
  const out = `${compiled}-spoilt${spoiltCount++}`;
  cpSync(compiled, out, { recursive: true });
  const path = join(out, 'src', file);
  const text = readFileSync(path, 'utf8');
  expect(text.split(from)).toHaveLength(2);
  writeFileSync(path, text.replace(from, to));
  return out;
}

describe('locks', () => {
  const run = async (options: Partial<LockProofOptions>): Promise<LockOutcome> => {
    const { contend } = await load<typeof import('./locks.ts')>('locks');
    return contend({ operations: 200_000, seed: 1, deathEveryMs: 20, stuckMs: 3_000, ...options });
  };

  it('are proven where they work, though their threads die', async () => {
    const outcome = await run({ stuckMs: 60_000 });
    expect(outcome.wrong).toEqual([]);
    expect(outcome.operations).toBe(200_000);
    expect(outcome.deaths).toBeGreaterThan(0);
    expect(outcome.sleeps).toBeGreaterThan(0);
  });

  it('that do not lock are found', async () => {
    const { wrong } = await run({ sabotage: 'does not lock', deathEveryMs: 0 });
    expect(wrong.join('\n')).toMatch(/two threads were in one stripe|changes by/);
  });

  it('that wake nobody are found', async () => {
    const { wrong } = await run({ sabotage: 'never wakes', deathEveryMs: 0 });
    expect(wrong.join('\n')).toMatch(/nobody gets on/);
  });

  it('that nobody frees after a death are found', async () => {
    const operations = 4_000_000;
    const { wrong } = await run({ freesDead: false, deathEveryMs: 20, operations });
    expect(wrong.join('\n')).toMatch(/nobody gets on/);
  });
});

describe('deaths of workers', () => {
  async function live(
    strike: Strike,
    out: string,
    store: LifePlan['store'] = 'journal',
  ): Promise<string[]> {
    process.env.PULLWARDEN_PROVE_GUARD_MS = out === compiled ? '60000' : '8000';
    const { proveDeaths } = await load<typeof import('./deaths.ts')>('deaths', out);
    const own = mkdtempSync(join(directory, 'lives-'));
    const options = { seed: 1, seconds: 1, directory: own, rest: [], log: () => {} };
    const plan = { store, workerCount: 2, seed: 1, atWork: [strike, strike] };
    const { failures } = await proveDeaths(options, [plan], Number.POSITIVE_INFINITY);
    return failures.map(({ detail }) => detail);
  }
  const exits: Strike = { scene: 'under load', moment: 'holding its stripes', kind: 'exits' };

  it('are survived by the engine as it is', async () => {
    expect(await live(exits, compiled)).toEqual([]);
  });

  it.each([
    {
      name: 'a supervisor that does not free stripes',
      file: 'engine/supervisor.js',
      from: 'this.#options.locks.releaseHeldBy(holder)',
      to: 'void 0',
      found: /never happened: every worker serves|hangs/,
    },
    {
      name: 'a supervisor that does not tell callers of the death',
      file: 'protocol/host-link.js',
      from: 'if (generation !== this.#generation) {',
      to: 'if (false) {',
      found: /hangs|never happened/,
    },
    {
      name: 'a replacement that knows nothing of the pulls under way',
      file: 'engine/supervisor.js',
      from: 'inFlight: this.#inFlight',
      to: 'inFlight: InFlightTable.allocate(state.workerCount)',
      found: /came back|lost the intent|no longer counted/,
    },
    {
      name: 'a client that refuses all workers where one is away',
      file: 'engine/engine-client.js',
      from: 'Atomics.load(words, stateAt) === WORKER_STATE.LOST',
      to:
        '[0, 1].some((worker) => Atomics.load(words, this.#state.workerAt(worker) + WORKER.STATE)' +
        ' !== WORKER_STATE.RUNNING)',
      found: /never happened: others get on/,
    },
    {
      name: 'a journal that drops a batch',
      file: 'accessors/journal/journal-accessor.js',
      from: 'if (!this.#chain.appendSync(frame))',
      to: 'if (batch.length > 2 ? false : !this.#chain.appendSync(frame))',
      found: /lost the/,
    },
  ])('are found to do harm to $name', async ({ file, from, to, found }) => {
    const details = await live(exits, spoilt(file, from, to));
    expect(details.join('\n')).toMatch(found);
  });
});

describe('closing under load', () => {
  const plan: Omit<ClosingPlan, 'store'> = {
    workerCount: 0,
    maxPending: 16,
    whenFull: 'reject',
    by: 'close',
    seed: 5,
    keeps: true,
  };

  it('is proven with a store that is slow and honest', async () => {
    const { slowStore } = await load<typeof import('./slow-store.ts')>('slow-store');
    const { closeUnderLoad } = await load<typeof import('./closings.ts')>('closings');
    const store = slowStore({ name: 'honest', commitMs: 1 });
    const result = await closeUnderLoad({ ...plan, store });
    expect(result.wrong).toEqual([]);
    expect(result.acknowledged).toBeGreaterThan(0);
  });

  it('finds a store that forgets acknowledged writes when it is closed', async () => {
    const { slowStore } = await load<typeof import('./slow-store.ts')>('slow-store');
    const { closeUnderLoad } = await load<typeof import('./closings.ts')>('closings');
    const wrong: string[] = [];
    for (let seed = 0; seed < 10; seed++) {
      const fault = 'forgets what it was told last';
      const store = slowStore({ name: `faulty${seed}`, commitMs: 1, fault });
      wrong.push(...(await closeUnderLoad({ ...plan, store, seed })).wrong);
    }
    expect(wrong.join('\n')).toMatch(/after reopening: lost the/);
  });

  it('finds an engine that answers a write before its store has', async () => {
    const from = 'await this.#commit(writes)';
    const out = spoilt('engine/owner.js', from, '(this.#commit(writes), undefined)');
    const { closeUnderLoad } = await load<typeof import('./closings.ts')>('closings', out);
    const own = join(directory, 'early');
    mkdirSync(own);
    const wrong: string[] = [];
    for (let seed = 0; seed < 6; seed++) {
      const store = { kind: 'journal', path: join(own, String(seed)) } as const;
      const { wrong: found } = await closeUnderLoad({ ...plan, store, seed }).catch((error) => ({
        wrong: [String(error)],
      }));
      wrong.push(...found);
    }
    expect(wrong).not.toEqual([]);
  });
});

describe('a flood', () => {
  const options: FloodOptions = {
    whenFull: 'reject',
    workerCount: 0,
    rounds: 4,
    callsPerRound: 3_000,
    seed: 1,
  };

  it.each(['reject', 'wait'] as const)("is survived ('%s')", async (whenFull) => {
    const { flood } = await load<typeof import('./overload.ts')>('overload');
    const outcome = await flood({ ...options, whenFull });
    expect(outcome.wrong).toEqual([]);
    expect(outcome.acknowledged).toBeGreaterThan(0);
  });

  it('finds an engine that keeps what it refused', async () => {
    const from = 'call.fail(queueFull(';
    const out = spoilt(
      'engine/engine-client.js',
      from,
      `(globalThis.kept ??= []).push(call), ${from}`,
    );
    const { flood } = await load<typeof import('./overload.ts')>('overload', out);
    const outcome = await flood({ ...options, rounds: 6, callsPerRound: 10_000 });
    expect(outcome.wrong.join('\n')).toMatch(/the heap grew/);
  });

  it('finds an engine without a limit', async () => {
    const out = spoilt('engine/engine-client.js', '.pending < limit', '.pending >= 0');
    const { flood } = await load<typeof import('./overload.ts')>('overload', out);
    const outcome = await flood(options);
    expect(outcome.wrong.join('\n')).toMatch(/calls wait/);
    expect(outcome.wrong).toContain('nothing was refused');
  });
});
